"""What a sweep consists of: variants of a recipe and a protocol, for networks and datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...errors import UnknownNameError
from ...training.recipe import Augmentation, Recipe
from ..protocol import PROTOCOLS

__all__ = ["PRESETS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """What a preset changes about how networks are trained and tested.

    Parameters
    ----------
    changes
        Options of the recipe. Where the learning rate changes, its milestones change in proportion.
    augmentation
        Options of its augmentation.
    protocol
        ``"paper"`` (slices at random), ``"grouped"`` (patients, or near-duplicates where patients
        are unknown, kept together) or ``"official"`` (the split of the dataset's authors).

    Raises
    ------
    UnknownNameError
        If there is no such protocol.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.sweep import PRESETS
    >>> recipe = PRESETS["ablations"]["no-crop"].apply(covidct.Recipe().scaled(30))
    >>> recipe.epochs, recipe.augmentation.crop, recipe.augmentation.noise
    (30, 0.0, 0.05)
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, float] = field(default_factory=dict)
    protocol: str = "paper"

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            kind = "protocol"
            raise UnknownNameError.among(kind, self.protocol, PROTOCOLS)

    def apply(self, recipe: Recipe) -> Recipe:
        """Change a recipe.

        Parameters
        ----------
        recipe
            What the variant is a variant of.

        Returns
        -------
        Recipe
            The changed one.
        """
        changed = recipe.replace(
            augmentation=replace(recipe.augmentation, **self.augmentation), **self.changes
        )
        if "milestones" in self.changes:
            return changed
        factor = changed.learning_rate / recipe.learning_rate
        return changed.replace(
            milestones=tuple((epoch, factor * rate) for epoch, rate in changed.milestones)
        )


#: Preset -> name of the variant -> variant. A variant of "ablations" differs from the paper's in
#: one thing; only "square-stretch", to stretch slices to the square for which the network was made
#: as is usual, differs in two. Rates and decays of AdamW and SGD are ours, the usual ones for
#: fine-tuning.
PRESETS: Mapping[str, Mapping[str, Variant]] = {
    "table2": {"paper": Variant()},
    "ablations": {
        "paper": Variant(),
        "stretch": Variant({"resize": "stretch"}),
        "default-canvas": Variant({"canvas": "default"}),
        "square-stretch": Variant({"resize": "stretch", "canvas": "default"}),
        "feature-extraction": Variant({"strategy": "feature-extraction"}),
        "adamw": Variant({"optimizer": "adamw", "learning_rate": 1e-4, "weight_decay": 0.05}),
        "sgd": Variant({"optimizer": "sgd", "learning_rate": 1e-3, "weight_decay": 1e-4}),
        "no-augmentation": Variant(augmentation=asdict(Augmentation.none())),
        "no-crop": Variant(augmentation={"crop": 0}),
        "no-blur": Variant(augmentation={"blur_probability": 0}),
        "no-noise": Variant(augmentation={"noise": 0}),
        "no-brightness": Variant(augmentation={"brightness": 0}),
        "no-contrast": Variant(augmentation={"contrast": 0}),
        "no-flip": Variant(augmentation={"flip_probability": 0}),
        "affine": Variant(augmentation={"rotation": 10, "shear": 10}),
    },
    "honest": {"grouped": Variant(protocol="grouped"), "official": Variant(protocol="official")},
}

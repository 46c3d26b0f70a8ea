"""Presets of sweeps: variants of a recipe and a protocol."""

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
    """Change of the training recipe or of the protocol.

    Parameters
    ----------
    changes : mapping of str to object, default={}
        Options of the recipe to change. If the learning rate changes, its milestones change in
        proportion.
    augmentation : mapping of str to float, default={}
        Options of the augmentation to change.
    protocol : {"paper", "grouped", "official", "source"}, default="paper"
        Random slices; whole patients, or whole groups of near-duplicates if patients are unknown;
        the split of the dataset's authors; or one source left out at a time.

    Raises
    ------
    UnknownNameError
        If `protocol` is not one of the four.

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
            raise UnknownNameError.among("protocol", self.protocol, PROTOCOLS)

    def apply(self, recipe: Recipe) -> Recipe:
        """Apply the changes to a recipe.

        Parameters
        ----------
        recipe : Recipe
            Recipe to change.

        Returns
        -------
        Recipe
            A new recipe.
        """
        changed = recipe.replace(
            augmentation=replace(recipe.augmentation, **self.augmentation), **self.changes
        )
        if "milestones" in self.changes or isinstance(changed.milestones, str):
            return changed
        factor = changed.learning_rate / recipe.learning_rate
        return changed.replace(
            milestones=tuple((epoch, factor * rate) for epoch, rate in changed.milestones)
        )


#: Variants by preset and name. Each variant of "ablations" differs from the paper in one setting,
#: except "square-stretch", the usual preprocessing, which stretches slices to the square canvas
#: that the network was designed for. The paper has no rates and decays for AdamW and SGD; the
#: values here are usual ones for fine-tuning.
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

"""What a sweep consists of: variants of a recipe and a protocol, for networks and datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import UnknownNameError
from ..evaluation import published
from ..models.registry import model_info
from ..training.recipe import Augmentation, Recipe
from .fold import canvas_size
from .protocols import PROTOCOLS

__all__ = ["PRESETS", "Cell", "Variant", "plan"]


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
    >>> from covidct.runs.presets import PRESETS
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


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cross-validation of a sweep.

    Parameters
    ----------
    dataset
        Name of the dataset, a key of the mapping that ``sweep`` gets.
    model
        Name of the network.
    variant
        What tells the cell from others of the same network and dataset; names its folder.
    recipe
        How to train.
    protocol
        As for :class:`Variant`.
    weights
        As in :func:`covidct.create_model`.

    Examples
    --------
    >>> from covidct.runs.presets import Cell
    >>> Cell(dataset="covid19-ct", model="resnet18", variant="paper").path.as_posix()
    'covid19-ct/resnet18/paper'
    """

    dataset: str
    model: str
    variant: str
    recipe: Recipe = field(default_factory=Recipe)
    protocol: str = "paper"
    weights: str | None = "imagenet"

    @property
    def path(self) -> Path:
        """Its folder below that of the sweep."""
        return Path(self.dataset, self.model.replace(":", "-"), self.variant)

    def __str__(self) -> str:
        return self.path.as_posix()


def plan(
    presets: str | Iterable[str],
    datasets: Iterable[str],
    *,
    models: Iterable[str] | None = None,
    only: str | Iterable[str] = "*",
    recipe: Recipe | None = None,
    scale: float = 1.0,
    weights: str | None = "imagenet",
) -> tuple[Cell, ...]:
    """List the cells of one or several presets.

    Parameters
    ----------
    presets
        Keys of :data:`PRESETS`.
    datasets
        Names of datasets.
    models
        Names of networks; the paper's twelve by default.
    only
        Names of variants, or shell-style patterns of them such as ``"no-*"``.
    recipe
        What the variants are variants of; the paper's recipe by default. A variant that changes
        nothing about it is left out.
    scale
        Factor on both sides of the canvases, for less time at the price of detail.
    weights
        As in :func:`covidct.create_model`.

    Returns
    -------
    tuple of Cell
        A cell for each dataset, network and variant.

    Raises
    ------
    UnknownNameError
        If there is no such preset, network or variant.
    ValueError
        If ``scale`` leaves no canvas.

    Examples
    --------
    >>> from covidct.runs.presets import plan
    >>> [str(cell) for cell in plan("honest", ["covid19-ct"], models=["resnet18"])]
    ['covid19-ct/resnet18/grouped', 'covid19-ct/resnet18/official']
    >>> len(plan(["table2", "honest"], ["covid19-ct"]))
    36
    >>> half, = plan("table2", ["covid19-ct"], models=["resnet18"], scale=0.5)
    >>> half.recipe.canvas
    (126, 174)
    """
    variants = _variants([presets] if isinstance(presets, str) else presets)
    patterns = [only] if isinstance(only, str) else list(only)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in variants):
            kind = "variant"
            raise UnknownNameError.among(kind, pattern, variants)
    chosen = {
        name: variant
        for name, variant in variants.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    base = recipe or Recipe()
    return tuple(
        Cell(
            dataset=dataset,
            model=model,
            variant=name,
            recipe=_scaled(variant.apply(base), model, scale),
            protocol=variant.protocol,
            weights=weights,
        )
        for dataset in datasets
        for model in _networks(models)
        for name, variant in chosen.items()
        if variant.apply(base) != base or variant == Variant(protocol=variant.protocol)
    )


def _variants(presets: Iterable[str]) -> dict[str, Variant]:
    variants: dict[str, Variant] = {}
    for preset in presets:
        if preset not in PRESETS:
            kind = "preset"
            raise UnknownNameError.among(kind, preset, PRESETS)
        variants |= PRESETS[preset]
    return variants


def _networks(models: Iterable[str] | None) -> list[str]:
    if models is None:
        return list(dict.fromkeys(row.network for row in published.results(comparable=True)))
    return [model_info(model).name for model in models]


def _scaled(recipe: Recipe, model: str, scale: float) -> Recipe:
    if scale == 1:
        return recipe
    height, width = canvas_size(model_info(model), recipe)
    return recipe.replace(canvas=(round(scale * height), round(scale * width)))

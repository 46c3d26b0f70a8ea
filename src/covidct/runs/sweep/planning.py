"""The runs of a sweep: every dataset, network and variant that presets ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ...errors import UnknownNameError
from ...evaluation import published
from ...models.registry import model_info
from ...training.recipe import Recipe
from .presets import PRESETS, Variant

__all__ = ["PlannedRun", "plan"]


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
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
    >>> from covidct.runs.sweep import PlannedRun
    >>> PlannedRun(dataset="covid19-ct", model="resnet18", variant="paper").path.as_posix()
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
) -> tuple[PlannedRun, ...]:
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
    tuple of PlannedRun
        A cell for each dataset, network and variant.

    Raises
    ------
    UnknownNameError
        If there is no such preset, network or variant.
    ValueError
        If ``scale`` leaves no canvas.

    Examples
    --------
    >>> from covidct.runs.sweep import plan
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
        PlannedRun(
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
    height, width = recipe.canvas_size(model_info(model))
    return recipe.replace(canvas=(round(scale * height), round(scale * width)))

"""Plan of a sweep: one run for each dataset, network and variant of the presets."""

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
    dataset : str
        Name of the dataset, a key of the option ``datasets`` of :func:`run_sweep`.
    model : str
        Name of the network.
    variant : str
        Name of the variant, which distinguishes runs of one network on one dataset.
    recipe : Recipe, default=Recipe()
        Training recipe.
    protocol : {"paper", "grouped", "official", "source"}, default="paper"
        Protocol, as in :class:`Variant`.
    weights : str or None, default="imagenet"
        Initial weights, as in :func:`covidct.create_model`.

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
        """Folder of the run, relative to that of the sweep: ``DATASET/NETWORK/VARIANT``."""
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
    """Plan the runs of one or several presets.

    Parameters
    ----------
    presets : str or iterable of str
        Keys of :data:`PRESETS`.
    datasets : iterable of str
        Names of datasets.
    models : iterable of str or None, default=None
        Names of networks. None: the twelve of the paper.
    only : str or iterable of str, default="*"
        Names of variants, or shell-style patterns such as ``"no-*"``.
    recipe : Recipe or None, default=None
        Recipe to which the variants are applied. None: the paper's. Variants that do not change
        this recipe are left out.
    scale : float, default=1.0
        Factor for height and width of the canvases; smaller canvases train faster and show fewer
        details.
    weights : str or None, default="imagenet"
        Initial weights, as in :func:`covidct.create_model`.

    Returns
    -------
    tuple of PlannedRun
        One run for each dataset, network and variant.

    Raises
    ------
    UnknownNameError
        If a preset, network or variant is unknown.
    ValueError
        If `scale` is not positive, or makes a canvas empty.

    Examples
    --------
    >>> from covidct.runs.sweep import plan
    >>> [str(run) for run in plan("honest", ["covid19-ct"], models=["resnet18"])]
    ['covid19-ct/resnet18/grouped', 'covid19-ct/resnet18/official']
    >>> len(plan(["table2", "honest"], ["covid19-ct"]))
    36
    >>> half, = plan("table2", ["covid19-ct"], models=["resnet18"], scale=0.5)
    >>> half.recipe.canvas
    (126, 174)
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")
    variants = _variants([presets] if isinstance(presets, str) else presets)
    patterns = [only] if isinstance(only, str) else list(only)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in variants):
            raise UnknownNameError.among("variant", pattern, variants)
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
            raise UnknownNameError.among("preset", preset, PRESETS)
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

"""Estimated duration of the unfinished runs of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from ...errors import InvalidFileError
from ...models.registry import model_info
from ...training.recipe import Recipe
from ...training.trainer import EpochRecord
from ..storage import RunDirectory
from .planning import PlannedRun

__all__ = ["duration", "time_left"]


def duration(seconds: float) -> str:
    """Write an estimate in minutes, or in hours where there are several.

    Examples
    --------
    >>> from covidct.runs.sweep import duration
    >>> duration(5), duration(2700), duration(9000)
    ('1 min', '45 min', '2.5 h')
    """
    return f"{max(1, round(seconds / 60))} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def time_left(
    cells: Iterable[PlannedRun],
    folder: str | PathLike[str],
    slices: Mapping[str, int],
    *,
    folds: int = 5,
    n_jobs: int = 1,
) -> float | None:
    """Estimate how long the unfinished folds of a sweep will take one process.

    The work of a fold is its training slices times their pixels times the epochs; its speed that
    of the finished folds of its network or, where there are none, of all of them.

    Parameters
    ----------
    cells
        All cells, finished or not.
    folder
        Of the sweep.
    slices
        The number of slices of each dataset.
    folds
        Folds of a cell that has not begun.
    n_jobs
        Folds at a time.

    Returns
    -------
    float or None
        Seconds; None where no fold is finished.

    Examples
    --------
    >>> import tempfile
    >>> from covidct.runs.sweep import plan
    >>> from covidct.runs.sweep import time_left
    >>> cells = plan("table2", ["phantom"], models=["resnet18"])
    >>> time_left(cells, tempfile.mkdtemp(), {"phantom": 240}) is None
    True
    """
    loads = [_measure(cell, Path(folder), slices[cell.dataset], folds) for cell in cells]
    done = [load for load in loads if load.done]
    if not done:
        return None
    seconds = 0.0
    for load in loads:
        alike = [other for other in done if other.model == load.model] or done
        speed = sum(other.done for other in alike) / sum(other.seconds for other in alike)
        seconds += load.left / speed
    return seconds / max(1, n_jobs)


class _Load(NamedTuple):
    """The work of a cell, in slices times pixels times epochs."""

    model: str
    done: float
    left: float
    seconds: float


def _measure(cell: PlannedRun, folder: Path, slices: int, folds: int) -> _Load:
    sizes: Sequence[float] = [slices * (folds - 1) / folds] * folds
    seconds: Mapping[int, float] = {}
    with suppress(InvalidFileError):  # which stops that cell alone, when its turn comes
        sizes, seconds = _begun(RunDirectory(folder / cell.path), cell.recipe) or (sizes, seconds)
    height, width = cell.recipe.canvas_size(model_info(cell.model))
    cost = height * width * cell.recipe.epochs
    return _Load(
        cell.model,
        done=cost * sum(sizes[k] for k in seconds),
        left=cost * sum(size for k, size in enumerate(sizes) if k not in seconds),
        seconds=sum(seconds.values()),
    )


def _begun(directory: RunDirectory, recipe: Recipe) -> tuple[list[int], dict[int, float]] | None:
    """Return the training slices of each fold, and the seconds of the finished ones."""
    spec = directory.read_spec()
    if spec is None or spec.recipe != recipe:
        return None
    sizes = [len(fold.train) for fold in spec.folds]
    done = [k for k in range(len(sizes)) if directory.is_finished(k)]
    histories = {k: directory.read_history(k, EpochRecord._fields) for k in done}
    return sizes, {k: float(history["seconds"].sum()) for k, history in histories.items()}

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
from ..protocol import default_repeats
from ..storage import RunDirectory
from .planning import PlannedRun

__all__ = ["duration", "time_left"]


def duration(seconds: float) -> str:
    """Format an estimated duration in minutes or, from two hours on, in hours.

    Parameters
    ----------
    seconds : float
        Duration in seconds.

    Returns
    -------
    str
        At least one minute.

    Examples
    --------
    >>> from covidct.runs.sweep import duration
    >>> duration(5), duration(2700), duration(9000)
    ('1 min', '45 min', '2.5 h')
    """
    return f"{max(1, round(seconds / 60))} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def time_left(
    planned: Iterable[PlannedRun],
    folder: str | PathLike[str],
    slices: Mapping[str, int],
    *,
    folds: int = 5,
    repeats: int | None = None,
    n_jobs: int = 1,
) -> float | None:
    """Estimate the time that one process needs for the unfinished folds of a sweep.

    The work of a fold is the number of its training slices times their pixels times the epochs.
    The speed is that of the finished folds of the same network or, without any, of all finished
    folds.

    Parameters
    ----------
    planned : iterable of PlannedRun
        All runs of the sweep, finished or not.
    folder : str or path-like
        Folder of the sweep.
    slices : mapping of str to int
        Number of slices of each dataset.
    folds : int, default=5
        Number of folds of runs that have not started.
    repeats : int or None, default=None
        Number of repeats, as in :class:`covidct.CrossValidator`. Missing repeats of finished runs
        are unfinished.
    n_jobs : int, default=1
        Number of folds trained at the same time.

    Returns
    -------
    float or None
        Seconds; None if no fold is finished.

    Examples
    --------
    >>> import tempfile
    >>> from covidct.runs.sweep import plan, time_left
    >>> planned = plan("table2", ["phantom"], models=["resnet18"])
    >>> time_left(planned, tempfile.mkdtemp(), {"phantom": 240}) is None
    True
    """
    loads = [_measure(run, Path(folder), slices[run.dataset], folds, repeats) for run in planned]
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
    """Work of a run, in slices times pixels times epochs, and the seconds of its finished part."""

    model: str
    done: float
    left: float
    seconds: float


def _measure(run: PlannedRun, folder: Path, slices: int, folds: int, repeats: int | None) -> _Load:
    times = repeats or default_repeats(run.protocol)
    number = times if run.protocol == "official" else folds * times  # an official split has a fold
    sizes: Sequence[float] = [slices * (folds - 1) / folds] * number
    seconds: Mapping[int, float] = {}
    with suppress(InvalidFileError):  # a damaged run fails when it is started
        known = _progress(RunDirectory(folder / run.path), run.recipe, times)
        sizes, seconds = known or (sizes, seconds)
    height, width = run.recipe.canvas_size(model_info(run.model))
    cost = height * width * run.recipe.epochs
    return _Load(
        run.model,
        done=cost * sum(sizes[k] for k in seconds),
        left=cost * sum(size for k, size in enumerate(sizes) if k not in seconds),
        seconds=sum(seconds.values()),
    )


def _progress(
    directory: RunDirectory, recipe: Recipe, repeats: int
) -> tuple[list[int], dict[int, float]] | None:
    """Return the number of training slices of each fold and the seconds of the finished folds."""
    spec = directory.read_spec()
    if spec is None or spec.recipe != recipe:
        return None
    sizes = [len(fold.train) for fold in spec.folds]
    sizes += sizes[: len(sizes) // spec.repeats] * max(0, repeats - spec.repeats)
    done = [k for k in range(len(spec.folds)) if directory.is_finished(k)]
    histories = {k: directory.read_history(k, EpochRecord._fields) for k in done}
    return sizes, {k: float(history["seconds"].sum()) for k, history in histories.items()}

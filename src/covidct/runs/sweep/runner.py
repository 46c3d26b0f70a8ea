"""Run of a sweep: the cross-validations of several networks on several datasets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from ...datasets.ct_dataset import CTDataset
from ...errors import UnknownNameError
from ..cross_validator import CrossValidator
from ..protocol import split_options
from ..result import CrossValidationResult
from .estimate import duration, time_left
from .planning import PlannedRun
from .sweep_result import SweepResult

__all__ = ["run_sweep"]

_LOG = logging.getLogger(__name__)

# Errors that stop one run but not the sweep, such as missing weights, an impossible split, a loss
# that became NaN, or a device that is out of memory.
_FAILURES = (ValueError, OSError, RuntimeError, ImportError, MemoryError)


def run_sweep(
    planned: Sequence[PlannedRun],
    folder: str | PathLike[str],
    *,
    datasets: Mapping[str, CTDataset],
    folds: int = 5,
    n_jobs: int = 1,
    **options: Any,
) -> SweepResult:
    """Run the cross-validations of a sweep, skipping finished ones.

    Several processes may work on one folder: each takes runs that no other process is working on,
    and finally folds of the runs of other processes. Interrupted runs are continued.

    Parameters
    ----------
    planned : sequence of PlannedRun
        The runs.
    folder : str or path-like
        Folder of the sweep; each run is stored in ``DATASET/NETWORK/VARIANT``.
    datasets : mapping of str to CTDataset
        Datasets by the names that the runs use.
    folds : int, default=5
        Number of folds of the protocols ``"paper"`` and ``"grouped"``.
    n_jobs : int, default=1
        Number of folds of a run trained at the same time.
    **options
        Other options of :class:`covidct.CrossValidator`, such as ``seed`` and ``device``.

    Returns
    -------
    SweepResult
        The finished runs, and the errors of failed runs, which do not stop the sweep.

    Raises
    ------
    ValueError
        If two runs have the same folder.
    UnknownNameError
        If the dataset of a run is not in `datasets`.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.runs.sweep import PlannedRun, run_sweep
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> planned = PlannedRun(dataset="phantom", model="shufflenet", variant="demo", recipe=recipe,
    ...                      protocol="grouped", weights=None)
    >>> done = run_sweep([planned], tempfile.mkdtemp(), datasets={"phantom": slices}, folds=2)
    >>> done.results[planned].protocol.id, done.failures
    ('grouped', {})
    """
    _check_plan(planned, datasets)
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    results: dict[PlannedRun, CrossValidationResult] = {}
    failures: dict[PlannedRun, str] = {}
    bar = tqdm(total=len(planned), desc="runs", unit="run", disable=None, leave=False)
    for help_others in (False, True):
        for run in planned:
            if run in results or run in failures:
                continue
            try:
                results[run] = _cross_validate(
                    run,
                    Path(folder) / run.path,
                    datasets[run.dataset],
                    folds=folds,
                    help_others=help_others,
                    n_jobs=n_jobs,
                    **options,
                )
            except Timeout:
                continue  # another process is working on it
            except _FAILURES as error:
                failures[run] = str(error) or type(error).__name__
                _LOG.warning("%s failed: %s", run, failures[run])
            seconds = time_left(
                [other for other in planned if other not in failures],
                folder,
                sizes,
                folds=folds,
                repeats=options.get("repeats"),
                n_jobs=n_jobs,
            )
            rest = f"about {duration(seconds)} left" if seconds else ""
            bar.update()
            bar.set_postfix_str(rest)
            finished = len(results) + len(failures)
            _LOG.info("%d of %d runs done, the last %s; %s", finished, len(planned), run, rest)
    bar.close()
    return SweepResult({run: results[run] for run in planned if run in results}, failures)


def _cross_validate(
    run: PlannedRun,
    run_dir: Path,
    dataset: CTDataset,
    *,
    folds: int,
    help_others: bool,
    **options: Any,
) -> CrossValidationResult:
    """Run a cross-validation alone, or together with the process that is working on it.

    Raises
    ------
    filelock.Timeout
        If another process is working on the run, and `help_others` is false.
    """
    validator = CrossValidator(
        run.model,
        run.recipe,
        weights=run.weights,
        run_dir=run_dir,
        **split_options(run.protocol, dataset, folds),
        **options,
    )
    if help_others:
        return validator.run(dataset)
    run_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(run_dir / ".sweep.lock", timeout=0):
        return validator.run(dataset)


def _check_plan(planned: Sequence[PlannedRun], datasets: Mapping[str, CTDataset]) -> None:
    paths = [run.path for run in planned]
    twice = sorted({path.as_posix() for path in paths if paths.count(path) > 1})
    if twice:
        raise ValueError(
            "runs of a sweep must differ in dataset, network or variant; several are planned for "
            f"{', '.join(twice)}"
        )
    for run in planned:
        if run.dataset not in datasets:
            raise UnknownNameError.among("dataset of a run", run.dataset, datasets)

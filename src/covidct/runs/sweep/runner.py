"""Cross-validation of many networks on many datasets, each in a folder of its own."""

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

# What stops a cell and not the sweep: weights that are missing, a split that the dataset does not
# allow, a loss that became NaN, a device that is out of memory.
_FAILURES = (ValueError, OSError, RuntimeError, ImportError, MemoryError)


def run_sweep(
    cells: Sequence[PlannedRun],
    folder: str | PathLike[str],
    *,
    datasets: Mapping[str, CTDataset],
    folds: int = 5,
    n_jobs: int = 1,
    **options: Any,
) -> SweepResult:
    """Do what is left to do of a sweep.

    Any number of processes may work on one folder: each takes cells that no other is at; when
    there are none left, it helps with the folds of the others' cells. What is finished is not
    done again, and what a killed process left is taken up.

    Parameters
    ----------
    cells
        What to do.
    folder
        Where each cell has its run, in ``DATASET/NETWORK/VARIANT``.
    datasets
        The slices by the names that the cells use.
    folds
        Folds of the protocols that leave their number open.
    n_jobs
        Folds of a cell at a time, as for :class:`covidct.CrossValidator`.
    **options
        Further options of :class:`covidct.CrossValidator`, such as ``seed`` and ``device``.

    Returns
    -------
    SweepResult
        The runs, and the cells that failed: these stop no other.

    Raises
    ------
    ValueError
        If two cells share a folder, or a dataset is missing.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.runs.sweep import PlannedRun
    >>> from covidct.runs.sweep import run_sweep
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cell = PlannedRun(dataset="phantom", model="shufflenet", variant="demo", recipe=recipe,
    ...             protocol="grouped", weights=None)
    >>> done = run_sweep([cell], tempfile.mkdtemp(), datasets={"phantom": slices}, folds=2)
    >>> str(done.results[cell].protocol), done.failures
    ('grouped by patient', {})
    """
    _refuse_clashes(cells, datasets)
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    results: dict[PlannedRun, CrossValidationResult] = {}
    failures: dict[PlannedRun, str] = {}
    bar = tqdm(total=len(cells), desc="cells", unit="cell", disable=None, leave=False)
    for help_others in (False, True):
        for cell in cells:
            if cell in results or cell in failures:
                continue
            dataset = datasets[cell.dataset]
            try:
                split = split_options(cell.protocol, dataset, folds)
                run_dir = Path(folder) / cell.path
                validator = CrossValidator(
                    cell.model,
                    cell.recipe,
                    weights=cell.weights,
                    n_jobs=n_jobs,
                    run_dir=run_dir,
                    **split,
                    **options,
                )
                results[cell] = _run_cell(validator, dataset, run_dir, help_others)
            except Timeout:
                continue  # another process is at it
            except _FAILURES as error:
                failures[cell] = str(error) or type(error).__name__
                _LOG.warning("%s failed: %s", cell, failures[cell])
            bar.update()
            at_work = [c for c in cells if c not in failures]
            seconds = time_left(at_work, folder, sizes, folds=folds, n_jobs=n_jobs)
            rest = f"about {duration(seconds)} left" if seconds else ""
            bar.set_postfix_str(rest)
            finished = len(results) + len(failures)
            _LOG.info("%d of %d cells done, the last %s; %s", finished, len(cells), cell, rest)
    bar.close()
    return SweepResult({cell: results[cell] for cell in cells if cell in results}, failures)


def _run_cell(
    validator: CrossValidator, dataset: CTDataset, run_dir: Path, help_others: bool
) -> CrossValidationResult:
    """Do a cell alone, or together with the process that is at it."""
    if help_others:
        return validator.run(dataset)
    run_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(run_dir / ".sweep.lock", timeout=0):
        return validator.run(dataset)


def _refuse_clashes(cells: Sequence[PlannedRun], datasets: Mapping[str, CTDataset]) -> None:
    paths = [cell.path for cell in cells]
    twice = sorted({path.as_posix() for path in paths if paths.count(path) > 1})
    if twice:
        raise ValueError(
            f"cells must differ in dataset, network or variant, but share {', '.join(twice)}"
        )
    for cell in cells:
        if cell.dataset not in datasets:
            kind = "dataset of a cell"
            raise UnknownNameError.among(kind, cell.dataset, datasets)

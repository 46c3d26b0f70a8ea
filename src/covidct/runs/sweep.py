"""Cross-validate many networks on many datasets, each in a folder of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self

from filelock import FileLock, Timeout
from tqdm import tqdm

from ..datasets.ct_dataset import CTDataset
from ..errors import InvalidFileError, UnknownNameError
from ..evaluation.tables import render_table
from ..models.registry import model_info
from ..training.recipe import Recipe
from ..training.trainer import EpochRecord
from .comparison_table import published_of, side_by_side
from .cross_validator import CrossValidator
from .fold import canvas_size
from .paired_tests import PairedTests, compare_runs, same_folds
from .presets import Cell
from .protocols import split_options
from .result import CrossValidationResult
from .run_directory import RunDirectory

__all__ = ["SweepResult", "duration", "sweep", "time_left"]

_LOG = logging.getLogger(__name__)

# What stops a cell and not the sweep: weights that are missing, a split that the dataset does not
# allow, a loss that became NaN, a device that is out of memory.
_FAILURES = (ValueError, OSError, RuntimeError, ImportError, MemoryError)


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Parameters
    ----------
    results
        The finished cells and their runs.
    failures
        The cells that failed, and why.

    Examples
    --------
    >>> from covidct.runs.sweep import SweepResult
    >>> SweepResult({}).table()
    'no cell is finished'
    """

    results: Mapping[Cell, CrossValidationResult]
    failures: Mapping[Cell, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """Read all finished cells of a folder; those under way are passed over.

        Parameters
        ----------
        folder
            Of the sweep.

        Returns
        -------
        SweepResult
            Its runs, by dataset, network and variant.

        Raises
        ------
        InvalidFileError
            If a run was damaged.
        """
        found = {}
        for path in sorted(Path(folder).glob("*/*/*/run.json")):
            try:
                result = CrossValidationResult.load(path.parent)
            except InvalidFileError:
                raise
            except ValueError:
                continue  # folds are missing
            cell = Cell(
                dataset=path.parts[-4],
                model=result.model_name,
                variant=path.parts[-2],
                recipe=result.recipe,
                protocol=result.protocol.partition(" ")[0],
                weights=result.run["weights"],
            )
            found[cell] = result
        return cls(found)

    def table(self, style: str = "text", *, metric: str = "accuracy") -> str:
        """Render the finished cells, as :func:`covidct.runs.comparison_table.side_by_side`.

        Parameters
        ----------
        style
            ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.
        metric
            The metric beside the AUC.

        Returns
        -------
        str
            The table.
        """
        if not self.results:
            return "no cell is finished"
        labels = [cell.variant for cell in self.results]
        return side_by_side(
            list(self.results.values()), metric=metric, style=style, variants=labels
        )

    def published(self, style: str = "text", *, metric: str = "accuracy") -> str:
        """Lay out the finished cells beside what the paper reports of their networks.

        Parameters
        ----------
        style
            ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.
        metric
            One of the five that the paper reports.

        Returns
        -------
        str
            The table, in percent, with what makes a row another experiment than the paper's;
            empty where the paper has none of the networks, or not the metric.
        """
        rows = []
        for cell, result in self.results.items():
            beside = published_of(result)
            if beside is None:
                continue
            rows += [
                [str(cell), *row.texts()[1:], "; ".join(beside.obstacles) or "–"]
                for row in beside.rows
                if row.metric == metric
            ]
        header = ["run", "ours", "theirs", "difference", "in their sd", "not comparable for"]
        return render_table(header, rows, style=style) if rows else ""

    def compare(
        self, metric: str = "accuracy", *, baseline: str = "paper", n_permutations: int = 10_000
    ) -> PairedTests:
        """Test the differences between cells, corrected for the number of tests in the sweep.

        Compared are cells on the same folds: networks of one variant with each other, and variants
        of one network with the baseline.

        Parameters
        ----------
        metric
            A name out of ``covidct.evaluation.metrics.METRICS``.
        baseline
            The variant with which others are compared.
        n_permutations
            As for :func:`covidct.evaluation.comparison.permutation_test`.

        Returns
        -------
        PairedTests
            None of them where no two cells can be compared.
        """
        pairs = [
            (str(a), str(b))
            for a, b in combinations(self.results, 2)
            if same_folds(self.results[a], self.results[b])
            and (
                a.variant == b.variant
                or (a.model == b.model and baseline in (a.variant, b.variant))
            )
        ]
        runs = {str(cell): result for cell, result in self.results.items()}
        return compare_runs(runs, metric=metric, pairs=pairs, n_permutations=n_permutations)


def sweep(
    cells: Sequence[Cell],
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
    >>> from covidct.runs.presets import Cell
    >>> from covidct.runs.sweep import sweep
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cell = Cell(dataset="phantom", model="shufflenet", variant="demo", recipe=recipe,
    ...             protocol="grouped", weights=None)
    >>> done = sweep([cell], tempfile.mkdtemp(), datasets={"phantom": slices}, folds=2)
    >>> done.results[cell].protocol, done.failures
    ('grouped by patient', {})
    """
    _refuse_clashes(cells, datasets)
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    results: dict[Cell, CrossValidationResult] = {}
    failures: dict[Cell, str] = {}
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
    cells: Iterable[Cell],
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
    >>> from covidct.runs.presets import plan
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


def _measure(cell: Cell, folder: Path, slices: int, folds: int) -> _Load:
    sizes: Sequence[float] = [slices * (folds - 1) / folds] * folds
    seconds: Mapping[int, float] = {}
    with suppress(InvalidFileError):  # which stops that cell alone, when its turn comes
        sizes, seconds = _begun(RunDirectory(folder / cell.path), cell.recipe) or (sizes, seconds)
    height, width = canvas_size(model_info(cell.model), cell.recipe)
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
    if spec is None or Recipe.from_dict(spec["recipe"]) != recipe:
        return None
    sizes = [len(fold["train"]) for fold in spec["folds"]]
    done = [k for k in range(len(sizes)) if directory.is_finished(k)]
    histories = {k: directory.read_history(k, EpochRecord._fields) for k in done}
    return sizes, {k: float(history["seconds"].sum()) for k, history in histories.items()}


def _run_cell(
    validator: CrossValidator, dataset: CTDataset, run_dir: Path, help_others: bool
) -> CrossValidationResult:
    """Do a cell alone, or together with the process that is at it."""
    if help_others:
        return validator.run(dataset)
    run_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(run_dir / ".sweep.lock", timeout=0):
        return validator.run(dataset)


def _refuse_clashes(cells: Sequence[Cell], datasets: Mapping[str, CTDataset]) -> None:
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

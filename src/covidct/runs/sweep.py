"""Cross-validate many networks on many datasets, each in a folder of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from ..datasets.ct_dataset import CTDataset
from ..errors import InvalidFileError, UnknownNameError
from ..models.registry import model_info
from ..training.recipe import Augmentation, Recipe
from .comparison import side_by_side
from .cross_validator import CrossValidator
from .result import CrossValidationResult

__all__ = [
    "PRESETS",
    "Cell",
    "SweepResult",
    "Variant",
    "find_finished",
    "plan",
    "sweep",
    "time_left",
]

_LOG = logging.getLogger(__name__)

# What stops a cell and not the sweep: weights that are missing, a split that the dataset does not
# allow, a loss that became NaN, a device that is out of memory.
_FAILURES = (ValueError, OSError, RuntimeError, ImportError, MemoryError)

_PROTOCOLS = ("paper", "grouped", "official")


@dataclass(frozen=True)
class Variant:
    """How the networks of a preset are trained and tested.

    Parameters
    ----------
    recipe
        How to train.
    protocol
        ``"paper"`` (slices at random), ``"grouped"`` (patients, or near-duplicates where patients
        are unknown, kept together) or ``"official"`` (the split of the dataset's authors).

    Raises
    ------
    UnknownNameError
        If there is no such protocol.

    Examples
    --------
    >>> from covidct.runs.sweep import PRESETS
    >>> PRESETS["ablations"]["stretch"].recipe.resize
    'stretch'
    """

    recipe: Recipe = field(default_factory=Recipe)
    protocol: str = "paper"

    def __post_init__(self) -> None:
        if self.protocol not in _PROTOCOLS:
            kind = "protocol"
            raise UnknownNameError.among(kind, self.protocol, _PROTOCOLS)


def _optimized(optimizer: str, learning_rate: float, weight_decay: float) -> Variant:
    """Exchange the optimizer; its learning rate falls as that of the paper does."""
    paper = Recipe()
    milestones = tuple(
        (epoch, learning_rate * rate / paper.learning_rate) for epoch, rate in paper.milestones
    )
    return Variant(
        paper.replace(
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            milestones=milestones,
        )
    )


def _augmented(**changes: float) -> Variant:
    return Variant(Recipe(augmentation=Augmentation(**changes)))


#: Preset -> name of the variant -> variant. A variant of "ablations" differs from the paper's in
#: one thing. Rates and decays of AdamW and SGD are ours, the usual ones for fine-tuning.
PRESETS: Mapping[str, Mapping[str, Variant]] = {
    "table2": {"paper": Variant()},
    "ablations": {
        "paper": Variant(),
        "stretch": Variant(Recipe(resize="stretch")),
        "default-canvas": Variant(Recipe(canvas="default")),
        "feature-extraction": Variant(Recipe(strategy="feature-extraction")),
        "adamw": _optimized("adamw", learning_rate=1e-4, weight_decay=0.05),
        "sgd": _optimized("sgd", learning_rate=1e-3, weight_decay=1e-4),
        "no-augmentation": Variant(Recipe(augmentation=Augmentation.none())),
        "no-crop": _augmented(crop=0),
        "no-blur": _augmented(blur_probability=0),
        "no-noise": _augmented(noise=0),
        "no-brightness": _augmented(brightness=0),
        "no-contrast": _augmented(contrast=0),
        "no-flip": _augmented(flip_probability=0),
        "affine": _augmented(rotation=10, shear=10),
    },
    "honest": {"grouped": Variant(protocol="grouped"), "official": Variant(protocol="official")},
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cross-validation of a sweep.

    Parameters
    ----------
    dataset
        Name of the dataset, a key of the mapping that :func:`sweep` gets.
    model
        Name of the network.
    variant
        What tells the cell from others of the same network and dataset; names its folder.
    recipe, protocol
        As for :class:`Variant`.
    weights
        As in :func:`covidct.create_model`.

    Examples
    --------
    >>> from covidct.runs.sweep import Cell
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

    def table(self, style: str = "text", *, metric: str = "accuracy") -> str:
        """Lay out the finished cells in rows, as :func:`covidct.runs.comparison.side_by_side`."""
        if not self.results:
            return "no cell is finished"
        labels = [cell.variant for cell in self.results]
        return side_by_side(
            list(self.results.values()), metric=metric, style=style, variants=labels
        )


def plan(
    preset: str,
    models: Iterable[str],
    datasets: Iterable[str],
    *,
    epochs: int | None = None,
    weights: str | None = "imagenet",
) -> tuple[Cell, ...]:
    """List the cells of a preset.

    Parameters
    ----------
    preset
        A key of :data:`PRESETS`.
    models, datasets
        Names of networks and datasets.
    epochs
        Scale the recipes to so many epochs.
    weights
        As in :func:`covidct.create_model`.

    Returns
    -------
    tuple of Cell
        A cell for each dataset, network and variant.

    Raises
    ------
    UnknownNameError
        If there is no such preset or network.

    Examples
    --------
    >>> from covidct.runs.sweep import plan
    >>> [str(cell) for cell in plan("honest", ["resnet18"], ["covid19-ct"])]
    ['covid19-ct/resnet18/grouped', 'covid19-ct/resnet18/official']
    """
    if preset not in PRESETS:
        kind = "preset"
        raise UnknownNameError.among(kind, preset, PRESETS)
    names = [model_info(model).name for model in models]
    return tuple(
        Cell(
            dataset=dataset,
            model=model,
            variant=name,
            recipe=variant.recipe if epochs is None else variant.recipe.scaled(epochs),
            protocol=variant.protocol,
            weights=weights,
        )
        for dataset in datasets
        for model in names
        for name, variant in PRESETS[preset].items()
    )


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
    >>> from covidct.runs.sweep import Cell, sweep
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cell = Cell(dataset="phantom", model="shufflenet", variant="demo", recipe=recipe,
    ...             protocol="grouped", weights=None)
    >>> done = sweep([cell], tempfile.mkdtemp(), datasets={"phantom": slices}, folds=2)
    >>> done.results[cell].protocol, done.failures
    ('grouped by patient', {})
    """
    _refuse_clashes(cells, datasets)
    results: dict[Cell, CrossValidationResult] = {}
    failures: dict[Cell, str] = {}
    bar = tqdm(total=len(cells), desc="cells", unit="cell", disable=None, leave=False)
    for help_others in (False, True):
        for cell in cells:
            if cell in results or cell in failures:
                continue
            dataset = datasets[cell.dataset]
            try:
                split = _split_options(cell.protocol, dataset, folds)
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
            bar.set_postfix_str(_describe_rest(cells, results, failures, datasets, n_jobs))
    bar.close()
    return SweepResult({cell: results[cell] for cell in cells if cell in results}, failures)


def find_finished(
    cells: Iterable[Cell], folder: str | PathLike[str]
) -> dict[Cell, CrossValidationResult]:
    """Read the runs of those cells that are finished.

    Parameters
    ----------
    cells
        The cells to look for.
    folder
        Of the sweep.

    Returns
    -------
    dict
        The finished cells and their runs, in the order of the cells.

    Raises
    ------
    InvalidFileError
        If a run was damaged.

    Examples
    --------
    >>> import tempfile
    >>> from covidct.runs.sweep import find_finished, plan
    >>> find_finished(plan("table2", ["resnet18"], ["covid19-ct"]), tempfile.mkdtemp())
    {}
    """
    found = {}
    for cell in cells:
        try:
            result = CrossValidationResult.load(Path(folder) / cell.path)
        except InvalidFileError:
            raise
        except (FileNotFoundError, ValueError):
            continue  # not begun, or folds are missing
        if result.recipe == cell.recipe:
            found[cell] = result
    return found


def time_left(
    cells: Iterable[Cell],
    finished: Mapping[Cell, CrossValidationResult],
    sizes: Mapping[str, int],
    *,
    n_jobs: int = 1,
) -> float | None:
    """Estimate how long the unfinished cells will take one process.

    A cell's work is its slices times its epochs; its speed that of the finished cells of its
    network or, where there are none, of all of them.

    Parameters
    ----------
    cells
        The cells that are left.
    finished
        Finished cells and their runs.
    sizes
        Slices of each dataset.
    n_jobs
        Folds at a time.

    Returns
    -------
    float or None
        Seconds; None where no cell is finished.

    Examples
    --------
    >>> from covidct.runs.sweep import plan, time_left
    >>> time_left(plan("table2", ["resnet18"], ["phantom"]), {}, {"phantom": 240}) is None
    True
    """
    if not finished:
        return None
    costs: dict[str, list[tuple[float, int]]] = {}
    for cell, result in finished.items():
        seconds = sum(result.history(k)["seconds"].sum() for k in range(len(result.folds)))
        work = sizes[cell.dataset] * cell.recipe.epochs
        costs.setdefault(cell.model, []).append((float(seconds), work))
    everything = [cost for costs_of_model in costs.values() for cost in costs_of_model]
    return sum(
        sizes[cell.dataset] * cell.recipe.epochs * _speed(costs.get(cell.model, everything))
        for cell in cells
    ) / max(1, n_jobs)


def _speed(costs: Iterable[tuple[float, int]]) -> float:
    """Return the seconds for each slice and epoch."""
    seconds, work = zip(*costs, strict=True)
    return float(sum(seconds) / sum(work))


def _split_options(protocol: str, dataset: CTDataset, folds: int) -> dict[str, Any]:
    """Say what a protocol means for a dataset, in options of the cross-validation."""
    found = "near-duplicate" if dataset.groups is None else "patient"
    options: dict[str, dict[str, Any]] = {
        "paper": {"cv": folds},
        "grouped": {"cv": folds, "groups": found},
        "official": {"cv": "official"},
    }
    return options[protocol]


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
        msg = f"cells must differ in dataset, network or variant, but share {', '.join(twice)}"
        raise ValueError(msg)
    for cell in cells:
        if cell.dataset not in datasets:
            kind = "dataset of a cell"
            raise UnknownNameError.among(kind, cell.dataset, datasets)


def _describe_rest(
    cells: Iterable[Cell],
    results: Mapping[Cell, CrossValidationResult],
    failures: Mapping[Cell, str],
    datasets: Mapping[str, CTDataset],
    n_jobs: int,
) -> str:
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    left = [cell for cell in cells if cell not in results and cell not in failures]
    seconds = time_left(left, results, sizes, n_jobs=n_jobs)
    return "" if seconds is None else f"about {seconds / 3600:.1f} h left"

"""Cross-validate many networks on many datasets: the paper's table, ablations, honest protocols.

A sweep that was interrupted goes on when the same command is given again, and the same command in
several shells, or on several machines with a common disk, shares the work. A cell that fails stops
no other. --dry-run says what is left to do and how long it will take; --finished prints the tables
of what is there so far, and --page writes them for the documentation.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from .options import WrongCallError, checked_call, emit
from .recipe_options import add_recipe, read_recipe
from .several import add_datasets, load_datasets, roots_of

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from ..runs.sweep import PlannedRun, SweepResult

_LOG = logging.getLogger(__name__)

EXAMPLE = (
    "covidct sweep --preset table2 \\\n"
    "    --datasets covid19-ct=data/covid19-ct sars-cov-2-ct=data/sars-cov-2-ct\n"
    "  covidct sweep --preset ablations --only paper,stretch --models squeezenet --scale 0.5 \\\n"
    "    --epochs 20 --datasets covid19-ct=data/covid19-ct"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--preset",
        default="table2",
        metavar="A[,B]",
        help="of table2 (the paper's recipe and protocol), ablations (one change of it at a time) "
        "and honest (grouped and official splits) (default: %(default)s)",
    )
    parser.add_argument(
        "--only", default="*", metavar="A,B", help="variants of the presets, such as paper,no-*"
    )
    parser.add_argument(
        "--models",
        default="paper",
        metavar="A,B",
        help="networks, or patterns of their names (default: the paper's twelve)",
    )
    add_datasets(parser)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("runs/sweep"),
        help="of the runs, in DATASET/NETWORK/VARIANT (default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="'imagenet', 'none' for random weights, or a file (default: %(default)s)",
    )
    parser.add_argument("--folds", type=int, default=5, help="folds (default: %(default)s)")
    add_recipe(parser)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on the sides of the canvases"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--n-jobs", type=int, default=1, help="folds of a cell at a time")
    parser.add_argument("--threads", type=int, help="threads for each fold")
    parser.add_argument("--metric", default="accuracy", help="of tables and tests")
    parser.add_argument(
        "--table", default="text", choices=("text", "markdown", "latex", "csv"), help="style"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--dry-run", action="store_true", help="list the cells and do nothing")
    only.add_argument("--finished", action="store_true", help="print what is there, do nothing")
    parser.add_argument(
        "--page", type=Path, metavar="FOLDER", help="write the tables as JSON, one per dataset"
    )


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from ..evaluation.metrics import find_metric
    from ..runs.sweep import SweepResult, run_sweep

    args.resume_hint = "give the same command again to go on; finished folds are kept"
    find_metric(args.metric)
    if args.finished:
        _show(SweepResult.load(args.folder), args)
        return
    planned = _plan(args)
    datasets = load_datasets(args)
    cells = _possible(planned, datasets)
    if args.dry_run:
        _list_cells(cells, datasets, args)
        return
    logging.getLogger("covidct.runs.sweep").setLevel(logging.INFO)
    done = run_sweep(
        cells,
        args.folder,
        datasets=datasets,
        folds=args.folds,
        n_jobs=args.n_jobs,
        seed=args.seed,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
    )
    _show(done, args)
    if done.failures:
        reasons = "".join(f"\n  {cell}: {why}" for cell, why in done.failures.items())
        raise RuntimeError(
            f"{len(done.failures)} of {len(cells)} cells failed, the others are kept:{reasons}"
        )


def _plan(args: argparse.Namespace) -> tuple[PlannedRun, ...]:
    from .. import list_models
    from ..runs.sweep import plan

    roots = roots_of(args)
    if not roots:
        raise WrongCallError("give --dataset NAME --root PATH, or --datasets NAME=PATH ...")
    models = None
    if args.models != "paper":
        patterns = args.models.split(",")
        models = [name for p in patterns for name in list_models(p) or [p]]
    with checked_call():
        return plan(
            args.preset.split(","),
            roots,
            models=models,
            only=args.only.split(","),
            recipe=read_recipe(args),
            scale=args.scale,
            weights=None if args.weights == "none" else args.weights,
        )


def _possible(
    cells: tuple[PlannedRun, ...], datasets: dict[str, CTDataset]
) -> tuple[PlannedRun, ...]:
    """Leave out the official splits of datasets that have none."""
    out = {name for name, dataset in datasets.items() if dataset.official_split is None}
    for name in sorted({c.dataset for c in cells if c.protocol == "official"} & out):
        _LOG.warning("%s has no official split; its cells are left out", name)
    return tuple(c for c in cells if c.protocol != "official" or c.dataset not in out)


def _list_cells(
    cells: tuple[PlannedRun, ...], datasets: dict[str, CTDataset], args: argparse.Namespace
) -> None:
    from ..runs.sweep import SweepResult, duration, time_left

    recipes = {cell.path: cell.recipe for cell in SweepResult.load(args.folder).results}
    left = [cell for cell in cells if recipes.get(cell.path) != cell.recipe]
    for cell in cells:
        emit(f"{'to do' if cell in left else 'finished':9} {cell}")
    slices = {name: len(dataset) for name, dataset in datasets.items()}
    seconds = time_left(cells, args.folder, slices, folds=args.folds, n_jobs=args.n_jobs)
    if seconds is not None:
        emit(f"{len(left)} to do" + (f", in about {duration(seconds)}" if seconds else ""))


def _show(done: SweepResult, args: argparse.Namespace) -> None:
    emit(done.table(args.table, metric=args.metric))
    beside = done.published(args.table, metric=args.metric)
    if beside:
        emit(f"\n{beside}")
    tests = done.compare(args.metric)
    if tests.tests:
        emit(f"\n{tests if args.table == 'text' else tests.table(args.table)}")
    if args.page:
        from ..report.sweep_tables import write_sweep_tables

        for path in write_sweep_tables(done, args.page, tests=tests):
            emit(f"\nwrote {path}")

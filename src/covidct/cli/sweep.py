"""Cross-validate networks on datasets: the paper's table, ablations, grouped and official splits.

To continue an interrupted sweep, run the same command again. Several processes with the same
command, also on machines with a common disk, share the work. If one run fails, the others continue.
--dry-run lists the remaining runs and estimates the time; --finished prints the tables of the
finished runs; --page writes them for the documentation.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dataset_options import add_dataset, load_datasets, named_datasets
from .options import add_table
from .output import emit
from .training_options import add_training, read_recipe, read_weights
from .wrong_call import WrongCallError, checked_call

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from ..runs.sweep import PlannedRun, SweepResult

_LOG = logging.getLogger(__name__)

EXAMPLE = (
    "covidct sweep --preset table2 \\\n"
    "    --dataset covid19-ct=data/covid19-ct sars-cov-2-ct=data/sars-cov-2-ct\n"
    "  covidct sweep --preset ablations --only paper,stretch --models squeezenet --scale 0.5 \\\n"
    "    --epochs 20 --dataset covid19-ct=data/covid19-ct"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--preset",
        default="table2",
        metavar="A[,B]",
        help="'table2' (the paper's recipe and protocol), 'ablations' (one change of it at a time) "
        "or 'honest' (grouped and official splits) (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        default="*",
        metavar="A,B",
        help="variants of the presets, or patterns, such as paper,no-* (default: all)",
    )
    parser.add_argument(
        "--models",
        default="paper",
        metavar="A,B",
        help="networks, or patterns of their names (default: the paper's twelve)",
    )
    add_dataset(parser, required=False, several=True)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("runs/sweep"),
        help="folder of the runs, with subfolders DATASET/NETWORK/VARIANT (default: %(default)s)",
    )
    add_training(parser)
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="factor on the height and width of the canvases (default: %(default)s)",
    )
    parser.add_argument(
        "--metric", default="accuracy", help="metric of tables and tests (default: %(default)s)"
    )
    add_table(parser)
    parser.add_argument(
        "--nested",
        action="store_true",
        help="choose among the networks and variants in inner folds, by --metric, and score the "
        "choice in outer folds",
    )
    parser.add_argument(
        "--inner-folds", type=int, metavar="N", help="inner folds of --nested (default: 3)"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--dry-run", action="store_true", help="list the runs without training")
    only.add_argument(
        "--finished", action="store_true", help="print the finished runs without training"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FOLDER", help="write the tables as JSON, one per dataset"
    )


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from ..evaluation.metrics import find_metric
    from ..runs.sweep import SweepResult, run_sweep

    if args.inner_folds is not None and not args.nested:
        raise WrongCallError("--inner-folds needs --nested")
    args.resume_hint = "give the same command again to continue; finished folds are kept"
    find_metric(args.metric)
    if args.finished:
        _show(SweepResult.load(args.folder), args)
        return
    planned = _plan(args)
    datasets = load_datasets(args)
    planned = _possible(planned, datasets)
    if args.dry_run:
        _list_runs(planned, datasets, args)
        return
    logging.getLogger("covidct.runs.sweep").setLevel(logging.INFO)
    if args.nested:
        _run_nested(planned, datasets, args)
        return
    done = run_sweep(
        planned, args.folder, datasets=datasets, repeats=args.repeats, **_run_options(args)
    )
    _show(done, args)
    if done.failures:
        reasons = "".join(f"\n  {run}: {why}" for run, why in done.failures.items())
        raise RuntimeError(
            f"{len(done.failures)} of {len(planned)} runs failed, the others are kept:{reasons}"
        )


def _run_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that the cross-validations of all runs share."""
    names = ("target", "folds", "n_jobs", "seed", "split_seed", "device", "precision", "threads")
    return {name: getattr(args, name) for name in names}


def _run_nested(
    planned: tuple[PlannedRun, ...], datasets: dict[str, CTDataset], args: argparse.Namespace
) -> None:
    """Run a nested cross-validation for each dataset and protocol, and print the results."""
    from ..runs.sweep import run_nested

    if args.repeats not in (None, 1):
        raise WrongCallError("--nested takes no --repeats")
    places = dict.fromkeys((run.dataset, run.protocol) for run in planned)
    for dataset, protocol in places:
        result = run_nested(
            [run for run in planned if (run.dataset, run.protocol) == (dataset, protocol)],
            args.folder / "nested" / dataset / protocol,
            datasets=datasets,
            inner_folds=3 if args.inner_folds is None else args.inner_folds,
            metric=args.metric,
            **_run_options(args),
        )
        emit(result.table().render(args.table))
        emit(f"\n{result.choices().render(args.table)}")


def _plan(args: argparse.Namespace) -> tuple[PlannedRun, ...]:
    from .. import list_models
    from ..runs.sweep import plan

    named = named_datasets(args)
    if not named:
        raise WrongCallError("covidct sweep needs --dataset NAME=ROOT ...")
    models = None
    if args.models != "paper":
        patterns = args.models.split(",")
        models = [name for p in patterns for name in list_models(p) or [p]]
    with checked_call():
        return plan(
            args.preset.split(","),
            named,
            models=models,
            only=args.only.split(","),
            recipe=read_recipe(args),
            scale=args.scale,
            weights=read_weights(args),
        )


def _possible(
    planned: tuple[PlannedRun, ...], datasets: dict[str, CTDataset]
) -> tuple[PlannedRun, ...]:
    """Leave out the official protocol for datasets without an official split."""
    out = {name for name, dataset in datasets.items() if dataset.official_split is None}
    for name in sorted({run.dataset for run in planned if run.protocol == "official"} & out):
        _LOG.warning("%s has no official split; its official runs are left out", name)
    return tuple(run for run in planned if run.protocol != "official" or run.dataset not in out)


def _list_runs(
    planned: tuple[PlannedRun, ...], datasets: dict[str, CTDataset], args: argparse.Namespace
) -> None:
    from ..runs.sweep import SweepResult, duration, time_left

    finished = {
        run.path: (run.recipe, result.spec.target)
        for run, result in SweepResult.load(args.folder).results.items()
        if result.spec.repeats >= (args.repeats or 1)
    }
    left = [run for run in planned if finished.get(run.path) != (run.recipe, args.target)]
    for run in planned:
        emit(f"{'to do' if run in left else 'finished':9} {run}")
    slices = {name: len(dataset) for name, dataset in datasets.items()}
    seconds = time_left(
        planned,
        args.folder,
        slices,
        folds=args.folds,
        repeats=args.repeats,
        n_jobs=args.n_jobs,
    )
    if seconds is not None:
        emit(f"{len(left)} to do" + (f", in about {duration(seconds)}" if seconds else ""))


def _show(done: SweepResult, args: argparse.Namespace) -> None:
    if not done.results:
        emit("no run is finished")
        return
    emit(done.table(metric=args.metric).render(args.table))
    published = done.published(metric=args.metric)
    if published.rows:
        emit(f"\n{published.render(args.table)}")
    tests = done.compare(args.metric)
    if tests.tests:
        emit(f"\n{tests.table().render(args.table)}")
    if args.page:
        from ..report.sweep_tables import write_sweep_tables

        for path in write_sweep_tables(done, args.page, tests=tests):
            emit(f"\nwrote {path}")

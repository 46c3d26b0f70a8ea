"""Cross-validate many networks on many datasets: the paper's table, ablations, honest protocols.

A sweep that was interrupted goes on when the same command is given again, and the same command in
several shells, or on several machines with a common disk, shares the work. A cell that fails stops
no other; with --finished, the table of what is there so far is printed and nothing is computed.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from .options import WrongCallError, checked_call, emit

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from ..runs.sweep import Cell

_LOG = logging.getLogger(__name__)

EXAMPLE = (
    "covidct sweep --preset table2 --models all --datasets covid19-ct,sars-cov-2-ct \\\n"
    "    --roots covid19-ct=data/covid19-ct sars-cov-2-ct=data/sars-cov-2-ct"
)

_PRESETS = ("table2", "ablations", "honest")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--preset",
        choices=_PRESETS,
        default="table2",
        help="the paper's recipe and protocol; one change of the recipe at a time; grouped and "
        "official splits (default: %(default)s)",
    )
    parser.add_argument("--models", default="all", metavar="A,B", help="networks (default: all)")
    parser.add_argument("--datasets", required=True, metavar="A,B", help="datasets")
    parser.add_argument(
        "--roots", nargs="+", default=[], metavar="NAME=PATH", help="where datasets lie"
    )
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
    parser.add_argument("--epochs", type=int, help="shorten or stretch the recipes' schedules")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--n-jobs", type=int, default=1, help="folds of a cell at a time")
    parser.add_argument("--threads", type=int, help="threads for each fold")
    parser.add_argument(
        "--table", default="text", choices=("text", "markdown", "latex", "csv"), help="style"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--dry-run", action="store_true", help="list the cells and do nothing")
    only.add_argument("--finished", action="store_true", help="print the table and do nothing")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from .. import list_models
    from ..runs.sweep import SweepResult, find_finished, plan, sweep

    args.resume_hint = "give the same command again to go on; finished folds are kept"
    names = args.datasets.split(",")
    with checked_call():
        cells = plan(
            args.preset,
            list_models() if args.models == "all" else args.models.split(","),
            names,
            epochs=args.epochs,
            weights=None if args.weights == "none" else args.weights,
        )
    roots = _roots(args, names)
    if args.dry_run:
        _list_cells(cells, args.folder)
        return
    if args.finished:
        emit(SweepResult(find_finished(cells, args.folder)).table(args.table))
        return
    datasets = _load(names, roots)
    cells = _possible(cells, datasets)
    done = sweep(
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
    emit(done.table(args.table))
    if done.failures:
        reasons = "".join(f"\n  {cell}: {why}" for cell, why in done.failures.items())
        msg = f"{len(done.failures)} of {len(cells)} cells failed, the others are kept:{reasons}"
        raise RuntimeError(msg)


def _roots(args: argparse.Namespace, names: list[str]) -> dict[str, Path]:
    roots = {}
    for text in args.roots:
        name, equals, path = text.partition("=")
        if not equals or name not in names:
            msg = f"--roots takes NAME=PATH for the --datasets {', '.join(names)}, got {text!r}"
            raise WrongCallError(msg)
        roots[name] = Path(path)
    return roots


def _load(names: list[str], roots: dict[str, Path]) -> dict[str, CTDataset]:
    from .. import load_dataset

    return {name: load_dataset(name, roots.get(name)) for name in names}


def _possible(cells: tuple[Cell, ...], datasets: dict[str, CTDataset]) -> tuple[Cell, ...]:
    """Leave out the official splits of datasets that have none."""
    out = {name for name, dataset in datasets.items() if dataset.official_split is None}
    for name in sorted({c.dataset for c in cells if c.protocol == "official"} & out):
        _LOG.warning("%s has no official split; its cells are left out", name)
    return tuple(c for c in cells if c.protocol != "official" or c.dataset not in out)


def _list_cells(cells: tuple[Cell, ...], folder: Path) -> None:
    from ..runs.sweep import find_finished, time_left

    finished = find_finished(cells, folder)
    for cell in cells:
        emit(f"{'finished' if cell in finished else 'to do':9} {cell}")
    sizes = {cell.dataset: result.run["dataset"]["slices"] for cell, result in finished.items()}
    left = [cell for cell in cells if cell not in finished]
    known = [cell for cell in left if cell.dataset in sizes]
    seconds = time_left(known, finished, sizes)
    if seconds is not None:
        emit(f"{len(left)} to do; {len(known)} of them in about {seconds / 3600:.2g} h")

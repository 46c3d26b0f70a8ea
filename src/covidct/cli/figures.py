"""Draw the paper's Figs. 9 to 16 from a finished sweep, or from what is finished of it.

Confusion matrices of all networks; t-SNE and Grad-CAM of one; Grad-CAM of slices of another source,
which are those of the other datasets unless --images names some. Slices are drawn only into the
folder that you choose.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import emit
from .several import add_datasets, load_datasets

EXAMPLE = (
    "covidct figures runs/sweep --output figures \\\n"
    "    --datasets covid19-ct=data/covid19-ct sars-cov-2-ct=data/sars-cov-2-ct"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("folder", type=Path, metavar="SWEEP", help="the folder of a sweep")
    add_datasets(parser)
    parser.add_argument("--variant", default="paper", help="default: %(default)s")
    parser.add_argument("--fold", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--images", type=Path, nargs="+", default=[], metavar="PATH", help="of another source"
    )
    parser.add_argument("--output", type=Path, help="folder (default: SWEEP/figures)")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from ..explain.paper import draw_paper
    from ..runs.sweep import SweepResult

    drawn = draw_paper(
        SweepResult.load(args.folder),
        load_datasets(args),
        args.output or args.folder / "figures",
        variant=args.variant,
        images=args.images,
        fold=args.fold,
    )
    for shown, path in drawn.items():
        emit(f"{path}  {shown}")

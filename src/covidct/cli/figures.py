"""Draw Figs. 9 to 16 of the paper from a sweep or its finished part.

Draws the confusion matrices of all networks, and t-SNE and Grad-CAM of one network. Grad-CAM also
explains slices of the other datasets or of --paths. Images of slices are written only to the output
folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .dataset_options import add_dataset, load_datasets
from .output import emit

EXAMPLE = (
    "covidct figures runs/sweep --output figures \\\n"
    "    --dataset covid19-ct=data/covid19-ct sars-cov-2-ct=data/sars-cov-2-ct"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("folder", type=Path, metavar="SWEEP", help="folder of the sweep")
    add_dataset(parser, required=False, several=True)
    parser.add_argument(
        "--variant", default="paper", help="variant of the sweep (default: %(default)s)"
    )
    parser.add_argument("--fold", type=int, default=0, help="fold (default: %(default)s)")
    parser.add_argument(
        "--paths",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="further slices to explain: images or folders",
    )
    parser.add_argument("--output", type=Path, help="folder to write (default: SWEEP/figures)")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from ..explain import draw_paper_figures
    from ..runs.sweep import SweepResult

    drawn = draw_paper_figures(
        SweepResult.load(args.folder),
        load_datasets(args),
        args.output or args.folder / "figures",
        variant=args.variant,
        images=args.paths,
        fold=args.fold,
    )
    for shown, path in drawn.items():
        emit(f"{path}  {shown}")

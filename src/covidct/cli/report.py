"""Write an HTML page about finished runs: tables, figures, explanations, known problems.

With --dataset, the page also shows the most confident slices with Grad-CAM, the features of a
fold, and the findings of an audit. With --checklist, the reporting checklists TRIPOD+AI and CLAIM
are written too, as Markdown and CSV: the answers of the runs, and the items left to the author.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .dataset_options import add_dataset, load_slices
from .options import add_layer, add_runs
from .output import emit

EXAMPLE = "covidct report runs/mine --dataset folder=my-slices --checklist"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_runs(parser)
    add_dataset(parser, required=False)
    parser.add_argument("--no-audit", action="store_true", help="do not audit the dataset")
    add_layer(parser)
    parser.add_argument(
        "--checklist",
        action="store_true",
        help="also write FILE-checklist.md and FILE-checklist.csv",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="file to write (default: RUN/report.html)"
    )


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from .. import CrossValidationResult, audit_dataset
    from ..report import write_checklist, write_report

    results = [CrossValidationResult.load(path) for path in args.runs]
    dataset = None if args.dataset is None else load_slices(args)
    audit = None if dataset is None or args.no_audit else audit_dataset(dataset)
    output = args.output or args.runs[0] / "report.html"
    emit(str(write_report(results, output, dataset=dataset, audit=audit, layer=args.layer)))
    for ending in (".md", ".csv") if args.checklist else ():
        path = output.with_name(f"{output.stem}-checklist{ending}")
        emit(str(write_checklist(results, path, audit=audit)))

"""Say whether a dataset, and a random split of it, is fit to be believed.

Looks for duplicates, for shortcuts such as the file format, and for what a split at random leaks.
"""

from __future__ import annotations

import argparse

from .options import add_dataset, emit, emit_json, load_slices

EXAMPLE = "covidct audit --dataset folder --root my-slices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_dataset(parser)
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from .. import audit_dataset

    report = audit_dataset(load_slices(args), seed=args.seed)
    if args.json:
        emit_json(report.to_dict())
    else:
        emit(str(report))

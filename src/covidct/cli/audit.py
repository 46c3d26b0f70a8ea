"""Check a dataset for duplicates, shortcuts and leakage before training.

Prints exact and near-duplicates, shortcuts such as file formats or image sizes that predict the
label, the leakage of a random split, and a conclusion.
"""

from __future__ import annotations

import argparse

from .dataset_options import add_dataset, load_slices
from .output import emit, emit_json
from .shell_words import audit_in_shell_words

EXAMPLE = "covidct audit --dataset folder=my-slices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_dataset(parser)
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from .. import audit_dataset

    report = audit_dataset(load_slices(args), seed=args.seed)
    if args.json:
        emit_json(report.to_dict())
    else:
        emit(audit_in_shell_words(report, args))

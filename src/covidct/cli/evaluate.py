"""Score the fitted folds of a run on slices of another source: the external test."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_dataset, emit, emit_json, load_slices

EXAMPLE = "covidct evaluate runs/mine --dataset folder --root slices-of-another-hospital"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a finished run")
    add_dataset(parser)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from .. import CrossValidationResult

    results = [CrossValidationResult.load(path) for path in args.runs]
    dataset = load_slices(args)
    evaluations = [result.evaluate(dataset) for result in results]
    if args.json:
        emit_json([evaluation.to_dict() for evaluation in evaluations])
    else:
        emit("\n\n".join(map(str, evaluations)))

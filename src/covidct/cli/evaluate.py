"""Score the fitted folds of a run on slices of another source: the external test.

With --datasets, every run is tested on every dataset: out of fold on the slices that it was made
of, and with its fitted folds on the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import WrongCallError, emit, emit_json, load_slices
from .several import add_datasets, load_datasets

EXAMPLE = (
    "covidct evaluate runs/mine --dataset folder --root slices-of-another-hospital\n"
    "  covidct evaluate runs/a runs/b --datasets covid19-ct=data/a sars-cov-2-ct=data/b"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a finished run")
    add_datasets(parser)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from .. import CrossValidationResult
    from ..runs.cross_dataset import evaluate_across

    if (args.dataset is None) == (not args.datasets):
        msg = "give either --dataset, for an external test, or --datasets, for a matrix"
        raise WrongCallError(msg)
    results = {path.as_posix(): CrossValidationResult.load(path) for path in args.runs}
    if args.datasets:
        matrix = evaluate_across(results, load_datasets(args))
        emit_json(matrix.to_dict()) if args.json else emit(str(matrix))
        return
    dataset = load_slices(args)
    evaluations = [result.evaluate(dataset) for result in results.values()]
    if args.json:
        emit_json([evaluation.to_dict() for evaluation in evaluations])
    else:
        emit("\n\n".join(map(str, evaluations)))

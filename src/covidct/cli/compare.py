"""Test whether finished runs on the same slices differ, corrected for the number of tests.

Either the runs differ in network, weights or recipe, and their protocol, seed and number of folds
are the same; or they differ in the protocol alone, which shows what a split is worth. What cannot
be compared is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import WrongCallError, emit, emit_json

EXAMPLE = "covidct compare runs/resnet18/grouped runs/resnet18/paper"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a finished run")
    parser.add_argument("--metric", default="accuracy", help="default: %(default)s")
    parser.add_argument("--baseline", type=Path, metavar="RUN", help="compare with this run alone")
    parser.add_argument(
        "--table", default="text", choices=("text", "markdown", "latex", "csv"), help="style"
    )
    parser.add_argument("--json", action="store_true", help="print the tests as JSON")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from .. import CrossValidationResult
    from ..runs.paired_tests import compare_runs

    paths = list(dict.fromkeys([*args.runs, *([args.baseline] if args.baseline else [])]))
    if len(paths) < 2:
        raise WrongCallError("give at least two runs")
    results = {path.as_posix(): CrossValidationResult.load(path) for path in paths}
    pairs = [tuple(results)] if len(results) == 2 else None  # which says why, if not comparable
    if args.baseline:
        baseline = args.baseline.as_posix()
        pairs = [(name, baseline) for name in results if name != baseline]
    tests = compare_runs(results, metric=args.metric, pairs=pairs)
    if args.json:
        emit_json(tests.to_dict())
    else:
        emit(str(tests) if args.table == "text" else tests.table(args.table))

"""Test whether finished runs on the same slices differ, with correction for multiple tests.

The runs must have the same protocol, seed and number of folds, and may differ in network, weights
or recipe. Or they differ only in the protocol; the tests then show by how much a random split
overestimates the metric. Pairs of runs that cannot be compared are left out.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

from .options import add_runs, add_table, load_runs
from .output import emit, emit_json
from .wrong_call import WrongCallError

EXAMPLE = "covidct compare runs/resnet18/grouped runs/resnet18/paper"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_runs(parser)
    parser.add_argument(
        "--metric", default="accuracy", help="metric to test (default: %(default)s)"
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="RUN", help="compare each run with this run only"
    )
    add_table(parser)
    parser.add_argument("--json", action="store_true", help="print the tests as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from ..runs.paired_tests import compare_runs

    paths = list(dict.fromkeys([*args.runs, *([args.baseline] if args.baseline else [])]))
    if len(paths) < 2:
        raise WrongCallError("covidct compare needs at least two runs")
    results = load_runs(paths)
    # If a given pair cannot be compared, an error with the reason is raised.
    pairs = list(combinations(results, 2)) if len(results) == 2 else None
    if args.baseline:
        baseline = args.baseline.as_posix()
        pairs = [(name, baseline) for name in results if name != baseline]
    tests = compare_runs(results, metric=args.metric, pairs=pairs)
    if args.json:
        emit_json(tests.to_dict())
    else:
        emit(tests.table().render(args.table) if tests.tests else str(tests))

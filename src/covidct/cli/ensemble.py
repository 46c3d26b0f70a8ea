"""Average the probabilities of finished runs on the same folds, and score the average.

Each slice is scored by the networks that were not trained on it. --siblings also averages the
repeats of an official split. With --dataset, the networks of all folds are averaged on the slices
of another dataset.
"""

from __future__ import annotations

import argparse

from .dataset_options import add_dataset, load_slices
from .options import add_runs, load_runs
from .output import emit, emit_json
from .wrong_call import checked_call

EXAMPLE = "covidct ensemble runs/resnet18 runs/densenet121"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_runs(parser)
    parser.add_argument(
        "--siblings", action="store_true", help="also average the repeats of one split"
    )
    add_dataset(parser, required=False)
    parser.add_argument(
        "--metric", default="accuracy", help="metric to test (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from ..runs.comparison_table import side_by_side
    from ..runs.ensemble import Ensemble
    from ..runs.paired_tests import compare_runs, same_folds

    members = load_runs(args.runs)
    with checked_call():
        ensemble = Ensemble(list(members.values()), siblings=args.siblings)
    if args.dataset is not None:
        found = ensemble.evaluate(load_slices(args))
        emit_json(found.to_dict()) if args.json else emit(str(found))
        return
    if args.json:
        emit_json(ensemble.to_dict())
        return
    emit(f"{ensemble}\n\n{side_by_side([*members.values(), ensemble])}")
    # With --siblings the ensemble has one fold where its members have several: no paired test.
    pairs = [("ensemble", name) for name, run in members.items() if same_folds(ensemble, run)]
    if pairs:
        runs = {"ensemble": ensemble, **members}
        emit(f"\n{compare_runs(runs, metric=args.metric, pairs=pairs)}")

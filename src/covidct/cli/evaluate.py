"""Print the metrics of finished runs, or test them on other datasets.

Without --dataset, prints the metrics, calibration and operating points of each run, and a table of
all runs. With one dataset, prints an external test of the fitted networks, and, with options of the
decision rule, its decisions. With several datasets, tests every run on every dataset; on the
dataset of the run itself, the out-of-fold predictions are used.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from .._reasons import value_or_reason
from .dataset_options import add_dataset, load_datasets, load_slices
from .options import add_runs, load_runs
from .output import emit, emit_json
from .rule_options import add_rule, read_rule
from .wrong_call import WrongCallError

if TYPE_CHECKING:
    from ..evaluation.decision_rule import Unit
    from ..evaluation.operating_points import OperatingPoints
    from ..runs.recalibration import CalibratedFolds
    from ..runs.result import CrossValidationResult

EXAMPLE = (
    "covidct evaluate runs/paper runs/grouped\n"
    "  covidct evaluate runs/mine --sensitivity 0.95 --prevalence 0.05\n"
    "  covidct evaluate runs/mine --dataset folder=slices-of-another-hospital\n"
    "  covidct evaluate runs/a runs/b --dataset covid19-ct=data/a folder@ward-7=data/b"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_runs(parser)
    add_dataset(parser, required=False, several=True)
    add_rule(parser)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from ..runs.cross_dataset import evaluate_across

    options = read_rule(args)
    chosen = any(value is not None for value in options.values())
    if chosen and args.dataset is not None and len(args.dataset) > 1:
        raise WrongCallError(
            "options of the decision rule need one dataset or none; several are compared by their "
            "metrics only"
        )
    results = load_runs(args.runs)
    if args.dataset is None:
        _show(list(results.values()), args)
        return
    if len(args.dataset) > 1:
        matrix = evaluate_across(results, load_datasets(args))
        emit_json(matrix.to_dict()) if args.json else emit(str(matrix))
        return
    dataset = load_slices(args)
    found = [
        (result.evaluate(dataset), result.decision_rule(**options) if chosen else None)
        for result in results.values()
    ]
    if args.json:
        emit_json(
            [
                evaluation.to_dict()
                | ({"rule": evaluation.decide(rule).to_dict()} if rule is not None else {})
                for evaluation, rule in found
            ]
        )
    else:
        emit(
            "\n\n".join(
                f"{evaluation}\n\n{evaluation.decide(rule)}" if rule else str(evaluation)
                for evaluation, rule in found
            )
        )


def _show(results: list[CrossValidationResult], args: argparse.Namespace) -> None:
    from ..runs.comparison_table import side_by_side

    calibrated = [_calibrate(result, args) for result in results]
    points = [_operating_points(result, args) for result in results]
    if args.json:
        emit_json(
            [
                result.to_dict()
                | {
                    "calibration": None if isinstance(found, str) else found.to_dict(),
                    "operating_points": [own.to_dict() for own in at],
                }
                for result, found, at in zip(results, calibrated, points, strict=True)
            ]
        )
        return
    parts = [
        "\n\n".join(map(str, (result, found, *at)))
        for result, found, at in zip(results, calibrated, points, strict=True)
    ]
    emit("\n\n".join(parts + ([str(side_by_side(results))] if len(results) > 1 else [])))


def _operating_points(
    result: CrossValidationResult, args: argparse.Namespace
) -> list[OperatingPoints]:
    """Return the operating points per slice and per patient, at the prevalence if one is given."""
    options = {name: getattr(args, name) for name in ("sensitivity", "specificity", "threshold")}
    units: tuple[Unit, ...] = ("slice", "patient") if result.has_patients else ("slice",)
    found = []
    for per in units:
        points = value_or_reason(partial(result.operating_points, per=per, **options))
        if isinstance(points, str):  # too few folds, as for the calibration, which gives the reason
            continue
        found.append(points)
        if args.prevalence is not None:
            found.append(result.predictive_values(args.prevalence, per=per, **options))
    return found


def _calibrate(result: CrossValidationResult, args: argparse.Namespace) -> CalibratedFolds | str:
    """Calibrate a run, or return the reason why it cannot be calibrated."""
    sensitivity = 0.95 if args.sensitivity is None else args.sensitivity
    found = value_or_reason(
        lambda: result.calibrate(sensitivity, method=args.calibrate or "temperature")
    )
    return f"Not calibrated: {found}" if isinstance(found, str) else found

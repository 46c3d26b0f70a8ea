"""Print the metrics of finished runs, or test them on slices of another source.

Without --dataset: the table of each run, its calibration, and the runs side by side. With one
dataset: an external test of the fitted folds. With several datasets: every run on every dataset,
out of fold on the slices that it was trained on, and as an external test on the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidFileError
from .options import WrongCallError, add_dataset, emit, emit_json, load_datasets, load_slices

if TYPE_CHECKING:
    from ..runs.recalibration import CalibratedFolds
    from ..runs.result import CrossValidationResult

EXAMPLE = (
    "covidct evaluate runs/paper runs/grouped\n"
    "  covidct evaluate runs/mine --dataset folder=slices-of-another-hospital\n"
    "  covidct evaluate runs/a runs/b --dataset covid19-ct=data/a folder@ward-7=data/b"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run"
    )
    add_dataset(parser, required=False, several=True)
    parser.add_argument(
        "--sensitivity",
        type=float,
        default=0.95,
        metavar="S",
        help="target sensitivity of the calibrated threshold, in (0, 1] (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from .. import CrossValidationResult
    from ..runs.external_test import evaluate_across

    if not 0 < args.sensitivity <= 1:
        raise WrongCallError(f"--sensitivity must lie in (0, 1], got {args.sensitivity}")
    results = {path.as_posix(): CrossValidationResult.load(path) for path in args.runs}
    if args.dataset is None:
        _show(list(results.values()), args)
        return
    if len(args.dataset) > 1:
        matrix = evaluate_across(results, load_datasets(args))
        emit_json(matrix.to_dict()) if args.json else emit(str(matrix))
        return
    dataset = load_slices(args)
    evaluations = [result.evaluate(dataset) for result in results.values()]
    if args.json:
        emit_json([evaluation.to_dict() for evaluation in evaluations])
    else:
        emit("\n\n".join(map(str, evaluations)))


def _show(results: list[CrossValidationResult], args: argparse.Namespace) -> None:
    from ..runs.comparison_table import side_by_side

    calibrated = [_calibrate(result, args.sensitivity) for result in results]
    if args.json:
        emit_json(
            [
                result.to_dict()
                | {"calibration": None if isinstance(found, str) else found.to_dict()}
                for result, found in zip(results, calibrated, strict=True)
            ]
        )
        return
    parts = [f"{r}\n\n{c}" for r, c in zip(results, calibrated, strict=True)]
    emit("\n\n".join(parts + ([str(side_by_side(results))] if len(results) > 1 else [])))


def _calibrate(result: CrossValidationResult, sensitivity: float) -> CalibratedFolds | str:
    """Calibrate a run, or return the reason why it cannot be calibrated."""
    try:
        return result.calibrate(sensitivity)
    except InvalidFileError:
        raise
    except ValueError as error:
        return f"Not calibrated: {error}"

"""Print what finished runs score: out of fold, or on slices of another source.

Without a dataset: the tables of the runs, their calibration, and runs side by side. With --dataset
the external test: their fitted folds on slices of another source. With --datasets every run on
every dataset: out of fold on the slices that it was made of, and with its fitted folds on others.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidFileError
from .options import WrongCallError, emit, emit_json, load_slices
from .several import add_datasets, load_datasets

if TYPE_CHECKING:
    from ..runs.recalibration import CalibratedFolds
    from ..runs.result import CrossValidationResult

EXAMPLE = (
    "covidct evaluate runs/paper runs/grouped\n"
    "  covidct evaluate runs/mine --dataset folder --root slices-of-another-hospital\n"
    "  covidct evaluate runs/a runs/b --datasets covid19-ct=data/a sars-cov-2-ct=data/b"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a finished run")
    add_datasets(parser)
    parser.add_argument(
        "--sensitivity",
        type=float,
        default=0.95,
        metavar="S",
        help="find thresholds for this sensitivity (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from .. import CrossValidationResult
    from ..runs.external_test import evaluate_across

    if args.dataset is not None and args.datasets:
        raise WrongCallError(
            "give either --dataset, for an external test, or --datasets, for a matrix"
        )
    if not 0 < args.sensitivity <= 1:
        raise WrongCallError(f"--sensitivity must lie in (0, 1], got {args.sensitivity}")
    results = {path.as_posix(): CrossValidationResult.load(path) for path in args.runs}
    if args.datasets:
        matrix = evaluate_across(results, load_datasets(args))
        emit_json(matrix.to_dict()) if args.json else emit(str(matrix))
        return
    if args.dataset is None:
        _show(list(results.values()), args)
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
    emit("\n\n".join(parts + ([side_by_side(results)] if len(results) > 1 else [])))


def _calibrate(result: CrossValidationResult, sensitivity: float) -> CalibratedFolds | str:
    """Calibrate a run, or say why there is nothing to calibrate it on."""
    try:
        return result.calibrate(sensitivity)
    except InvalidFileError:
        raise
    except ValueError as error:
        return f"Not calibrated: {error}"

"""Draw and measure what fitted networks look at: Grad-CAM, t-SNE, faithfulness.

With --dataset, for the test slices of a fold; with --images, for slices from anywhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import WrongCallError, add_dataset, add_layer, emit, emit_json, load_slices

EXAMPLE = "covidct explain runs/mine --dataset folder --root my-slices --fold 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a finished run")
    add_dataset(parser, required=False)
    parser.add_argument("--fold", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--images", type=Path, nargs="+", metavar="PATH", help="images or folders")
    add_layer(parser)
    parser.add_argument("--output", type=Path, help="folder (default: RUN/explain)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from .. import CrossValidationResult, Predictor
    from ..explain.fold import explain_fold, explain_predictions

    if (args.dataset is None) == (args.images is None):
        msg = "give either --dataset, whose test slices are explained, or --images"
        raise WrongCallError(msg)
    output = args.output or args.run_dir / "explain"
    if args.images:
        predictor = Predictor.from_run(args.run_dir)
        predictions = predictor(args.images)
        emit(str(explain_predictions(predictor, predictions, output, layer=args.layer)))
        return
    result = CrossValidationResult.load(args.run_dir)
    table = explain_fold(result, load_slices(args), output, fold=args.fold, layer=args.layer)
    if args.json:
        emit_json(table.to_dict())
    else:
        emit(f"{table}\n\nfigures and table: {output}")

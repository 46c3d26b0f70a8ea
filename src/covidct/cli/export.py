"""Write the fitted network of a fold as an ONNX file, or as a folder to share.

The ONNX file takes canvases (B, 1, H, W) and contains the preprocessing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import emit

EXAMPLE = "covidct export runs/mine model.onnx --fold 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "target",
        type=Path,
        help="file name that ends in .onnx, or a folder for the weights and the model card",
    )
    parser.add_argument("--fold", type=int, default=0, help="fold (default: %(default)s)")
    parser.add_argument(
        "--input-type",
        choices=("uint8", "float32"),
        default="uint8",
        help="type of the canvases that the ONNX file takes; float32 is in [0, 1] "
        "(default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from .. import CrossValidationResult

    result = CrossValidationResult.load(args.run_dir)
    model = result.fold_model(args.fold)
    if args.target.suffix == ".onnx":
        model.export(args.target, input_type=args.input_type)
    else:
        model.save(args.target, card=result.model_card(args.fold))
    emit(str(args.target))

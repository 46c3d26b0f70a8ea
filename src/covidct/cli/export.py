"""Write the fitted networks of a run as a folder to share, or one of them as an ONNX file.

The folder contains the networks of all folds, features of the training slices, and a model card;
covidct predict reads it instead of the run. With options of the decision rule, the rule is fitted
to the run and written to the card, and covidct predict applies it. The folder contains no images
unless --thumbnails is given: covidct predict recognizes training slices by their thumbnails. With
--dataset, the dataset of the run is audited, and the card lists the image properties that predict
the class. The ONNX file contains the preprocessing; its input is canvases of shape (B, 1, H, W).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .dataset_options import add_dataset, load_slices
from .output import emit
from .rule_options import add_rule, read_rule
from .wrong_call import WrongCallError

EXAMPLE = (
    "covidct export runs/mine to-share --sensitivity 0.95 --calibrate platt\n"
    "  covidct predict to-share new-slices/\n"
    "  covidct export runs/mine model.onnx --fold 0"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("target", type=Path, help="folder, or file name that ends in .onnx")
    parser.add_argument(
        "--fold", type=int, metavar="K", help="fold (default: all; 0 for an ONNX file)"
    )
    parser.add_argument(
        "--thumbnails",
        action="store_true",
        help="keep gray pictures of 12 x 16 pixels of the training slices in the folder",
    )
    add_rule(parser)
    add_dataset(parser, required=False)
    parser.add_argument(
        "--input-type",
        choices=("uint8", "float32"),
        help="type of the canvases that an ONNX file takes; float32 is in [0, 1] (default: uint8)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from .. import CrossValidationResult, audit_dataset

    options = {name: value for name, value in read_rule(args).items() if value is not None}
    onnx = args.target.suffix.lower() == ".onnx"
    if onnx and (options or args.thumbnails):
        raise WrongCallError("an ONNX file contains neither a decision rule nor thumbnails")
    if args.input_type and not onnx:
        raise WrongCallError("--input-type is for ONNX files; a folder takes slices of any kind")
    result = CrossValidationResult.load(args.run_dir)
    audit = None
    if args.dataset is not None:
        slices = load_slices(args)
        if slices.content_hash() != result.content_hash:
            raise ValueError(
                f"the run in {str(args.run_dir)!r} was not trained on the given slices of "
                f"{slices.name!r}; their names, labels or contents differ"
            )
        audit = audit_dataset(slices)
    if onnx:
        fold = args.fold or 0
        card = result.model_card(fold, audit=audit) | {"window": result.spec.dataset.window}
        result.fold_model(fold).export(
            args.target, input_type=args.input_type or "uint8", metadata=card
        )
    else:
        rule = result.decision_rule(**options) if options else None
        folds = None if args.fold is None else [args.fold]
        result.export(args.target, folds=folds, rule=rule, thumbnails=args.thumbnails, audit=audit)
    emit(str(args.target))

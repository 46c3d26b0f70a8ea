"""Draw and measure the explanations of fitted networks: Grad-CAM, t-SNE, faithfulness.

With --dataset, explains the test slices of folds; with --paths, explains any slices.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .options import WrongCallError, add_dataset, add_layer, emit, emit_json, load_slices

if TYPE_CHECKING:
    from ..explain.faithfulness import Faithfulness
    from ..runs.result import CrossValidationResult

EXAMPLE = (
    "covidct explain runs/mine --dataset folder=my-slices --fold 0 1 2\n"
    "  covidct explain runs/mine --paths new-slices/ --output maps"
)
_NO_TABLE = "no faithfulness table: it needs at least two slices predicted as COVID-19"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="folder of a finished run")
    add_dataset(parser, required=False)
    parser.add_argument(
        "--fold",
        type=int,
        nargs="+",
        default=[0],
        metavar="K",
        help="folds to explain (default: 0); the table of several folds is their mean",
    )
    parser.add_argument(
        "--paths", type=Path, nargs="+", metavar="PATH", help="images or folders to explain"
    )
    parser.add_argument(
        "--maps",
        action="store_true",
        help="with --paths, also write the maps as arrays: a .npz file for each volume or image",
    )
    add_layer(parser)
    parser.add_argument(
        "--target",
        default="covid",
        metavar="NAME",
        help="class whose evidence is explained: covid, non-covid, or a label of a run that was "
        "trained with --target label (default: %(default)s)",
    )
    parser.add_argument(
        "--palette",
        choices=("paper", "color-blind"),
        default="paper",
        help="colors of t-SNE (default: %(default)s)",
    )
    parser.add_argument(
        "--baseline",
        choices=("blur", "black", "mean", "rise"),
        default="blur",
        help="replacement of deleted pixels in the deletion and insertion curves; rise: as in its "
        "publication, the mean gray value for deletion and blur for insertion "
        "(default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, help="folder to write (default: RUN/explain)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from .. import CrossValidationResult

    if (args.dataset is None) == (args.paths is None):
        raise WrongCallError("give either --dataset, to explain its test slices, or --paths")
    if args.paths and args.target != "covid":
        raise WrongCallError("--target needs --dataset; --paths explains the evidence of COVID-19")
    if args.maps and args.paths is None:
        raise WrongCallError("--maps needs --paths")
    output = args.output or args.run_dir / "explain"
    if args.paths:
        table = _explain_images(args, output)
    else:
        table = _explain_folds(CrossValidationResult.load(args.run_dir), args, output)
    if args.json:
        emit_json(None if table is None else table.to_dict())
    else:
        emit(f"{table or _NO_TABLE}\n\nfigures and table: {output}")


def _explain_images(args: argparse.Namespace, output: Path) -> Faithfulness | None:
    from .. import Predictor
    from ..explain.fold import explain_predictions, save_maps

    predictor = Predictor.from_run(args.run_dir)
    predictions = predictor.predict(args.paths)
    if args.maps:
        save_maps(predictor, predictions, output / "maps", layer=args.layer)
    return explain_predictions(
        predictor, predictions, output, layer=args.layer, baseline=args.baseline
    )


def _explain_folds(
    result: CrossValidationResult, args: argparse.Namespace, output: Path
) -> Faithfulness:
    from ..explain.faithfulness import average
    from ..explain.fold import explain_fold

    slices, several = load_slices(args), len(args.fold) > 1
    return average(
        [
            explain_fold(
                result,
                slices,
                output / f"fold-{fold}" if several else output,
                fold=fold,
                layer=args.layer,
                target=args.target,
                palette=args.palette,
                baseline=args.baseline,
            )
            for fold in args.fold
        ]
    )

"""Draw and evaluate the explanations of fitted networks: Grad-CAM, t-SNE, faithfulness.

With --dataset, the test slices of folds are explained; with --paths, any other slices.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .dataset_options import add_dataset, load_slices
from .options import add_layer
from .output import emit, emit_json
from .wrong_call import WrongCallError, checked_call

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from ..explain.faithfulness import Faithfulness
    from ..runs.result import CrossValidationResult

EXAMPLE = (
    "covidct explain runs/mine --dataset folder=my-slices --fold 0 1 2\n"
    "  covidct explain runs/mine --paths new-slices/ --output maps\n"
    "  covidct explain runs/mine --paths scan.nii.gz --maps nifti"
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
        metavar="K",
        help="folds to explain (default: 0, or with --select those that test the slices); the "
        "table of several folds is their mean",
    )
    parser.add_argument(
        "--paths", type=Path, nargs="+", metavar="PATH", help="images or folders to explain"
    )
    parser.add_argument(
        "--select",
        nargs="+",
        metavar="NAME",
        help="slices to draw: names, ends of names or patterns, such as p1/3.png, 'p1/*' or "
        "scan.nii.gz#12 (default: with --dataset the correct predictions with the highest "
        "probabilities, with --paths the slices that show lung)",
    )
    parser.add_argument(
        "--maps",
        choices=("npz", "nifti"),
        help="with --paths, also write the maps as arrays, a file for each volume or image: for "
        "NumPy, or as NIfTI on the grid of the volume, to overlay it in a viewer",
    )
    add_layer(parser)
    parser.add_argument(
        "--target",
        default="covid",
        metavar="NAME",
        help="class that is explained: covid, non-covid, or a label of a run that was "
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
    if args.paths and args.slices == "labelled":
        raise WrongCallError("--slices takes lung, all or FIRST,LAST with --paths, not labelled")
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
    from ..explain.new_slices import explain_predictions, save_maps
    from ..explain.selection import slices_of_volumes, slices_with_names

    predictor = Predictor.from_run(args.run_dir)
    predictions = predictor.predict(args.paths)
    with checked_call():
        if args.select:
            chosen = slices_with_names([p.name for p in predictions], args.select)
            if args.slices is not None:
                placed = set(slices_of_volumes(predictions, args.slices).tolist())
                chosen = chosen[[i in placed for i in chosen.tolist()]]
        else:
            chosen = slices_of_volumes(predictions, args.slices or "lung")
    if args.maps:
        save_maps(
            predictor,
            predictions,
            output / "maps",
            file_format=args.maps,
            slices=chosen,
            layer=args.layer,
        )
    return explain_predictions(
        predictor,
        predictions,
        output,
        layer=args.layer,
        slices=chosen,
        baseline=args.baseline,
    )


def _explain_folds(
    result: CrossValidationResult, args: argparse.Namespace, output: Path
) -> Faithfulness:
    from ..explain.faithfulness import average
    from ..explain.tested_slices import explain_fold

    dataset = load_slices(args)
    chosen = _chosen_of_folds(result, dataset, args)
    return average(
        [
            explain_fold(
                result,
                dataset,
                output / f"fold-{fold}" if len(chosen) > 1 else output,
                fold=fold,
                layer=args.layer,
                target=args.target,
                slices=slices,
                palette=args.palette,
                baseline=args.baseline,
            )
            for fold, slices in chosen.items()
        ]
    )


def _chosen_of_folds(
    result: CrossValidationResult, dataset: CTDataset, args: argparse.Namespace
) -> dict[int, list[int] | None]:
    """Return the slices to draw of each fold to explain; None for the default."""
    from ..explain.selection import slices_with_names

    if not args.select:
        return dict.fromkeys(args.fold or [0])
    index = slices_with_names(dataset.names, args.select).tolist()
    tested = {fold: set(split.test.tolist()) for fold, split in enumerate(result.folds)}
    folds = list(tested) if args.fold is None else args.fold
    if unknown := [fold for fold in folds if fold not in tested]:
        raise WrongCallError(
            f"--fold {unknown[0]} does not exist; the run has folds 0 to {len(tested) - 1}"
        )
    chosen = {fold: [i for i in index if i in tested[fold]] for fold in folds}
    missing = set(index).difference(*chosen.values())
    if missing:
        first = min(missing)
        testing = [str(fold) for fold, test in tested.items() if first in test]
        raise WrongCallError(
            f"{dataset.names[first]!r} is not a test slice of --fold "
            f"{' '.join(map(str, folds))}; "
            + (f"--fold {' '.join(testing)} tests it" if testing else "no fold tests it")
        )
    return {fold: slices for fold, slices in chosen.items() if slices}

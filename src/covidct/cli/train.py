"""Cross-validate a network on a dataset: metrics, out-of-fold predictions, fitted networks.

To continue an interrupted run, give the same command again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .dataset_options import add_dataset, load_slices
from .options import add_table
from .output import emit, emit_json
from .training_options import add_training, read_recipe, read_weights
from .wrong_call import WrongCallError, checked_call

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from ..runs.cross_validator import CrossValidator
    from ..training.profile import Profile
    from ..training.recipe import Recipe

EXAMPLE = (
    "covidct train --dataset folder=my-slices --model resnet18 --protocol paper,grouped \\\n"
    "    --run-dir runs/mine\n"
    "  covidct train --dataset folder@north=a folder@south=b --model resnet18 --protocol source"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_dataset(parser)
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="network; covidct models lists the names"
    )
    parser.add_argument(
        "--protocol",
        default="paper",
        metavar="P[,P...]",
        help="how slices are split: 'paper' at random; 'grouped' with the slices of a patient (or, "
        "if patients are unknown, near-duplicates) in one fold; 'official' as the dataset's "
        "authors do; 'source' trains on all sources but one and tests on that one, for each source "
        "of several datasets or of a table (default: %(default)s)",
    )
    add_training(parser)
    parser.add_argument(
        "--run-dir", type=Path, help="folder of the run (default: runs/DATASET-MODEL-PROTOCOL)"
    )
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument(
        "--profile", action="store_true", help="print the time of each part of the training"
    )
    add_table(parser)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from ..devices import resolve_device
    from ..runs.comparison_table import side_by_side
    from ..runs.protocol import PROTOCOLS
    from ..training.profile import Profile

    protocols = list(dict.fromkeys(args.protocol.split(",")))
    unknown = set(protocols) - set(PROTOCOLS)
    if unknown:
        raise WrongCallError(f"--protocol takes {', '.join(PROTOCOLS)}, got {unknown.pop()!r}")
    args.resume_hint = "give the same command again to continue; finished folds are kept"
    with checked_call():
        recipe = read_recipe(args)
        profile = Profile(resolve_device(args.device)) if args.profile else None
    dataset = load_slices(args)
    validators = [_validator(args, p, protocols, recipe, dataset, profile) for p in protocols]
    _check_splits(validators, dataset)
    results = [validator.run(dataset) for validator in validators]
    if args.json:
        emit_json([result.to_dict() for result in results])
        return
    parts = [str(r) if args.table == "text" else r.table().render(args.table) for r in results]
    if len(results) > 1:
        parts.append(side_by_side(results).render(args.table))
    emit("\n\n".join(parts))
    if profile is not None:
        emit(f"\n{profile}")


def _check_splits(validators: list[CrossValidator], dataset: CTDataset) -> None:
    """Raise an error before training if a dataset does not allow one of the protocols."""
    from ..runs.splits import make_split

    for validator in validators[1:]:
        if validator.groups is not None or validator.cv in ("official", "source"):
            make_split(dataset, validator.cv, groups=validator.groups, seed=validator.split_seed)


def _validator(
    args: argparse.Namespace,
    protocol: str,
    protocols: list[str],
    recipe: Recipe,
    dataset: CTDataset,
    profile: Profile | None,
) -> CrossValidator:
    from .. import CrossValidator
    from ..runs.protocol import split_options

    name = args.model.replace(":", "-")
    run_dir = args.run_dir or Path("runs") / f"{dataset.name}-{name}-{protocol}"
    if args.run_dir and len(protocols) > 1:
        run_dir = args.run_dir / protocol
    with checked_call():
        return CrossValidator(
            args.model,
            recipe,
            target=args.target,
            weights=read_weights(args),
            device=args.device,
            precision=args.precision,
            n_jobs=args.n_jobs,
            run_dir=run_dir,
            seed=args.seed,
            split_seed=args.split_seed,
            repeats=args.repeats,
            threads=args.threads,
            compile_model=args.compile,
            profile=profile,
            **split_options(protocol, dataset, args.folds),
        )

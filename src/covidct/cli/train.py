"""Cross-validate a network on a dataset: fold tables, out-of-fold predictions, fitted networks.

A run that was interrupted goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..runs.protocol import PROTOCOLS, split_options
from .options import WrongCallError, add_dataset, checked_call, emit, emit_json, load_slices
from .recipe_options import add_recipe, read_recipe

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from ..runs.cross_validator import CrossValidator
    from ..training.profile import Profile
    from ..training.recipe import Recipe

EXAMPLE = "covidct train --dataset folder --root my-slices --model resnet18 --run-dir runs/mine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_dataset(parser)
    parser.add_argument("--model", required=True, metavar="NAME", help="covidct models lists them")
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="'imagenet', 'none' for random weights, or a file (default: %(default)s)",
    )
    parser.add_argument(
        "--protocol",
        default="paper",
        metavar="P[,P...]",
        help=f"of {', '.join(PROTOCOLS)}: random slices as in the paper; patients (or, where "
        "unknown, near-duplicates) kept together; the authors' own split (default: %(default)s)",
    )
    parser.add_argument("--folds", type=int, default=5, help="folds (default: %(default)s)")
    add_recipe(parser)
    parser.add_argument("--run-dir", type=Path, help="default: runs/DATASET-MODEL-PROTOCOL")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--n-jobs", type=int, default=1, help="folds at a time")
    parser.add_argument("--threads", type=int, help="threads for each fold")
    parser.add_argument("--compile", action="store_true", help="run through torch.compile")
    parser.add_argument("--profile", action="store_true", help="print what each part costs")
    parser.add_argument(
        "--table", default="text", choices=("text", "markdown", "latex", "csv"), help="style"
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from ..devices import resolve_device
    from ..runs.comparison_table import side_by_side
    from ..training.profile import Profile

    protocols = list(dict.fromkeys(args.protocol.split(",")))
    unknown = set(protocols) - set(PROTOCOLS)
    if unknown:
        raise WrongCallError(f"--protocol takes {', '.join(PROTOCOLS)}, got {unknown.pop()!r}")
    args.resume_hint = "give the same command again to go on; finished folds are kept"
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
    parts = [str(r) if args.table == "text" else r.table(args.table) for r in results]
    if len(results) > 1:
        parts.append(side_by_side(results, style=args.table))
    emit("\n\n".join(parts))
    if profile is not None:
        emit(f"\n{profile}")


def _check_splits(validators: list[CrossValidator], dataset: CTDataset) -> None:
    """Let a protocol that the dataset does not allow fail before another has trained for hours."""
    from ..runs.splits import make_split

    for validator in validators[1:]:
        if validator.groups is not None or validator.cv == "official":
            make_split(dataset, validator.cv, groups=validator.groups, seed=validator.seed)


def _validator(
    args: argparse.Namespace,
    protocol: str,
    protocols: list[str],
    recipe: Recipe,
    dataset: CTDataset,
    profile: Profile | None,
) -> CrossValidator:
    from .. import CrossValidator

    name = args.model.replace(":", "-")
    run_dir = args.run_dir or Path("runs") / f"{dataset.name}-{name}-{protocol}"
    if args.run_dir and len(protocols) > 1:
        run_dir = args.run_dir / protocol
    with checked_call():
        return CrossValidator(
            args.model,
            recipe,
            weights=None if args.weights == "none" else args.weights,
            device=args.device,
            precision=args.precision,
            n_jobs=args.n_jobs,
            run_dir=run_dir,
            seed=args.seed,
            threads=args.threads,
            compile_model=args.compile,
            profile=profile,
            **split_options(protocol, dataset, args.folds),
        )

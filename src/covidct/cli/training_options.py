"""Options of a training: outputs, initial weights, recipe, folds, seeds and hardware."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..training.recipe import RECIPES, Recipe
from .wrong_call import WrongCallError

__all__ = ["add_recipe", "add_training", "read_recipe", "read_weights"]


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe the network's outputs, the recipe, folds and hardware."""
    parser.add_argument(
        "--target",
        default="covid",
        choices=("covid", "label"),
        help="train one logit of COVID-19 against the rest, or one output per label (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="initial weights: 'imagenet', 'none' for random weights, or a file "
        "(default: %(default)s)",
    )
    parser.add_argument("--folds", type=int, default=5, help="number of folds (default: 5)")
    parser.add_argument(
        "--repeats",
        type=int,
        help="number of repeats, each with another split (default: 1), or of trainings on an "
        "official split, each with another seed (default: 5); extends a finished run with fewer",
    )
    add_recipe(parser)
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of the training (default: %(default)s)"
    )
    parser.add_argument(
        "--split-seed", type=int, help="random seed of the split (default: that of the training)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="precision of the training (default: %(default)s)",
    )
    parser.add_argument(
        "--n-jobs", type=int, default=1, help="folds trained at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="CPU threads for each fold (default: OMP_NUM_THREADS or all cores, and no more than "
        "the cores divided by --n-jobs)",
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options that change the recipe."""
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="paper",
        help="recipe of the training: the paper's, a modern one for fine-tuning (AdamW with a "
        "cosine schedule, 20 epochs), or the short one of covidct demo (default: %(default)s)",
    )
    # Short for the recipe that first trials and scripts in use take most: it stays.
    parser.add_argument(
        "--demo",
        action="store_const",
        const="demo",
        dest="recipe",
        help="the same as --recipe demo",
    )
    parser.add_argument("--epochs", type=int, help="number of epochs; the schedule is scaled to it")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        dest="changes",
        help="change an option of the recipe, such as resize=stretch, canvas=[128,176] or "
        "augmentation.noise=0 (may be repeated)",
    )


def read_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe of the options."""
    recipe = RECIPES[args.recipe]()
    if args.epochs is not None:
        recipe = recipe.scaled(args.epochs)
    values = recipe.to_dict()
    for change in args.changes:
        option, equals, value = change.partition("=")
        if not equals:
            raise WrongCallError(f"--set takes OPTION=VALUE, got {change!r}")
        table, _, key = option.rpartition(".")
        if table not in ("", "augmentation"):
            raise WrongCallError(f"--set knows no option {option!r}")
        if option == "augmentation":
            raise WrongCallError(
                "--set takes the options of the augmentation one by one, as augmentation.noise=0"
            )
        target = values[table] if table else values
        target[key] = _parse(value)
    return Recipe.from_dict(values)


def _parse(value: str) -> Any:
    """Read a value as JSON, or as text if it is not valid JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def read_weights(args: argparse.Namespace) -> str | None:
    """Return the initial weights of the options; None: random weights."""
    return None if args.weights == "none" else args.weights

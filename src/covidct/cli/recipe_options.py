"""Options that describe a recipe."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..training.recipe import Recipe

__all__ = ["add_recipe", "read_recipe"]


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options of the recipe."""
    parser.add_argument("--demo", action="store_true", help="the recipe of covidct demo")
    parser.add_argument("--epochs", type=int, help="shorten or stretch the recipe's schedule")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        dest="changes",
        help="change an option of the recipe, such as resize=stretch, canvas=[128,176] or "
        "augmentation.noise=0",
    )


def read_recipe(args: argparse.Namespace) -> Recipe:
    """Make the recipe that the options describe."""
    from .. import Recipe

    recipe = Recipe.demo() if args.demo else Recipe()
    if args.epochs is not None:
        recipe = recipe.scaled(args.epochs)
    values = recipe.to_dict()
    for change in args.changes:
        option, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set takes OPTION=VALUE, got {change!r}")
        table, _, key = option.rpartition(".")
        if table not in ("", "augmentation"):
            raise ValueError(
                f"--set knows options of the recipe and of its augmentation, got {option!r}"
            )
        if option == "augmentation":
            raise ValueError(
                "--set takes options of the augmentation one by one, as augmentation.noise=0"
            )
        target = values[table] if table else values
        target[key] = _parse(value)
    return Recipe.from_dict(values)


def _parse(value: str) -> Any:
    """Read a value as JSON, and as the text that it is where it isn't JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value

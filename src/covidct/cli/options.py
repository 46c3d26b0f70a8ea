"""Short options that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runs.result import CrossValidationResult

__all__ = ["add_layer", "add_on_error", "add_runs", "add_table", "load_runs"]


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the argument for finished runs."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run"
    )


def load_runs(folders: Iterable[Path]) -> dict[str, CrossValidationResult]:
    """Read finished runs, by the names of their folders."""
    from .. import CrossValidationResult

    return {folder.as_posix(): CrossValidationResult.load(folder) for folder in folders}


def add_layer(parser: argparse.ArgumentParser) -> None:
    """Add the option for the layer to explain."""
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="layer that Grad-CAM explains, such as backbone.layer3 of a ResNet, whose grid is "
        "twice as fine (default: the last layer with rows and columns)",
    )


def add_on_error(parser: argparse.ArgumentParser) -> None:
    """Add the option for files that cannot be read."""
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="stop at a file that cannot be read, or leave it out (default: %(default)s)",
    )


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add the option for the style of printed tables."""
    parser.add_argument(
        "--table",
        default="text",
        choices=("text", "markdown", "latex", "csv"),
        help="style of the tables (default: %(default)s)",
    )

"""Options of the verbs that take several datasets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .options import WrongCallError, add_dataset, load_slices

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset

__all__ = ["add_datasets", "load_datasets", "roots_of"]


def add_datasets(parser: argparse.ArgumentParser) -> None:
    """Add the options that name one dataset, or several with their folders."""
    add_dataset(parser, required=False)
    parser.add_argument(
        "--datasets",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="several datasets and the folders that they lie in",
    )


def roots_of(args: argparse.Namespace) -> dict[str, Path | None]:
    """Read which datasets the options name, and where they lie."""
    roots: dict[str, Path | None] = {} if args.dataset is None else {args.dataset: args.root}
    for text in args.datasets:
        name, equals, path = text.partition("=")
        if name in roots:
            raise WrongCallError(f"dataset {name!r} is named twice")
        roots[name] = Path(path) if equals else None
    return roots


def load_datasets(args: argparse.Namespace) -> dict[str, CTDataset]:
    """Load the datasets that the options name; --slices is for phantoms alone."""
    loaded = {}
    for name, root in roots_of(args).items():
        slices = args.slices if name == "phantom" else None
        options = {**vars(args), "dataset": name, "root": root, "slices": slices}
        loaded[name] = load_slices(argparse.Namespace(**options))
    return loaded

"""Options that several verbs share, and the way to say that a call was wrong."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset

__all__ = [
    "WrongCallError",
    "add_dataset",
    "add_layer",
    "checked_call",
    "emit",
    "emit_json",
    "load_slices",
]


class WrongCallError(ValueError):
    """The arguments of the command line make no sense together."""


@contextmanager
def checked_call() -> Iterator[None]:
    """Take a ValueError in the body, where options become objects, for a mistake of the caller."""
    try:
        yield
    except ValueError as error:
        raise WrongCallError(str(error)) from error


def add_dataset(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options that name a dataset."""
    parser.add_argument(
        "--dataset",
        required=required,
        metavar="NAME",
        help="a dataset (covidct datasets lists them); 'folder' for class folders of your own",
    )
    parser.add_argument("--root", type=Path, help="the folder that it lies in")
    parser.add_argument("--download", action="store_true", help="fetch it where it is missing")
    parser.add_argument(
        "--verify",
        choices=("hashes", "names", "none"),
        default="hashes",
        help="what to compare with the manifest of a known dataset (default: %(default)s)",
    )
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="what to do about a file that cannot be read (default: %(default)s)",
    )
    parser.add_argument(
        "--positive", metavar="NAME", help="the class folder of COVID-19, where it is in doubt"
    )
    parser.add_argument(
        "--slices", type=int, metavar="N", help="how many slices 'phantom' draws (default: 240)"
    )


def add_layer(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the layer to explain."""
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="layer that Grad-CAM explains, such as backbone.layer3 of a ResNet, whose grid is "
        "twice as fine (default: the last with rows and columns)",
    )


def load_slices(args: argparse.Namespace) -> CTDataset:
    """Load the dataset that the options name."""
    from .. import load_dataset

    given = {"n": args.slices, "positive": args.positive}
    options = {name: value for name, value in given.items() if value is not None}
    if args.slices is not None and args.dataset != "phantom":
        raise WrongCallError(f"--slices is for --dataset phantom, got {args.dataset}")
    return load_dataset(
        args.dataset,
        args.root,
        download=args.download,
        verify=None if args.verify == "none" else args.verify,
        on_error=args.on_error,
        **options,
    )


def emit(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(text + "\n")


def emit_json(value: Any) -> None:
    """Write a result for another program."""
    emit(json.dumps(value, indent=2, allow_nan=False))

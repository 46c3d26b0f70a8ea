"""Options for datasets and their loading."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .options import add_on_error
from .wrong_call import WrongCallError, checked_call

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset

__all__ = ["NamedDataset", "add_dataset", "load_datasets", "load_slices", "named_datasets"]

# Options of `load_dataset` that only some datasets accept; the flags have the same names.
_LOADER_OPTIONS = (
    *("positive", "negative", "groups", "slices", "window", "images", "columns", "version", "n"),
)


class NamedDataset(NamedTuple):
    """Dataset of ``--dataset``: its registered name, and the folder of its files."""

    dataset: str
    root: Path | None


def add_dataset(
    parser: argparse.ArgumentParser, *, required: bool = True, several: bool = False
) -> None:
    """Add the options for datasets and their loading."""
    parser.add_argument(
        "--dataset",
        nargs="+",
        action="extend",
        required=required,
        metavar="NAME=ROOT",
        help="the dataset and its folder (covidct datasets lists the names; 'folder' reads class "
        "folders of your own). NAME@OWN=ROOT gives it another name in tables and run folders; "
        + (
            "several datasets may follow each other" if several else "several are joined as sources"
        ),
    )
    parser.add_argument(
        "--root", type=Path, help="folder of the dataset; same as --dataset NAME=ROOT"
    )
    parser.add_argument("--download", action="store_true", help="download the files if missing")
    parser.add_argument(
        "--verify",
        choices=("hashes", "names", "none"),
        default="hashes",
        help="how to check the files of a published dataset: content, file names only, or not at "
        "all (default: %(default)s)",
    )
    add_on_error(parser)
    parser.add_argument(
        "--positive",
        nargs="+",
        metavar="LABEL",
        help="labels (class folders) that mean COVID-19, if their names are unusual",
    )
    parser.add_argument(
        "--negative",
        nargs="+",
        metavar="LABEL",
        help="labels of the other class (default: all that are not positive); slices with further "
        "labels are left out",
    )
    parser.add_argument(
        "--groups",
        metavar="HOW",
        help="source of the patients: auto, folder (a folder per patient), dicom (PatientID), "
        "none, or a CSV file with the columns path,group (default: auto)",
    )
    parser.add_argument(
        "--slices",
        type=_slices,
        metavar="WHICH",
        help="slices of each volume: lung, all, labelled, or FIRST,LAST counted from 0 at the feet "
        "(default: lung)",
    )
    parser.add_argument(
        "--window",
        type=_window,
        metavar="WINDOW",
        help="display window of Hounsfield units and 16-bit values: lung, range, file, or "
        "LEVEL,WIDTH (default: lung)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the files that a table lists"
    )
    parser.add_argument(
        "--columns",
        type=_columns,
        metavar="MEANING=COLUMN,...",
        help="columns of a table: path, label, group, split, source and slice, such as "
        "path=filename,label=finding,group=patientid",
    )
    parser.add_argument(
        "--version", metavar="VERSION", help="version of a published dataset, such as 3A"
    )
    parser.add_argument(
        "--option",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="loader_options",
        help="another option of a published dataset, such as fold=1 of covid-ctset (may be "
        "repeated)",
    )
    parser.add_argument(
        "--n", type=int, metavar="N", help="number of slices of 'phantom' (default: 240)"
    )


def _pair(text: str) -> tuple[str, str] | None:
    first, comma, second = text.partition(",")
    return (first.strip(), second.strip()) if comma else None


def _slices(text: str) -> str | tuple[int, int]:
    """Read a choice of slices; the loader checks it."""
    pair = _pair(text)
    return text if pair is None else (int(pair[0]), int(pair[1]))


def _window(text: str) -> str | tuple[float, float]:
    """Read a choice of the window; the loader checks it."""
    pair = _pair(text)
    return text if pair is None else (float(pair[0]), float(pair[1]))


def _columns(text: str) -> dict[str, str]:
    """Read the columns of a table: ``path=filename,label=finding``."""
    columns = {}
    for part in text.split(","):
        meaning, equals, column = part.partition("=")
        if not (equals and meaning.strip() and column.strip()):
            raise argparse.ArgumentTypeError(f"takes MEANING=COLUMN,..., got {text!r}")
        columns[meaning.strip()] = column.strip()
    return columns


def _option(text: str) -> tuple[str, str | int]:
    """Read an option of a loader, which checks it."""
    name, equals, value = text.partition("=")
    if not (equals and name.strip() and value.strip()):
        raise argparse.ArgumentTypeError(f"takes NAME=VALUE, got {text!r}")
    value = value.strip()
    return name.strip(), int(value) if value.isdigit() else value


def named_datasets(args: argparse.Namespace) -> dict[str, NamedDataset]:
    """Return the datasets of ``--dataset`` by the names that the user gave them."""
    texts = args.dataset or []
    if args.root is not None and not texts:
        raise WrongCallError("--root needs --dataset NAME")
    if args.root is not None and (len(texts) > 1 or "=" in texts[0]):
        raise WrongCallError("--root takes a single --dataset NAME; write --dataset NAME=ROOT ...")
    named: dict[str, NamedDataset] = {}
    for text in texts:
        names, equals, root = text.partition("=")
        dataset, at, own = names.partition("@")
        own = own if at else dataset
        if not dataset or (equals and not root) or not re.fullmatch(r"[\w.-][\w. -]*", own):
            raise WrongCallError(f"--dataset takes NAME, NAME=ROOT or NAME@OWN=ROOT, got {text!r}")
        if own in named:
            raise WrongCallError(
                f"dataset {own!r} is named twice; give each its own name: {dataset}@OWN=ROOT"
            )
        named[own] = NamedDataset(dataset, Path(root) if equals else args.root)
    return named


def load_datasets(args: argparse.Namespace) -> dict[str, CTDataset]:
    """Load the datasets of ``--dataset``; an option is passed to each dataset that accepts it."""
    from .. import load_dataset

    named = named_datasets(args)
    accepted = {own: _loader_parameters(source.dataset) for own, source in named.items()}
    given = {name: getattr(args, name) for name in _LOADER_OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    given |= dict(args.loader_options)
    if given.get("groups") == "none":
        given["groups"] = None
    if "images" in given and len(named) > 1:
        raise WrongCallError("--images takes a single --dataset")
    for option in given:
        if not any(option in parameters for parameters in accepted.values()):
            names = ", ".join(source.dataset for source in named.values())
            flag = f"--option {option}" if option not in _LOADER_OPTIONS else f"--{option}"
            known = [name for name in _LOADER_OPTIONS if any(name in a for a in accepted.values())]
            advice = f", which takes {', '.join(f'--{name}' for name in known)}" if known else ""
            raise WrongCallError(f"{flag} does not apply to {names}{advice}")
    loaded = {}
    for own, (name, root) in named.items():
        loaded[own] = load_dataset(
            name,
            root,
            name=own,
            download=args.download and (len(named) == 1 or "download" in accepted[own]),
            verify=None if args.verify == "none" else args.verify,
            on_error=args.on_error,
            **{option: value for option, value in given.items() if option in accepted[own]},
        )
    return loaded


def load_slices(args: argparse.Namespace) -> CTDataset:
    """Load the dataset of ``--dataset``; several are joined as sources."""
    from .. import concat

    loaded = load_datasets(args)
    if len(loaded) == 1:
        return next(iter(loaded.values()))
    with checked_call():
        return concat(list(loaded.values()), list(loaded))


def _loader_parameters(dataset: str) -> frozenset[str]:
    """Return the names of the parameters of a dataset's loader."""
    from inspect import signature  # slow to import

    from ..datasets.registry import dataset_info, import_loader

    return frozenset(signature(import_loader(dataset_info(dataset))).parameters)

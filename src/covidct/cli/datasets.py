"""List the datasets, or describe one: origin, license and known faults.

--cache lists the canvases of earlier runs on this computer instead; --clear removes them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .output import emit, emit_json
from .wrong_call import WrongCallError

if TYPE_CHECKING:
    from ..datasets.info import DatasetInfo
    from ..evaluation.tables import Table

EXAMPLE = "covidct datasets covid19-ct"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("name", nargs="?", help="name of the dataset to describe")
    parser.add_argument("--json", action="store_true", help="print the full entries as JSON")
    parser.add_argument(
        "--cache",
        action="store_true",
        help="list the cached canvases (decoded and resized slices of earlier runs) and their "
        "sizes",
    )
    parser.add_argument(
        "--clear",
        action="store_true",
        help="with --cache: remove the cached canvases; they are computed again when needed",
    )


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    if args.clear and not args.cache:
        raise WrongCallError("--clear needs --cache")
    if args.cache:
        if args.name is not None:
            raise WrongCallError("--cache lists the canvases of all datasets: omit the name")
        _run_cache(args)
    else:
        _run_datasets(args)


def _run_cache(args: argparse.Namespace) -> None:
    from .._text import in_bytes
    from ..datasets._cache import cache_folder
    from ..datasets.canvases import cached_canvases, clear_canvases

    entries = clear_canvases() if args.clear else cached_canvases()
    if args.json:
        rows = [
            entry._asdict() | {"path": str(entry.path), "made": entry.made.isoformat()}
            for entry in entries
        ]
        emit_json(rows)
        return
    lines = [
        f"{in_bytes(entry.n_bytes):>10}  {entry.n_slices:>7,} slices of "
        f"{entry.height} x {entry.width}  {entry.made:%Y-%m-%d}  {entry.path.name}"
        for entry in entries
    ]
    total = in_bytes(sum(entry.n_bytes for entry in entries))
    verb = "removed from" if args.clear else "in"
    emit("\n".join([*lines, f"{total} of canvases {verb} {cache_folder() / 'canvases'}"]))


def _run_datasets(args: argparse.Namespace) -> None:
    from ..datasets.registry import dataset_info, list_datasets

    names = list_datasets() if args.name is None else [args.name]
    infos = [dataset_info(name) for name in names]
    if args.json:
        emit_json([_as_json(info) for info in infos])
    elif args.name is None:
        emit(str(_overview(infos)))
    else:
        emit(str(infos[0]))


def _overview(infos: Iterable[DatasetInfo]) -> Table:
    """Return the table of all datasets."""
    from ..evaluation.tables import Table

    return Table(
        ["name", "unit", "license", "split", "non-COVID", "COVID", "patients"],
        [
            [
                info.name,
                "" if info.counts is None else info.unit,
                _short(info.license),
                _short(info.split),
                *(["", ""] if info.counts is None else [f"{n:,}" for n in info.counts]),
                "" if info.patients is None else f"{info.patients:,}",
            ]
            for info in infos
        ],
        notes=[
            "",
            "covidct datasets NAME prints terms, expected files, source and known faults of one.",
        ],
        left_columns=4,
    )


def _short(text: str) -> str:
    return text.partition(";")[0]


def _as_json(info: DatasetInfo) -> dict[str, Any]:
    loader = info.loader
    if callable(loader):
        loader = f"{loader.__module__}:{getattr(loader, '__qualname__', type(loader).__name__)}"
    return {field.name: getattr(info, field.name) for field in fields(info)} | {"loader": loader}

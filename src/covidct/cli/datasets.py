"""List the datasets, or describe one: its origin, its license and its known faults."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .options import emit, emit_json

if TYPE_CHECKING:
    from ..datasets.info import DatasetInfo
    from ..evaluation.tables import Table

EXAMPLE = "covidct datasets covid19-ct"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("name", nargs="?", help="name of the dataset to describe")
    parser.add_argument("--json", action="store_true", help="print the full entries as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
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
    """Build the table from which to choose a dataset."""
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

"""List the datasets, or describe one: its origin, its license and its known faults."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from .options import emit, emit_json

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
        emit_json([asdict(info) for info in infos])
    elif args.name is None:
        emit("\n".join(f"{info.name:<16}{info.title}" for info in infos))
    else:
        emit(str(infos[0]))

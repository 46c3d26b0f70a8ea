"""List the networks, or those whose names match a pattern."""

from __future__ import annotations

import argparse

from .output import emit, emit_json

EXAMPLE = "covidct models 'densenet*' --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "pattern", nargs="?", default="*", help="a name, timm:NAME, or a shell-style pattern"
    )
    parser.add_argument("--json", action="store_true", help="print the full entries as JSON")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from ..models.registry import list_models, model_info

    names = list_models(args.pattern) or [model_info(args.pattern).name]
    if args.json:
        emit_json([model_info(name).to_dict() for name in names])
    else:
        emit("\n".join(names))

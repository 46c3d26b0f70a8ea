"""Option to import modules that register networks and datasets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from .wrong_call import WrongCallError

__all__ = ["add_imports", "import_modules"]


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add the option that imports modules."""
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        metavar="MODULE",
        dest="imports",
        help="import this module, or .py file, first: the networks and datasets that it registers "
        "can then be named (may be repeated)",
    )


def import_modules(modules: Sequence[str]) -> None:
    """Import modules by their name, or by the path of their file.

    The folder of a file (for a module's name, the current folder) is appended to ``sys.path``, so
    that worker processes can import what the module registers.
    """
    for module in modules:
        path = Path(module)
        is_file = path.suffix == ".py"
        if is_file and not path.is_file():
            raise WrongCallError(f"--import: the file {module!r} does not exist")
        folder = str(path.resolve().parent if is_file else Path.cwd())
        if folder not in sys.path:
            sys.path.append(folder)
        try:
            imported = import_module(path.stem if is_file else module)
        except (ImportError, TypeError) as error:
            raise WrongCallError(f"--import cannot import {module!r}: {error}") from error
        found = getattr(imported, "__file__", None)
        if is_file and (found is None or not path.samefile(found)):
            raise WrongCallError(
                f"--import: another module is already called {path.stem!r}; rename {module!r}"
            )

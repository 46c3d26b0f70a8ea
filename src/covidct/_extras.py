"""Import of optional dependencies."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def require(module: str, *, extra: str) -> ModuleType:
    """Import a module; if it is not installed, name the extra of covidct that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ModuleNotFoundError(
            f"{module} is not installed; install it with: pip install 'covidct[{extra}]'",
            name=error.name,
        ) from error

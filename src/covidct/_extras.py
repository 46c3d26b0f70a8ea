"""Optional dependencies: imported where they are used, missed with a word on how to get them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def require(module: str, *, extra: str) -> ModuleType:
    """Import ``module``, or say which extra of covidct brings it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ModuleNotFoundError(
            f"{module} is not installed; get it with: pip install 'covidct[{extra}]'",
            name=error.name,
        ) from error

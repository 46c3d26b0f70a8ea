"""Numbers and figures out of predictions: arrays in, numbers out, no network and no file.

The modules are imported on first use: ``covidct.evaluation.published`` stays cheap, and only
``covidct.evaluation.figures`` loads matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import calibration, comparison, figures, intervals, metrics, published

__all__ = ["calibration", "comparison", "figures", "intervals", "metrics", "published"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Why a network says what it says: Grad-CAM, t-SNE, and how far to believe them.

The names below are imported on first use, so that ``covidct.explain`` costs nothing until then.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import faithfulness, figures, tsne
    from .grad_cam import GradCAM

__all__ = ["GradCAM", "faithfulness", "figures", "tsne"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "GradCAM":
        value: object = import_module(f"{__name__}.grad_cam").GradCAM
    else:
        value = import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

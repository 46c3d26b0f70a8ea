"""Entries made on the fly for timm's convolutional networks."""

from __future__ import annotations

from functools import cache
from typing import Any

import timm
import torch

from ..errors import UnknownNameError
from .info import ArchitectureInfo

__all__ = ["timm_info"]

# The coarsest grid of most networks: a canvas of whole cells suits those that can't do otherwise.
_STRIDE = 32


@cache
def timm_info(name: str) -> ArchitectureInfo:
    """Describe a network of timm, from its own configuration and a pass without numbers.

    Parameters
    ----------
    name
        timm's name of it, with or without the tag of its weights (``"resnet34.a1_in1k"``).

    Returns
    -------
    ArchitectureInfo
        Named ``"timm:NAME"``. The trunk is what timm returns without classifier and pooling. The
        canvas keeps the height of the default size and is 10/7 as wide, both in whole cells of 32
        pixels.

    Raises
    ------
    UnknownNameError
        If timm has no such network.
    ValueError
        If it has no feature maps with rows and columns, or can't take such a canvas.

    Examples
    --------
    >>> import covidct
    >>> info = covidct.model_info("timm:resnet34")
    >>> info.feature_dim, info.custom_size, info.parameters
    (512, (224, 320), 21.29)
    """
    if not timm.is_model(name):
        error = UnknownNameError.among("network of timm", name, timm.list_models())
        raise error
    options: dict[str, Any] = {"model_name": name, "num_classes": 0, "global_pool": ""}
    try:
        with torch.random.fork_rng(devices=[]):
            network: Any = timm.create_model(**options).eval()
        config = network.pretrained_cfg
        height, width = config["input_size"][1:]
        canvas = (height // _STRIDE * _STRIDE, round(width * 10 / 7 / _STRIDE) * _STRIDE)
        feature_dim = _feature_dim(network.to("meta"), canvas)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"model 'timm:{name}' can't be used ({type(error).__name__}: {error}); it must give "
            "feature maps (B, C, h, w) of canvases that are wider than high: choose another "
            "convolutional network, or say where to cut this one with covidct.register_model"
        ) from error
    millions = round((sum(p.numel() for p in network.parameters()) + feature_dim + 1) / 1e6, 2)
    return ArchitectureInfo(
        name=f"timm:{name}",
        title=name,
        source=f"timm {name}",
        builder="timm:create_model",
        options=options,
        pretrained={"pretrained": True},
        classifier=_names(config["classifier"]),
        feature_dim=feature_dim,
        parameters=millions,
        size_mb=round(4 * millions, 1),
        mean=config["mean"],
        std=config["std"],
        default_size=(height, width),
        custom_size=canvas,
        license=config.get("license") or "",
    )


def _feature_dim(network: torch.nn.Module, canvas: tuple[int, int]) -> int:
    """Count the channels; rows and columns must follow the canvas when it is turned."""
    height, width = canvas
    with torch.inference_mode():
        lying = network(torch.empty(1, 3, height, width, device="meta")).shape
        upright = network(torch.empty(1, 3, width, height, device="meta")).shape
    _, channels, rows, columns = lying
    if tuple(upright) != (1, channels, columns, rows) or min(rows, columns) < 2:
        raise ValueError(
            f"its output is {tuple(lying)}, and {tuple(upright)} when the canvas is turned"
        )
    return int(channels)


def _names(classifier: str | tuple[str, ...]) -> tuple[str, ...]:
    return (classifier,) if isinstance(classifier, str) else tuple(classifier)

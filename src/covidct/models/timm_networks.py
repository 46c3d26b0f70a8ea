"""Registry entries of timm's convolutional networks, created on demand."""

from __future__ import annotations

from functools import cache
from typing import Any

import timm
import torch

from ..errors import UnknownNameError
from .info import ArchitectureInfo

__all__ = ["timm_info"]

# Total stride of most networks, some of which accept only multiples of it as sizes.
_STRIDE = 32


@cache
def timm_info(name: str) -> ArchitectureInfo:
    """Create the entry of a timm network, from its configuration and a pass on the meta device.

    Parameters
    ----------
    name : str
        Name in timm, with or without the tag of its weights (``"resnet34.a1_in1k"``).

    Returns
    -------
    ArchitectureInfo
        Entry named ``"timm:NAME"``. The backbone is the network without classifier and pooling.
        The canvas has the height of the default size and 10/7 of its width, both rounded to
        multiples of 32 pixels.

    Raises
    ------
    UnknownNameError
        If timm does not have the network.
    ValueError
        If the network does not return feature maps with rows and columns, or does not accept such
        a canvas.

    Examples
    --------
    >>> import covidct
    >>> info = covidct.model_info("timm:resnet34")
    >>> info.feature_dim, info.custom_size, info.parameters
    (512, (224, 320), 21.29)
    """
    if not timm.is_model(name):
        raise UnknownNameError.among("network of timm", name, timm.list_models())
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
            f"model 'timm:{name}' can't be used ({type(error).__name__}: {error}); it must return "
            "feature maps (B, C, h, w) for canvases that are wider than high; choose another "
            "convolutional network, or register this one with the layer to cut at: "
            "covidct.register_model"
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
    """Count the channels; raise unless swapping height and width swaps rows and columns."""
    height, width = canvas
    with torch.inference_mode():
        wide = network(torch.empty(1, 3, height, width, device="meta")).shape
        high = network(torch.empty(1, 3, width, height, device="meta")).shape
    _, channels, rows, columns = wide
    if tuple(high) != (1, channels, columns, rows) or min(rows, columns) < 2:
        raise ValueError(
            f"its output is {tuple(wide)}, and {tuple(high)} with height and width swapped"
        )
    return int(channels)


def _names(classifier: str | tuple[str, ...]) -> tuple[str, ...]:
    return (classifier,) if isinstance(classifier, str) else tuple(classifier)

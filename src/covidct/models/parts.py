"""Backbone and head of a network, built from its registry entry."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pkgutil import resolve_name

import torch
from torch import nn

from .info import ArchitectureInfo

__all__ = ["build_backbone", "build_head", "build_network", "measured"]


def build_network(
    builder: str | Callable[..., nn.Module], options: Mapping[str, object]
) -> nn.Module:
    """Call the builder of an entry: a callable or ``"module:function"``."""
    build = resolve_name(builder) if isinstance(builder, str) else builder
    network: nn.Module = build(**options)
    return network


def build_backbone(info: ArchitectureInfo) -> nn.Module:
    """Build the untrained backbone of a network; its tensors keep the names of the source.

    Parameters
    ----------
    info : ArchitectureInfo
        The network.

    Returns
    -------
    torch.nn.Module
        Maps normalized images (B, 3, H, W) to feature maps (B, feature_dim, h, w).

    Raises
    ------
    ValueError
        If the network has no child module named ``info.cam_layer``.
    """
    network = build_network(info.builder, info.options)
    if info.cam_layer is None:
        return network
    children = dict(network.named_children())
    names = list(children)
    if info.cam_layer not in names:
        raise ValueError(
            f"model {info.name!r}: {info.source} has no child {info.cam_layer!r}; set cam_layer to "
            f"one of {names}"
        )
    backbone = [(name, children[name]) for name in names[: names.index(info.cam_layer) + 1]]
    if info.activation:
        backbone.append(("activation", nn.ReLU(inplace=True)))
    return nn.Sequential(OrderedDict(backbone))


def build_head(info: ArchitectureInfo, size: int = 1) -> nn.Module:
    """Build a new head, from feature maps (B, feature_dim, h, w) to (B,), or (B, size) if size > 1.

    Parameters
    ----------
    info : ArchitectureInfo
        The network.
    size : int, default=1
        Number of outputs.

    Returns
    -------
    torch.nn.Module
        The head.
    """
    return nn.Sequential(OrderedDict(_HEADS[info.head](info, size)))


def measured(info: ArchitectureInfo) -> ArchitectureInfo:
    """Fill in `feature_dim`, `parameters` and `size_mb` where they are 0.

    The network is built once and applied to one black image of its custom size. The global random
    state does not change.

    Parameters
    ----------
    info : ArchitectureInfo
        The network.

    Returns
    -------
    ArchitectureInfo
        The complete entry; the same object if it was complete already.

    Raises
    ------
    ValueError
        If the output of the backbone is not of shape (B, C, h, w), or the network has no child
        module named ``info.cam_layer``.
    """
    if info.is_measured:
        return info
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        backbone = build_backbone(info).eval()
        shape = backbone(torch.zeros(1, 3, *info.custom_size)).shape
    if len(shape) != 4:
        children = [name for name, _ in build_network(info.builder, info.options).named_children()]
        raise ValueError(
            f"model {info.name!r}: the feature maps must be (B, C, h, w), got shape "
            f"{tuple(shape)}; set cam_layer to the child that returns them, one of {children}"
        )
    feature_dim = info.feature_dim or shape[1]
    millions = (sum(p.numel() for p in backbone.parameters()) + feature_dim + 1) / 1e6
    parameters = info.parameters or round(millions, 2) or millions
    return replace(
        info,
        feature_dim=feature_dim,
        parameters=parameters,
        size_mb=info.size_mb or round(4 * parameters, 1) or 4 * parameters,
    )


def _linear(info: ArchitectureInfo, size: int) -> dict[str, nn.Module]:
    return {
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "dropout": nn.Dropout(info.dropout),
        "linear": nn.Linear(info.feature_dim, size),
        "squeeze": nn.Flatten(0 if size == 1 else 1),
    }


def _convolution(info: ArchitectureInfo, size: int) -> dict[str, nn.Module]:
    # Without the ReLU that ends SqueezeNet's own classifier: with it, one logit could not be
    # negative, and no probability could be below 0.5.
    return {
        "dropout": nn.Dropout(info.dropout),
        "convolution": nn.Conv2d(info.feature_dim, size, kernel_size=1),
        "pool": nn.AdaptiveAvgPool2d(1),
        "squeeze": nn.Flatten(0 if size == 1 else 1),
    }


_HEADS = {"linear": _linear, "convolution": _convolution}

"""The parts that an entry of the registry describes: a trunk and a head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module

from torch import nn

from .info import ArchitectureInfo

__all__ = ["build_backbone", "build_head", "build_network"]


def build_network(builder: str, options: Mapping[str, object]) -> nn.Module:
    """Call the builder of an entry, given as ``"module:function"``."""
    module, _, function = builder.partition(":")
    network: nn.Module = getattr(import_module(module), function)(**options)
    return network


def build_backbone(info: ArchitectureInfo) -> nn.Module:
    """Build the trunk of a network, untrained; its tensors keep the names of the source.

    Parameters
    ----------
    info
        The entry.

    Returns
    -------
    torch.nn.Module
        Normalized images (B, 3, H, W) to feature maps (B, feature_dim, h, w).

    Raises
    ------
    ValueError
        If the network has no child ``info.cam_layer``.
    """
    network = build_network(info.builder, info.options)
    if info.cam_layer is None:
        return network
    children = dict(network.named_children())
    names = list(children)
    if info.cam_layer not in names:
        raise ValueError(
            f"model {info.name!r}: {info.source} has no child {info.cam_layer!r}, but {names}"
        )
    trunk = [(name, children[name]) for name in names[: names.index(info.cam_layer) + 1]]
    if info.activation:
        trunk.append(("activation", nn.ReLU(inplace=True)))
    return nn.Sequential(OrderedDict(trunk))


def build_head(info: ArchitectureInfo) -> nn.Module:
    """Build a fresh head: feature maps (B, feature_dim, h, w) to logits (B,)."""
    return nn.Sequential(OrderedDict(_HEADS[info.head](info)))


def _linear(info: ArchitectureInfo) -> dict[str, nn.Module]:
    return {
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "dropout": nn.Dropout(info.dropout),
        "linear": nn.Linear(info.feature_dim, 1),
        "squeeze": nn.Flatten(0),
    }


def _convolution(info: ArchitectureInfo) -> dict[str, nn.Module]:
    # SqueezeNet's own ends in a ReLU: with one logit it could never say less than 0.5.
    return {
        "dropout": nn.Dropout(info.dropout),
        "convolution": nn.Conv2d(info.feature_dim, 1, kernel_size=1),
        "pool": nn.AdaptiveAvgPool2d(1),
        "squeeze": nn.Flatten(0),
    }


_HEADS = {"linear": _linear, "convolution": _convolution}

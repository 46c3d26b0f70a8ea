"""The part of a source's network that turns images into feature maps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module

from torch import nn

from .info import ArchitectureInfo

__all__ = ["build_backbone", "build_network"]


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
        Normalised images (B, 3, H, W) to feature maps (B, feature_dim, h, w).

    Raises
    ------
    ValueError
        If the network has no child ``info.cam_layer``.
    """
    network = build_network(info.builder, info.options)
    if info.cam_layer is None:
        return network
    names = [name for name, _ in network.named_children()]
    if info.cam_layer not in names:
        msg = f"model {info.name!r}: no cam_layer {info.cam_layer!r}; {info.source} has {names}"
        raise ValueError(msg)
    trunk = OrderedDict(list(network.named_children())[: names.index(info.cam_layer) + 1])
    if info.activation:
        trunk["activation"] = nn.ReLU(inplace=True)
    return nn.Sequential(trunk)

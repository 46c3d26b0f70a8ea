"""What covidct has to know of a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ArchitectureInfo"]


@dataclass(frozen=True, kw_only=True)
class ArchitectureInfo:
    """An entry of the model registry.

    A network is a trunk, which turns an image into feature maps, and a head with one logit. The
    trunk is the source's own: its child modules, applied in their order, up to ``cam_layer``. The
    head is fresh. Sizes are (height, width) in pixels.

    Parameters
    ----------
    name
        Name for :func:`covidct.create_model`: lower-case letters, digits, ``-``, ``_`` and ``.``.
    title
        The name in print.
    source
        Library and name there, such as ``"torchvision resnet18"``.
    builder
        ``"module:function"``, imported on use; called with ``options`` it returns the untrained
        network, a :class:`torch.nn.Module`.
    feature_dim
        Channels of the feature maps, and so the length of a feature vector.
    cam_layer
        The child of the network that makes the feature maps; what follows it is dropped. None
        where the whole network as built returns them.
    activation
        Whether the source applies a ReLU to the output of ``cam_layer`` that is no child of its
        own; it is then part of the trunk.
    classifier
        First parts of the names, in a weights file, of the tensors that the head replaces.
    head
        ``"linear"``: average over space, then a linear layer; ``"convolution"``: a 1x1
        convolution, then the average.
    dropout
        Probability of dropout in the head, as in the source.
    mean, std
        The normalization, per channel, that the ImageNet weights were trained with.
    default_size
        The input of the ImageNet weights.
    custom_size
        The canvas that suits the network and the usual aspect ratio of a slice: the paper's.
    layers
        Depth as the paper counts it; None where nobody did.
    parameters
        Millions of parameters, with one logit.
    size_mb
        Megabytes of the weights file: the paper's, or 4 bytes for each parameter.
    license
        License of code and weights, as their source states it; empty where it states none.
    options
        Keyword arguments of the builder.
    pretrained
        Keyword arguments of the builder that make it fetch its ImageNet weights; empty where it
        has none.
    renamed
        Pairs (pattern, replacement) that bring tensor names of old weights files up to date.
    package
        ``"module:attribute.path"`` of a function in an installable package that returns the path
        of a weights file. Its tensors stand in the order of the network's own, under other names.

    Raises
    ------
    ValueError
        If a field is malformed.

    Examples
    --------
    >>> import covidct
    >>> info = covidct.model_info("densenet169")
    >>> info.custom_size, info.feature_dim, info.source
    ((253, 349), 1664, 'torchvision densenet169')
    """

    name: str
    title: str
    source: str
    builder: str
    feature_dim: int
    cam_layer: str | None = None
    activation: bool = False
    classifier: tuple[str, ...] = ()
    head: Literal["linear", "convolution"] = "linear"
    dropout: float = 0.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    default_size: tuple[int, int] = (224, 224)
    custom_size: tuple[int, int] = (253, 349)
    layers: int | None = None
    parameters: float
    size_mb: float
    license: str = ""
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    pretrained: Mapping[str, object] = field(default_factory=dict, hash=False)
    renamed: tuple[tuple[str, str], ...] = ()
    package: str | None = None

    def __post_init__(self) -> None:
        dotted = r"\w+(\.\w+)*:\w+(\.\w+)*"
        sizes = (self.default_size, self.custom_size)
        rules = (
            ("name", re.fullmatch(r"(timm:)?[a-z0-9][\w.-]*", self.name), "lower-case, no spaces"),
            ("builder", re.fullmatch(dotted, self.builder), "'module:function'"),
            ("package", re.fullmatch(dotted, self.package or "a:b"), "'module:function' or None"),
            ("source", self.source.strip(), "a library and a name there"),
            ("feature_dim", self.feature_dim > 0, "positive"),
            ("head", self.head in ("linear", "convolution"), "'linear' or 'convolution'"),
            ("dropout", 0 <= self.dropout < 1, "in [0, 1)"),
            (
                "std",
                len(self.mean) == len(self.std) == 3 and min(self.std) > 0,
                "3 positive numbers",
            ),
            ("custom_size", all(len(s) == 2 and min(s) > 0 for s in sizes), "(height, width)"),
        )
        for attribute, holds, rule in rules:
            if not holds:
                value = getattr(self, attribute)
                raise ValueError(f"model {self.name!r}: {attribute} must be {rule}, got {value!r}")

"""The registry entry of a network: plain data, without PyTorch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from html import escape
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

from .._display import definition_list

__all__ = ["ArchitectureInfo"]

_LOCATOR = r"\w+(\.\w+)*:\w+(\.\w+)*"


@dataclass(frozen=True, kw_only=True, repr=False)
class ArchitectureInfo:
    """Entry of the model registry: construction, input and origin of a network.

    A network consists of a backbone, which turns an image into feature maps, and a head with one
    logit. The backbone is the source network's own: its child modules in order, up to and
    including ``cam_layer``. The head is new. Sizes are (height, width) in pixels.

    Parameters
    ----------
    name : str
        Name for :func:`covidct.create_model`: lower-case letters, digits, ``-``, ``_`` and ``.``.
    builder : callable or str
        Function that returns the untrained network (:class:`torch.nn.Module`) when it is called
        with ``options``; or its location as ``"module:function"``, imported on first use. A
        callable must be picklable for runs in several processes.
    title : str, default=""
        Name in tables and figures. Empty: ``name``.
    source : str, default=""
        Library and name of the network in it, such as ``"torchvision resnet18"``. Empty: module
        and name of the builder.
    cam_layer : str or None, default=None
        Child of the network that returns the feature maps; the children after it are dropped.
        None: the network itself returns the feature maps.
    activation : bool, default=False
        Append a ReLU to the backbone, for networks that apply one to the output of ``cam_layer``
        outside of any child module.
    classifier : tuple of str, default=()
        First components of the names, in a weights file, of the tensors that the head replaces.
    feature_dim : int, default=0
        Number of channels of the feature maps, which is the length of a feature vector. 0:
        measured by building the network, when :func:`covidct.model_info` first returns the entry.
    head : {"linear", "convolution"}, default="linear"
        ``"linear"``: average over space, then a linear layer. ``"convolution"``: 1x1 convolution,
        then the average.
    dropout : float, default=0.0
        Probability of dropout in the head, in [0, 1).
    mean, std : tuple of (float, float, float), default=ImageNet's
        Normalization per channel that the ImageNet weights were trained with, for values in [0, 1].
    default_size : tuple of (int, int), default=(224, 224)
        Input size of the ImageNet weights.
    custom_size : tuple of (int, int), default=(253, 349)
        Size of the canvases, chosen for the network and the usual aspect ratio of a slice, as in
        the paper.
    layers : int or None, default=None
        Depth as counted by the paper.
    parameters : float, default=0.0
        Number of parameters in millions, with a head of one logit. 0: counted like `feature_dim`.
    size_mb : float, default=0.0
        Size of the weights file in megabytes: the value of the paper, or 4 bytes per parameter.
        0: computed from the number of parameters.
    license : str, default=""
        License of code and weights as stated by their source.
    options : mapping of str to object, default={}
        Keyword arguments of the builder.
    pretrained : mapping of str to object, default={}
        Keyword arguments of the builder that make it download its ImageNet weights. Empty: there
        are no weights to download.
    renamed : tuple of (str, str) pairs, default=()
        Regular expressions and replacements that convert tensor names of old weights files.
    package : str or None, default=None
        ``"module:attribute.path"`` of a function in an installable package that returns the path
        of a weights file. Its tensors are in the order of the network's, under other names.

    Raises
    ------
    ValueError
        If a field is not valid; the message names the field and the rule.

    Examples
    --------
    >>> import covidct
    >>> info = covidct.model_info("densenet169")
    >>> info.custom_size, info.feature_dim, info.source
    ((253, 349), 1664, 'torchvision densenet169')
    """

    name: str
    builder: str | Callable[..., nn.Module]
    title: str = ""
    source: str = ""
    cam_layer: str | None = None
    activation: bool = False
    classifier: tuple[str, ...] = ()
    feature_dim: int = 0
    head: Literal["linear", "convolution"] = "linear"
    dropout: float = 0.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    default_size: tuple[int, int] = (224, 224)
    custom_size: tuple[int, int] = (253, 349)
    layers: int | None = None
    parameters: float = 0.0
    size_mb: float = 0.0
    license: str = ""
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    pretrained: Mapping[str, object] = field(default_factory=dict, hash=False)
    renamed: tuple[tuple[str, str], ...] = ()
    package: str | None = None

    def __post_init__(self) -> None:
        located = callable(self.builder) or re.fullmatch(_LOCATOR, self.builder)
        sizes = {name: getattr(self, name) for name in ("default_size", "custom_size")}
        rules = (
            ("name", re.fullmatch(r"(timm:)?[a-z0-9][\w.-]*", self.name), "lower-case, no spaces"),
            ("builder", located, "a callable or 'module:function'"),
            ("package", re.fullmatch(_LOCATOR, self.package or "a:b"), "'module:function' or None"),
            ("feature_dim", self.feature_dim >= 0, "positive, or 0 to measure it"),
            ("parameters", self.parameters >= 0, "positive, or 0 to count them"),
            ("size_mb", self.size_mb >= 0, "positive, or 0 to compute it"),
            ("head", self.head in ("linear", "convolution"), "'linear' or 'convolution'"),
            ("dropout", 0 <= self.dropout < 1, "in [0, 1)"),
            ("mean", len(self.mean) == 3, "3 numbers"),
            ("std", len(self.std) == 3 and min(self.std) > 0, "3 positive numbers"),
            *((k, len(s) == 2 and min(s) > 0, "(height, width)") for k, s in sizes.items()),
        )
        for attribute, holds, rule in rules:
            if not holds:
                value = getattr(self, attribute)
                raise ValueError(f"model {self.name!r}: {attribute} must be {rule}, got {value!r}")
        object.__setattr__(self, "title", self.title or self.name)
        object.__setattr__(self, "source", self.source.strip() or self._locator().replace(":", " "))

    @property
    def is_measured(self) -> bool:
        """True if `feature_dim`, `parameters` and `size_mb` are known."""
        return min(self.feature_dim, self.parameters, self.size_mb) > 0

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._facts().items() if value)
        return f"ArchitectureInfo {self.name!r}: {facts}"

    def _repr_html_(self) -> str:
        title = f"<p><strong>{escape(self.title)}</strong> ({escape(self.name)})</p>"
        return title + definition_list(self._facts())

    def _facts(self) -> dict[str, str]:
        canvas, default = (" x ".join(map(str, s)) for s in (self.custom_size, self.default_size))
        return {
            "source": self.source,
            "parameters": f"{self.parameters:g} million" if self.parameters else "",
            "canvas": f"{canvas} (height x width)",
            "ImageNet input size": f"{default} (height x width)",
            "features": str(self.feature_dim or ""),
            "Grad-CAM layer": self.cam_layer or "",
            "license": self.license,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON.

        Returns
        -------
        dict of str to object
            Values by field; a callable builder is given as ``"module:function"``.
        """
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"builder": self._locator()}

    def _locator(self) -> str:
        if isinstance(self.builder, str):
            return self.builder
        name = getattr(self.builder, "__qualname__", type(self.builder).__qualname__)
        return f"{self.builder.__module__}:{name}"

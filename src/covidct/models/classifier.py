"""One class for every network: preprocessing, feature maps and a head with one logit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from os import PathLike
from typing import Literal, Self

import torch
from torch import Tensor, nn

from .backbone import build_backbone
from .export import export_onnx
from .info import ArchitectureInfo
from .registry import model_info
from .sharing import load_model, save_model
from .weights import load_weights

__all__ = ["CTClassifier", "create_model"]

# A float image may leave [0, 1] by this much (interpolation rounds); 0..255 or normalised don't.
_TOLERANCE = 0.01


class CTClassifier(nn.Module):
    """A binary classifier of CT slices: ``head(feature_maps(x))``.

    Parameters
    ----------
    info
        The network, out of :func:`covidct.model_info`. Its weights are drawn from PyTorch's
        global generator; :func:`covidct.create_model` loads trained ones.
    input_size
        (height, width) of the canvases that it is meant for; by default ``info.custom_size``.
        Other sizes work as well.

    Attributes
    ----------
    info : ArchitectureInfo
        The entry of the network.
    backbone : torch.nn.Module
        Normalised images (B, 3, H, W) to feature maps (B, feature_dim, h, w). Its tensors have the
        names that they have in the network's source.
    head : torch.nn.Module
        Feature maps to logits (B,).
    input_size : tuple of int
        (height, width).
    cam_layer : str
        Dotted name of the module whose output is the feature maps: the layer to hook for Grad-CAM.

    Examples
    --------
    >>> import torch, covidct
    >>> model = covidct.create_model("shufflenet", weights=None).eval()
    >>> canvases = torch.randint(0, 256, (2, 1, 225, 321), dtype=torch.uint8)
    >>> model(canvases).shape, model.features(canvases).shape
    (torch.Size([2]), torch.Size([2, 1024]))
    """

    cam_layer = "backbone"
    mean: Tensor
    std: Tensor

    def __init__(
        self, info: ArchitectureInfo, *, input_size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.info = info
        self.input_size = _check_size(info.custom_size if input_size is None else input_size)
        self.backbone = build_backbone(info)
        self.head = _HEADS[info.head](info)
        self._frozen = False
        # Facts of the network, not fitted: they follow the model's device, but stay out of files.
        for name, values in (("mean", info.mean), ("std", info.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Score canvases.

        Parameters
        ----------
        x
            Grey canvases (B, 1, H, W): uint8, or floating point in [0, 1].

        Returns
        -------
        torch.Tensor
            Logits (B,); their sigmoid is the probability of COVID-19.

        Raises
        ------
        TypeError
            If ``x`` is neither uint8 nor floating point.
        ValueError
            If ``x`` is not (B, 1, H, W), or (checked on the CPU only, where looking costs no
            synchronisation) floats are outside [0, 1].
        """
        logits: Tensor = self.head(self.feature_maps(x))
        return logits

    def feature_maps(self, x: Tensor) -> Tensor:
        """Compute the last feature maps (B, feature_dim, h, w) of canvases, as in `forward`."""
        maps: Tensor = self.backbone(self._preprocess(x))
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """Average feature maps (B, feature_dim, h, w) over space, giving (B, feature_dim)."""
        return maps.mean((2, 3))

    def features(self, x: Tensor) -> Tensor:
        """Compute the penultimate layer, (B, feature_dim), of canvases, as in `forward`."""
        return self.pool(self.feature_maps(x))

    def freeze_backbone(self, *, frozen: bool = True) -> Self:
        """Fit the head alone: the paper's feature extraction.

        The backbone gets no gradients, and its batch normalisation keeps its statistics in
        training mode as well.

        Parameters
        ----------
        frozen
            False fits everything again.

        Returns
        -------
        CTClassifier
            The model itself.
        """
        self.backbone.requires_grad_(not frozen)
        self._frozen = frozen
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self._frozen:
            self.backbone.eval()
        return self

    def save(
        self, folder: str | PathLike[str], *, card: Mapping[str, object] | None = None
    ) -> None:
        """Write a folder to hand on; see :func:`covidct.models.sharing.save_model`."""
        save_model(self, folder, card)

    @staticmethod
    def load(folder: str | PathLike[str]) -> CTClassifier:
        """Read what `save` wrote; see :func:`covidct.models.sharing.load_model`."""
        return load_model(folder)

    def export(
        self, path: str | PathLike[str], *, input_type: Literal["uint8", "float32"] = "uint8"
    ) -> None:
        """Write an ONNX file; see :func:`covidct.models.export.export_onnx`."""
        export_onnx(self, path, input_type=input_type)

    def extra_repr(self) -> str:
        """Name the network and its canvas, for ``repr``."""
        return f"{self.info.name}, input_size={self.input_size}"

    def _preprocess(self, x: Tensor) -> Tensor:
        _check_canvases(x)
        grey = x.to(self.mean.dtype)
        if not x.is_floating_point():
            grey = grey / 255
        return (grey - self.mean) / self.std  # broadcasts the one channel to three


def create_model(
    name: str,
    weights: str | PathLike[str] | None = "imagenet",
    *,
    input_size: tuple[int, int] | None = None,
) -> CTClassifier:
    """Create a classifier with a fresh head.

    Parameters
    ----------
    name
        A name out of :func:`covidct.list_models`, or ``"timm:NAME"``.
    weights
        ``"imagenet"``: a file in the folder that the environment variable ``COVIDCT_WEIGHTS``
        names, else an installed package that brings them, else a download. A path: that file
        (safetensors or PyTorch), either ImageNet weights, whose classifier is dropped, or a model
        that covidct saved. None: random.
    input_size
        (height, width) of the canvases; by default the network's custom size.

    Returns
    -------
    CTClassifier
        In training mode, on the CPU.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    InvalidFileError
        If the file is damaged, unsafe to load or of another network.
    FileNotFoundError
        If there is no such file.
    ConnectionError
        If the weights can't be downloaded.

    Examples
    --------
    >>> import covidct
    >>> model = covidct.create_model("resnet18", weights=None)
    >>> model.info.title, model.input_size
    ('ResNet18', (253, 349))
    """
    model = CTClassifier(model_info(name), input_size=input_size)
    if weights is not None:
        load_weights(model, weights)
    return model


def _linear_head(info: ArchitectureInfo) -> nn.Sequential:
    layers = {
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "dropout": nn.Dropout(info.dropout),
        "linear": nn.Linear(info.feature_dim, 1),
        "squeeze": nn.Flatten(0),
    }
    return nn.Sequential(OrderedDict(layers))


def _convolution_head(info: ArchitectureInfo) -> nn.Sequential:
    # SqueezeNet's own ends in a ReLU: with one logit it could never say less than 0.5.
    layers = {
        "dropout": nn.Dropout(info.dropout),
        "convolution": nn.Conv2d(info.feature_dim, 1, kernel_size=1),
        "pool": nn.AdaptiveAvgPool2d(1),
        "squeeze": nn.Flatten(0),
    }
    return nn.Sequential(OrderedDict(layers))


_HEADS = {"linear": _linear_head, "convolution": _convolution_head}


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    if min(height, width) < 1:
        msg = f"input_size must be (height, width) in pixels, got {size!r}"
        raise ValueError(msg)
    return height, width


def _check_canvases(x: Tensor) -> None:
    if not isinstance(x, Tensor) or not (x.dtype == torch.uint8 or x.is_floating_point()):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        msg = f"canvases must be a tensor, uint8 or floating point; got {kind}"
        raise TypeError(msg)
    if x.ndim != 4 or x.shape[1] != 1:
        msg = f"canvases must be grey, (B, 1, H, W); got shape {tuple(x.shape)}"
        raise ValueError(msg)
    # Looking at the values would make the host wait for a GPU, and would break a traced graph.
    if x.dtype == torch.uint8 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return
    low, high = x.detach().aminmax() if x.numel() else (0.0, 1.0)
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
        msg = (
            f"floating-point canvases must be in [0, 1], got values from {low:.4g} to {high:.4g}; "
            "divide 0..255 by 255 or pass uint8, and leave the normalisation to the model"
        )
        raise ValueError(msg)

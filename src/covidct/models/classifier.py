"""One class for every network: preprocessing, feature maps and a head with one logit."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Literal, Self

from torch import Tensor, nn

from .export import export_onnx
from .info import ArchitectureInfo
from .parts import build_backbone, build_head
from .preprocessing import Preprocessing
from .registry import model_info
from .sharing import ModelCard, check_shared, save_model
from .weights import load_state, load_weights

__all__ = ["CTClassifier", "create_model"]


class CTClassifier(nn.Module):
    """A binary classifier of CT slices: ``head(feature_maps(x))``.

    Parameters
    ----------
    info
        The network, out of :func:`covidct.model_info`. Its weights are random;
        :func:`covidct.create_model` loads trained ones.
    input_size
        (height, width) of the canvases that it is meant for; by default ``info.custom_size``.
        Others work as well.

    Attributes
    ----------
    info : ArchitectureInfo
        The entry of the network.
    input_size : tuple of int
        (height, width).
    preprocessing : torch.nn.Module
        Canvases (B, 1, H, W) to normalized images (B, 3, H, W).
    backbone : torch.nn.Module
        Normalized images to feature maps (B, feature_dim, h, w). Its tensors have the names that
        they have in the network's source.
    head : torch.nn.Module
        Feature maps to logits (B,).
    cam_layer : str
        Dotted name of the module whose output is the feature maps: the layer to hook for Grad-CAM.

    Raises
    ------
    ValueError
        If ``input_size`` is none.

    Examples
    --------
    >>> import torch, covidct
    >>> model = covidct.create_model("shufflenet", weights=None).eval()
    >>> canvases = torch.randint(0, 256, (2, 1, 225, 321), dtype=torch.uint8)
    >>> model(canvases).shape, model.features(canvases).shape
    (torch.Size([2]), torch.Size([2, 1024]))
    """

    cam_layer = "backbone"

    def __init__(
        self, info: ArchitectureInfo, *, input_size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        height, width = info.custom_size if input_size is None else input_size
        if min(height, width) < 1:
            raise ValueError(f"input_size must be (height, width) in pixels, got {input_size!r}")
        self.info = info
        self.input_size = (height, width)
        self.preprocessing = Preprocessing(info.mean, info.std)
        self.backbone = build_backbone(info)
        self.head = build_head(info)
        self._frozen = False

    def forward(self, x: Tensor) -> Tensor:
        """Score canvases.

        Parameters
        ----------
        x
            Gray canvases (B, 1, H, W): uint8, or floating point in [0, 1]. Anything else is a
            TypeError or a ValueError; values are looked at on the CPU only, since a GPU would
            have to be waited for.

        Returns
        -------
        torch.Tensor
            Logits (B,); their logistic function is the probability of COVID-19.
        """
        logits: Tensor = self.head(self.feature_maps(x))
        return logits

    def feature_maps(self, x: Tensor) -> Tensor:
        """Compute what Grad-CAM explains: the last feature maps.

        Parameters
        ----------
        x
            Canvases, as in `forward`.

        Returns
        -------
        torch.Tensor
            (B, feature_dim, h, w).

        Raises
        ------
        ValueError
            If the network is registered with another ``feature_dim`` than it has.
        """
        maps: Tensor = self.backbone(self.preprocessing(x))
        if maps.shape[1] != self.info.feature_dim:
            raise ValueError(
                f"{self.info.name!r} is registered with feature_dim={self.info.feature_dim}, but "
                f"its feature maps are {tuple(maps.shape)}, (B, feature_dim, h, w)"
            )
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """Average feature maps over space.

        Parameters
        ----------
        maps
            (B, feature_dim, h, w).

        Returns
        -------
        torch.Tensor
            (B, feature_dim).
        """
        return maps.mean((2, 3))

    def features(self, x: Tensor) -> Tensor:
        """Compute the penultimate layer: the features that t-SNE shows.

        Parameters
        ----------
        x
            Canvases, as in `forward`.

        Returns
        -------
        torch.Tensor
            (B, feature_dim).
        """
        return self.pool(self.feature_maps(x))

    def freeze_backbone(self, *, frozen: bool = True) -> Self:
        """Fit the head alone: the paper's feature extraction.

        The backbone gets no gradients, and its batch normalization keeps its statistics in
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
        """Write the fitted model as a folder to hand on; `load` reads it anywhere.

        Parameters
        ----------
        folder
            Gets ``model.safetensors`` and ``card.json``; made if it isn't there.
        card
            Fields of :class:`covidct.models.sharing.ModelCard` but ``model``, ``input_size`` and
            ``covidct``, which are the model's own.

        Raises
        ------
        UnknownNameError
            If a card has no such field.
        ValueError
            If a field is malformed.

        Examples
        --------
        >>> import covidct
        >>> model = covidct.create_model("shufflenet", weights=None)
        >>> model.save("shared", card={"training_data": "ward 7", "metrics": {"accuracy": 0.81}})
        """
        save_model(self, folder, card=ModelCard.filled(self.info.name, self.input_size, card or {}))

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """Read what `save` wrote; nothing in the folder is ever executed.

        Parameters
        ----------
        folder
            The folder.

        Returns
        -------
        CTClassifier
            On the CPU, in evaluation mode.

        Raises
        ------
        FileNotFoundError
            If the folder lacks a file.
        InvalidFileError
            If a file is damaged, or the tensors are not those that the card describes.

        Examples
        --------
        >>> import covidct
        >>> covidct.create_model("shufflenet", weights=None).save("shared")
        >>> covidct.CTClassifier.load("shared").info.title
        'ShuffleNet'
        """
        card, tensors = check_shared(folder)
        model = cls(model_info(card.model), input_size=card.input_size)
        load_state(model, tensors, info=model.info)
        return model.eval()

    def export(
        self, path: str | PathLike[str], *, input_type: Literal["uint8", "float32"] = "uint8"
    ) -> None:
        """Write an ONNX file that ONNX Runtime was seen to agree with, preprocessing inside.

        Parameters
        ----------
        path
            The file; it appears once it has passed the check.
        input_type
            What canvases hold: ``"uint8"``, or ``"float32"`` in [0, 1].

        Raises
        ------
        ModuleNotFoundError
            If the extra ``onnx`` is not installed.
        RuntimeError
            If, on random canvases, ONNX Runtime's logits are further than 1e-3 from PyTorch's
            (relative to the logit where that is larger than 1).
        ValueError
            If ``input_type`` is none of the two.

        Notes
        -----
        The file, of opset 18, takes ``canvases`` (B, 1, H, W), with any B and the model's
        ``input_size``, and gives ``logits`` (B,), whose logistic function is the probability of
        COVID-19. Its metadata name the model, input_size (height, width), input_type, classes (of
        output 0 and 1) and the version of covidct. The model is left in its mode.

        Examples
        --------
        >>> import covidct
        >>> model = covidct.create_model("squeezenet", weights=None, input_size=(64, 96))
        >>> model.export("squeezenet.onnx")
        """
        export_onnx(
            self, path, name=self.info.name, input_size=self.input_size, input_type=input_type
        )

    def extra_repr(self) -> str:
        """Name the network and its canvas, for ``repr``."""
        return f"{self.info.name}, input_size={self.input_size}"


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
        (safetensors or PyTorch), either ImageNet weights, whose classifier is dropped, or a fitted
        model's, head included. None: random. What is random, the head at least, is drawn from
        PyTorch's global generator.
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
        load_weights(model, weights, info=model.info)
    return model

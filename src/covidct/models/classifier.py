"""CTClassifier, the class of all networks: preprocessing, backbone and head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from .._checks import whole
from ..transforms import AspectPreservingPad
from .export import export_onnx
from .info import ArchitectureInfo
from .initial_weights import load_weights
from .modes import evaluating
from .outputs import CovidOutput, Outputs
from .parts import build_backbone, build_head, measured
from .preprocessing import Preprocessing
from .registry import model_info
from .sharing import ModelCard, check_shared, save_model
from .weights import load_state

__all__ = ["CTClassifier", "create_model"]

# Modes with an unambiguous gray version. More than 8 bits need a window, transparency a background.
_GRAY_MODES = ("1", "L", "RGB")


class CTClassifier(nn.Module):
    """Classifier of CT slices, consisting of preprocessing, a backbone and a head.

    Its output is ``head(feature_maps(x))``. With the default `outputs` this is the logit of
    COVID-19 against the rest; with :class:`covidct.models.LabelOutputs` there is one output per
    label, and :meth:`covid_logit` computes the logit of COVID-19 against the rest.

    Parameters
    ----------
    info : ArchitectureInfo
        The network, as returned by :func:`covidct.model_info`. Its weights are random;
        :func:`covidct.create_model` loads trained ones.
    input_size : tuple of (int, int) or None, default=None
        Height and width of the canvases that the model is intended for. None: ``info.custom_size``.
        The model accepts canvases of other sizes as well.
    outputs : Outputs or None, default=None
        Meaning of the outputs. None: :class:`covidct.models.CovidOutput`, one logit.

    Attributes
    ----------
    info : ArchitectureInfo
        Registry entry of the network.
    input_size : tuple of (int, int)
        Height and width of the intended canvases.
    outputs : Outputs
        Meaning of the outputs.
    classes : tuple of str
        Names of the classes: ``("non-COVID", "COVID")``, or the labels in the order of the outputs.
    preprocessing : torch.nn.Module
        Maps canvases (B, 1, H, W) to normalized images (B, 3, H, W).
    backbone : torch.nn.Module
        Maps normalized images to feature maps (B, feature_dim, h, w). Its tensors have the names
        that they have in the network's source.
    head : torch.nn.Module
        Maps feature maps to logits (B,), or to (B, K) for K labels.
    cam_layer : str
        Name of the module whose output is the feature maps, to be hooked for Grad-CAM.

    Raises
    ------
    ValueError
        If ``input_size`` is not two positive integers.

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
        self,
        info: ArchitectureInfo,
        *,
        input_size: tuple[int, int] | None = None,
        outputs: Outputs | None = None,
    ) -> None:
        super().__init__()
        size = info.custom_size if input_size is None else input_size
        try:
            height, width = (whole("input_size", side) for side in size)
        except (TypeError, ValueError):
            raise ValueError(
                f"input_size must be (height, width) in pixels, got {input_size!r}"
            ) from None
        self.info = info = measured(info)
        self.input_size = (height, width)
        self.preprocessing = Preprocessing(info.mean, info.std)
        self.backbone = build_backbone(info)
        self.outputs = CovidOutput() if outputs is None else outputs
        self.head = build_head(info, self.outputs.size)
        self._frozen = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their codes."""
        return self.outputs.classes

    def forward(self, x: Tensor) -> Tensor:
        """Compute the outputs of the head.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, H, W)
            Gray canvases: uint8, or floating point in [0, 1].

        Returns
        -------
        torch.Tensor of shape (B,) or (B, K)
            Logits, whose logistic function is the probability of COVID-19; for K labels, one output
            per label, whose softmax is the probabilities of the labels.

        Raises
        ------
        TypeError
            If ``x`` is not a tensor of uint8 or floating-point values.
        ValueError
            If the shape is not (B, 1, H, W), or floating-point values are outside [0, 1]. Values
            are checked on the CPU only, since the check would have to wait for a GPU.
        """
        outputs: Tensor = self.head(self.feature_maps(x))
        return outputs

    def covid_logit(self, outputs: Tensor) -> Tensor:
        """Compute the logit of COVID-19 against the rest from the outputs of the head.

        Parameters
        ----------
        outputs : torch.Tensor of shape (B,) or (B, K)
            Outputs, as returned by `forward`.

        Returns
        -------
        torch.Tensor of shape (B,)
            Log odds, log p(COVID-19) - log(1 - p(COVID-19)). For a network with one output, these
            are the outputs themselves.

        Examples
        --------
        >>> import torch, covidct
        >>> from covidct.models import LabelOutputs
        >>> labels = LabelOutputs(("CAP", "COVID-19", "normal"), positive=("COVID-19",))
        >>> model = covidct.create_model("shufflenet", weights=None, outputs=labels).eval()
        >>> outputs = model(torch.zeros(2, 1, 64, 96))
        >>> outputs.shape, model.covid_logit(outputs).shape
        (torch.Size([2, 3]), torch.Size([2]))
        """
        return self.outputs.covid_logit(outputs)

    def predict_proba(self, images: Any, *, batch_size: int = 64) -> npt.NDArray[np.float64]:
        """Compute the probability of COVID-19 for slices of any size.

        Each slice is scaled and padded to a canvas of ``input_size`` by
        :class:`covidct.AspectPreservingPad`; a slice of that size is not changed. The model is
        evaluated on its current device, in evaluation mode; its mode is restored afterwards.

        Parameters
        ----------
        images : PIL image, array, tensor or iterable of these
            A PIL image of mode ``"L"``, ``"1"`` or ``"RGB"`` (:func:`covidct.to_grayscale` converts
            the other modes); an array or tensor of shape (H, W), (B, H, W) or (B, 1, H, W);
            or an iterable of slices, each a PIL image or an array or tensor of shape (H, W) or
            (1, H, W), of different sizes if necessary. Arrays and tensors are uint8 or floating
            point in [0, 1].
        batch_size : int, default=64
            Number of canvases per batch.

        Returns
        -------
        ndarray of shape (B,)
            Probabilities, in the order of the slices.

        Raises
        ------
        TypeError
            If a slice is not a PIL image, an array or a tensor, or its values are neither uint8
            nor floating point.
        ValueError
            If a shape or mode is not one of those above, floating-point values are outside [0, 1],
            or ``batch_size`` is not a positive integer.

        Examples
        --------
        >>> import covidct
        >>> model = covidct.create_model("shufflenet", weights=None)
        >>> slices = covidct.load_dataset("phantom", n=3, seed=0)
        >>> model.predict_proba([slices[i][0] for i in range(3)]).shape
        (3,)
        """
        size = whole("batch_size", batch_size)
        pad = AspectPreservingPad(self.input_size)
        canvases = (_to_canvas(image, pad) for image in _split(images))
        device = next(self.parameters()).device
        logits = [torch.empty(0, dtype=torch.float64)]
        with evaluating(self), torch.inference_mode():
            while batch := list(islice(canvases, size)):
                outputs = self(torch.stack(batch).to(device)).double()
                logits.append(self.covid_logit(outputs).cpu())
        return torch.cat(logits).sigmoid().numpy()

    def feature_maps(self, x: Tensor) -> Tensor:
        """Compute the last feature maps, from which Grad-CAM computes saliency maps.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, H, W)
            Canvases, as in `forward`.

        Returns
        -------
        torch.Tensor of shape (B, feature_dim, h, w)
            Feature maps.

        Raises
        ------
        ValueError
            If the network is registered with a ``feature_dim`` that differs from its output.
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
        maps : torch.Tensor of shape (B, feature_dim, h, w)
            Feature maps.

        Returns
        -------
        torch.Tensor of shape (B, feature_dim)
            Feature vectors.
        """
        return maps.mean((2, 3))

    def features(self, x: Tensor) -> Tensor:
        """Compute the penultimate features, as shown by t-SNE.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, H, W)
            Canvases, as in `forward`.

        Returns
        -------
        torch.Tensor of shape (B, feature_dim)
            Feature vectors: spatial averages of the feature maps.
        """
        return self.pool(self.feature_maps(x))

    def freeze_backbone(self, *, frozen: bool = True) -> Self:
        """Freeze the backbone, so that only the head is trained: the paper's feature extraction.

        A frozen backbone gets no gradients, and its batch normalization keeps its statistics in
        training mode as well.

        Parameters
        ----------
        frozen : bool, default=True
            False makes the backbone trainable again.

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
        """Write the model to a folder that `load` reads on any machine.

        Parameters
        ----------
        folder : str or path-like
            Folder for ``model.safetensors`` and ``card.json``; created if necessary.
        card : mapping of str to object or None, default=None
            Fields of :class:`covidct.models.ModelCard`, except ``model``, ``input_size``,
            ``outputs`` and ``covidct``, which are filled in. None: no further fields.

        Raises
        ------
        UnknownNameError
            If ``card`` has a field that a model card does not have.
        ValueError
            If a field is malformed.

        Examples
        --------
        >>> import covidct
        >>> model = covidct.create_model("shufflenet", weights=None)
        >>> model.save("shared", card={"training_data": "ward 7", "metrics": {"accuracy": 0.81}})
        """
        filled = ModelCard.filled(self.info.name, self.input_size, card or {}, outputs=self.outputs)
        save_model(self, folder, card=filled)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """Read a model from a folder that `save` wrote; no code in the folder is executed.

        Parameters
        ----------
        folder : str or path-like
            The folder.

        Returns
        -------
        CTClassifier
            The model on the CPU, in evaluation mode.

        Raises
        ------
        FileNotFoundError
            If the folder lacks ``model.safetensors`` or ``card.json``.
        InvalidFileError
            If a file is damaged, or the card does not belong to the tensors.

        Examples
        --------
        >>> import covidct
        >>> covidct.create_model("shufflenet", weights=None).save("shared")
        >>> covidct.CTClassifier.load("shared").info.title
        'ShuffleNet'
        """
        card, tensors = check_shared(folder)
        model = cls(model_info(card.model), input_size=card.input_size, outputs=card.outputs)
        load_state(model, tensors, info=model.info)
        return model.eval()

    def export(
        self,
        path: str | PathLike[str],
        *,
        input_type: Literal["uint8", "float32"] = "uint8",
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Write an ONNX file, preprocessing included, and check it with ONNX Runtime.

        Parameters
        ----------
        path : str or path-like
            The file; written only if the check passes.
        input_type : {"uint8", "float32"}, default="uint8"
            Data type of the canvases; ``"float32"`` means values in [0, 1].
        metadata : mapping of str to object or None, default=None
            Further metadata, written as JSON. :meth:`covidct.Predictor.load` reads ``resize`` and
            ``window``.

        Raises
        ------
        ModuleNotFoundError
            If the extra ``onnx`` is not installed.
        RuntimeError
            If, on random canvases, an output of ONNX Runtime differs from PyTorch's by more than
            1e-3 (relative to the output where its absolute value is larger than 1).
        ValueError
            If ``input_type`` is neither ``"uint8"`` nor ``"float32"``.

        Notes
        -----
        The file, of opset 18, maps ``canvases`` (B, 1, H, W), with any B and the model's
        ``input_size``, to ``logits`` (B,), whose logistic function is the probability of COVID-19.
        A model of K labels also has the output ``labels`` (B, K), whose softmax is the
        probabilities of the labels. The metadata contain the model, input_size (height, width),
        input_type, target, classes, positive (the classes that mean COVID-19) and the version of
        covidct. The mode of the model does not change.

        Examples
        --------
        >>> import covidct
        >>> model = covidct.create_model("squeezenet", weights=None, input_size=(64, 96))
        >>> model.export("squeezenet.onnx")
        """
        export_onnx(
            self,
            path,
            name=self.info.name,
            input_size=self.input_size,
            outputs=self.outputs,
            input_type=input_type,
            metadata=metadata,
        )

    def extra_repr(self) -> str:
        """Return the name of the network and its input size, for ``repr``."""
        return f"{self.info.name}, input_size={self.input_size}"


def create_model(
    name: str,
    weights: str | PathLike[str] | None = "imagenet",
    *,
    input_size: tuple[int, int] | None = None,
    outputs: Outputs | None = None,
) -> CTClassifier:
    """Create a classifier with a new head.

    Parameters
    ----------
    name : str
        One of :func:`covidct.list_models`, or ``"timm:NAME"``.
    weights : str, path-like or None, default="imagenet"
        - ``"imagenet"``: weights from the folder named by the environment variable
          ``COVIDCT_WEIGHTS``, else from an installed package that contains them, else from a
          download.
        - A path: weights from that file (safetensors or PyTorch). ImageNet weights are loaded
          without their classifier, a fitted model with its head. Prefixes such as ``module.`` that
          all names in the file share are removed. For a folder, such as that of a fold
          (``runs/x/folds/0``), its ``model.safetensors`` is read.
        - None: random weights.

        Random weights (of the head, or of the whole network) are drawn from PyTorch's global
        generator.
    input_size : tuple of (int, int) or None, default=None
        Height and width of the canvases that the model is intended for. None:
        ``info.custom_size``.
    outputs : Outputs or None, default=None
        Meaning of the outputs. None: :class:`covidct.models.CovidOutput`, one logit of COVID-19
        against the rest. :class:`covidct.models.LabelOutputs` has one output per label.

    Returns
    -------
    CTClassifier
        The model on the CPU, in training mode.

    Raises
    ------
    UnknownNameError
        If the name is neither registered nor known to timm.
    InvalidFileError
        If the file is damaged, contains more than tensors, or belongs to a different network.
    FileNotFoundError
        If the file does not exist, or ``COVIDCT_WEIGHTS`` does not name a folder.
    ConnectionError
        If the weights cannot be downloaded.
    ValueError
        If ``input_size`` is not two positive integers.

    Examples
    --------
    >>> import covidct
    >>> model = covidct.create_model("resnet18", weights=None)
    >>> model.info.title, model.input_size
    ('ResNet18', (253, 349))
    """
    model = CTClassifier(model_info(name), input_size=input_size, outputs=outputs)
    if weights is not None:
        load_weights(model, weights, info=model.info)
    return model


def _split(images: Any) -> Iterable[Any]:
    """Return the single slices of the input of `CTClassifier.predict_proba`."""
    if isinstance(images, Image.Image):
        return [images]
    if isinstance(images, np.ndarray | Tensor):
        color = images.ndim == 3 and images.shape[-1] in (3, 4)
        if images.ndim not in (2, 3, 4) or color:
            raise ValueError(
                "images must be gray, (H, W), (B, H, W) or (B, 1, H, W), got shape "
                f"{tuple(images.shape)}"
            )
        return [images] if images.ndim == 2 else images
    if not isinstance(images, Iterable) or isinstance(images, str | bytes):
        raise TypeError(
            f"images must be PIL images, arrays or tensors, got {type(images).__name__}; read "
            "files with covidct.datasets.reading.read_image"
        )
    return images


def _to_canvas(image: Any, pad: AspectPreservingPad) -> Tensor:
    """Convert one slice to a canvas (1, H, W) of floating-point values in [0, 1]."""
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(image)
    if isinstance(image, Tensor):
        if image.ndim == 3 and len(image) == 1:
            image = image[0]
        if image.ndim != 2:
            raise ValueError(
                f"each slice must be gray, (H, W) or (1, H, W), got shape {tuple(image.shape)}"
            )
        if image.is_floating_point():
            image = image.detach().cpu().float()
            canvas: Tensor = image if tuple(image.shape) == pad.size else pad(image)
            return canvas.unsqueeze(0)
        if image.dtype != torch.uint8:
            raise TypeError(
                f"each slice must be uint8 or floating point in [0, 1], got {image.dtype}"
            )
        image = Image.fromarray(image.cpu().numpy())
    if not isinstance(image, Image.Image):
        raise TypeError(
            f"each slice must be a PIL image, an array or a tensor, got {type(image).__name__}; "
            "read files with covidct.datasets.reading.read_image"
        )
    if image.mode not in _GRAY_MODES or image.has_transparency_data:
        raise ValueError(
            f"each PIL image must be 8-bit gray or color without transparency, got mode "
            f"{image.mode!r}; convert it with covidct.to_grayscale"
        )
    # Scaled by PIL as 8-bit pixels, as slices from files are.
    gray = np.array(pad(image.convert("L")))
    return torch.from_numpy(gray).unsqueeze(0).float().div_(255)

"""Grad-CAM: saliency maps of the evidence for, or against, COVID-19 in a slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from .._checks import whole
from .._memory import keep_freed_memory
from .._text import some
from ..devices import Precision, autocast, resolve_precision
from ..errors import UnknownNameError
from ..models.modes import evaluating
from ..models.outputs import outputs_of

__all__ = ["Explanation", "GradCAM", "upsample"]


class Explanation(NamedTuple):
    """Saliency maps, and the logits from the same forward pass.

    Attributes
    ----------
    maps : torch.Tensor of shape (B, H, W)
        Saliency maps, float32.
    logits : torch.Tensor of shape (B,)
        Logits, float32. Their sigmoid is the probability of COVID-19.
    """

    maps: Tensor
    logits: Tensor


class _TwoParts(Protocol):
    """Network in two parts, like `covidct.CTClassifier`: ``forward(x) = head(feature_maps(x))``."""

    def feature_maps(self, x: Tensor) -> Tensor: ...

    def head(self, maps: Tensor) -> Tensor: ...


class GradCAM:
    r"""Gradient-weighted class activation maps (Selvaraju et al. 2017, equations 1 and 2).

    With :math:`A^k` the feature maps of the last convolutional stage and :math:`y` the logit,

    .. math::
        \alpha_k = \frac{1}{hw} \sum_{i,j} \frac{\partial y}{\partial A^k_{ij}}, \qquad
        L = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k\Big).

    The feature maps are computed without gradients, and only the layers after them are
    differentiated, so a map costs little more than a forward pass. The model is left unchanged:
    its mode (of every submodule), gradients, ``requires_grad`` and hooks are the same after a call
    as before it, even if the call fails.

    Parameters
    ----------
    model : torch.nn.Module
        A `covidct.CTClassifier`, also in DataParallel, or, if `layer` is given, any module with one
        logit per slice, or, if `target` is a number, with K outputs per slice. The outputs of a
        module with an attribute `outputs`, as CTClassifier has, may be one per label.
    layer : str or torch.nn.Module, optional
        Layer whose output is explained: its dotted name, or the module itself. By default the
        feature maps of the model (its ``cam_layer``).
    target : str or int, default="covid"
        Class whose evidence is shown: ``"covid"``, ``"non-covid"``, or a label of the model. The
        explained :math:`y` is the log odds of this class against all others. A number selects a
        column of the outputs of any module, which is explained directly.
    relu : bool, default=True
        If True, keep only the evidence for `target`. If False, negative values are evidence
        against it.
    normalize : bool, default=True
        If True, divide each map by its largest absolute value. A map without any evidence stays
        zero everywhere; it is not stretched to full contrast.
    upsample : bool, default=True
        If True, upsample the maps bilinearly to the size of the canvas. If False, they stay on
        the grid of the layer.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Data type of the forward and backward pass, as in
        :func:`covidct.devices.resolve_precision`. The maps are always float32.

    Raises
    ------
    TypeError
        If `model` is not a module.
    ValueError
        If `target` is not a class of the model, if `precision` is unknown, if `layer` is a module
        that the model does not contain, or if `layer` is None and the model has no
        ``feature_maps`` and ``head``.
    UnknownNameError
        If `layer` is a name that the model does not contain.

    References
    ----------
    R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-Based
    Localization", ICCV 2017.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import GradCAM
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Conv2d(1, 4, 3, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
    ...     torch.nn.Flatten(), torch.nn.Linear(4, 1),
    ... )
    >>> x = torch.rand(2, 1, 32, 48)
    >>> GradCAM(network, layer="1")(x).shape
    torch.Size([2, 32, 48])
    >>> GradCAM(network, layer="1", relu=False, normalize=False, upsample=False)(x).shape
    torch.Size([2, 8, 12])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layer: str | nn.Module | None = None,
        target: str | int = "covid",
        relu: bool = True,
        normalize: bool = True,
        upsample: bool = True,
        precision: Precision = "float32",
    ) -> None:
        if layer is None and isinstance(
            model, nn.DataParallel | nn.parallel.DistributedDataParallel
        ):
            model = model.module
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self.outputs = outputs_of(model)
        if not isinstance(target, int) or isinstance(target, bool):
            self.outputs.members(target)  # type: ignore[arg-type]  # raises for an unknown target
        resolve_precision(precision, torch.device("cpu"))  # raises for an unknown precision
        self.model = model
        self.layer = _find_layer(model, layer)
        self.target = target
        self.relu = relu
        self.normalize = normalize
        self.upsample = upsample
        self.precision = precision

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the saliency maps of a batch, like ``explain(x).maps``.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, H, W)
            Canvases, uint8 or float in [0, 1].

        Returns
        -------
        torch.Tensor of shape (B, H, W)
            Maps, float32, on the device of `x`; in [0, 1] with the default options.
        """
        return self.explain(x).maps

    def explain(self, x: Tensor) -> Explanation:
        """Compute the saliency maps of a batch and the logits that they explain.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, H, W)
            Canvases, uint8 or float in [0, 1]; for modules other than `CTClassifier`, their usual
            input, such as normalized images with any number of channels.

        Returns
        -------
        Explanation
            Maps and logits (the outputs of `target`, if it is a number), on the device of `x`.

        Raises
        ------
        TypeError
            If `x` is not a tensor.
        ValueError
            If `x` is empty or not four-dimensional, if the output of the layer has no spatial
            extent (as the tokens of a transformer), or has its channels last, if `target` is a
            number and the module lacks this output, if the logit does not depend on the layer, or
            if a logit is NaN or infinite.
        """
        if not isinstance(x, Tensor):
            raise TypeError(
                f"x must be a tensor, got a {type(x).__name__}; convert it with torch.as_tensor(x)"
            )
        if x.ndim != 4 or len(x) == 0:
            raise ValueError(
                f"expected a batch of shape (B, 1, H, W) with B >= 1, got {tuple(x.shape)}"
            )
        with evaluating(self.model), torch.inference_mode(mode=False):
            maps, outputs = self._forward(x)
            if isinstance(self.target, int):
                logits = explained = _column(outputs, self.target, len(x))
            else:
                logits = self.outputs.covid_logit(outputs)
                explained = self.outputs.log_odds(outputs, self.target)
            _check_logits(logits, len(x))
            gradient = self._gradient(maps, explained)
        weights = gradient.float().mean(dim=(2, 3))
        saliency = torch.einsum("bc,bchw->bhw", weights, maps.detach().float())
        return Explanation(
            self._finish(saliency, x.shape[2:]).to(x.device),
            logits.detach().float().flatten().to(x.device),
        )

    def over(
        self,
        canvases: npt.NDArray[np.uint8],
        *,
        index: npt.NDArray[np.integer] | None = None,
        batch_size: int = 32,
    ) -> Explanation:
        """Compute the saliency maps and logits of many canvases, batch by batch.

        Parameters
        ----------
        canvases : ndarray of uint8 of shape (N, H, W)
            Canvases, as returned by `covidct.datasets.canvases.make_canvases`.
        index : ndarray of int, optional
            Indices of the canvases to explain, in the order of the result. By default, all
            canvases.
        batch_size : int, default=32
            Number of canvases per batch.

        Returns
        -------
        Explanation
            Maps and logits in the order of `index`, on the CPU.

        Raises
        ------
        ValueError
            If `canvases` is not three-dimensional, if there are no canvases to explain, if
            ``batch_size`` is not a positive integer, or for the reasons listed under `explain`.
        """
        index = np.arange(len(canvases)) if index is None else np.asarray(index)
        if canvases.ndim != 3 or len(index) == 0:
            raise ValueError(
                "expected at least one canvas, in an array of shape (N, H, W); "
                f"got {len(index)} of an array of shape {canvases.shape}"
            )
        size = whole("batch_size", batch_size)
        batches = [index[i : i + size] for i in range(0, len(index), size)]
        with keep_freed_memory():
            parts = [
                self.explain(torch.from_numpy(np.ascontiguousarray(canvases[batch])).unsqueeze(1))
                for batch in tqdm(batches, desc="Grad-CAM", leave=False, disable=None)
            ]
        maps, logits = (torch.cat(part) for part in zip(*parts, strict=True))
        return Explanation(maps, logits)

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature maps, as a leaf of the graph, and the outputs computed from them."""
        device = next(self.model.parameters(), x).device
        dtype = resolve_precision(self.precision, device)
        with torch.no_grad(), autocast(device, dtype):
            if self.layer is not None:
                return _forward_cut_at(self.layer, self.model, x.to(device))
            network = cast("_TwoParts", self.model)
            maps = _as_leaf(network.feature_maps(x.to(device)), x.shape[2:])
            with torch.enable_grad():
                # The head may start with an in-place ReLU, so it gets a copy.
                return maps, network.head(maps.clone())

    def _gradient(self, maps: Tensor, logits: Tensor) -> Tensor:
        # Unlike backward(), autograd.grad leaves the .grad of all parameters unchanged.
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits.sum(), maps, allow_unused=True)
            if gradient is not None:
                return gradient
        raise ValueError(
            "the logit does not depend on the layer to explain; "
            "choose a layer on which the logit depends"
        )

    def _finish(self, saliency: Tensor, size: torch.Size) -> Tensor:
        if self.relu:
            saliency = saliency.relu()
        if self.upsample:
            saliency = upsample(saliency, size)
        if self.normalize:
            largest = torch.linalg.vector_norm(saliency, torch.inf, dim=(1, 2), keepdim=True)
            saliency = saliency / largest.where(largest > 0, 1)
        return saliency


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Upsample maps bilinearly from the grid of a layer to the size of the canvas.

    Parameters
    ----------
    maps : torch.Tensor of shape (B, h, w)
        Maps on the grid of the layer.
    size : sequence of two ints
        Height and width of the canvas.

    Returns
    -------
    torch.Tensor of shape (B, H, W)
        Maps of the size of the canvas.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain.grad_cam import upsample
    >>> upsample(torch.rand(2, 8, 11), (253, 349)).shape
    torch.Size([2, 253, 349])
    """
    return functional.interpolate(maps[:, None], tuple(size), mode="bilinear")[:, 0]


def _find_layer(model: nn.Module, layer: str | nn.Module | None) -> nn.Module | None:
    names: dict[str, nn.Module] = {name: part for name, part in model.named_modules() if name}
    if layer is None:
        if hasattr(model, "feature_maps") and hasattr(model, "head"):
            return None
        raise ValueError(
            f"{type(model).__name__} has no feature_maps() and head(); name the layer to explain, "
            f"as in GradCAM(model, layer=...): one of {some(names, limit=12)}"
        )
    if isinstance(layer, str):
        if layer not in names:
            raise UnknownNameError.among("layer", layer, names)
        return names[layer]
    if all(layer is not module for module in names.values()):
        raise ValueError(
            f"the given layer, a {type(layer).__name__}, is not part of the {type(model).__name__}"
        )
    return layer


def _as_leaf(maps: object, canvas: torch.Size) -> Tensor:
    """Detach feature maps from the graph, so that gradients with respect to them can be taken."""
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[2:].numel() == 1:
        got = f"shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        tokens = isinstance(maps, Tensor) and maps.ndim == 3
        remedy = (
            "these may be the tokens of a transformer: choose a convolution, such as the one that "
            "makes the patches"
            if tokens
            else "choose an earlier layer or larger canvases"
        )
        raise ValueError(
            "Grad-CAM needs spatial feature maps of shape (B, C, h, w) with more than one cell, "
            f"but the layer to explain returns {got}; {remedy}"
        )
    if not _is_scaled(maps.shape[2:], canvas) and _is_scaled(maps.shape[1:3], canvas):
        raise ValueError(
            f"the layer to explain returns shape {tuple(maps.shape)}, which is a grid of the "
            f"canvas ({canvas[0]} x {canvas[1]}) with its channels last; choose a layer that "
            "returns (B, C, h, w), such as a convolution"
        )
    return maps.detach().requires_grad_()


def _is_scaled(grid: Sequence[int], canvas: Sequence[int]) -> bool:
    """Return True if the grid is the canvas divided by one stride, up to one cell at the edge."""
    least = max(length / (n + 1) for length, n in zip(canvas, grid, strict=True))
    most = min(length / max(n - 1, 1e-9) for length, n in zip(canvas, grid, strict=True))
    return least <= most


def _forward_cut_at(layer: nn.Module, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Run the model without gradients up to the output of a layer, with gradients after it."""
    leaves: list[Tensor] = []

    def cut(_module: nn.Module, _args: object, output: object) -> Tensor:
        leaves.append(_as_leaf(output, x.shape[2:]))
        torch.set_grad_enabled(True)  # until the caller's no_grad() ends
        return leaves[-1].clone()

    handle = layer.register_forward_hook(cut)
    try:
        logits = model(x)
    finally:
        handle.remove()
    if len(leaves) != 1:
        raise ValueError(
            f"the layer to explain must run once per forward pass, but it ran {len(leaves)} times"
        )
    return leaves[0], logits


def _column(outputs: Tensor, target: int, n: int) -> Tensor:
    """Return one of the outputs of each slice."""
    if outputs.ndim != 2 or len(outputs) != n or not 0 <= target < outputs.shape[1]:
        raise ValueError(
            f"target {target} needs outputs of shape ({n}, K) with K > {target}, got "
            f"{tuple(outputs.shape)}"
        )
    return outputs[:, target]


def _check_logits(logits: Tensor, n: int) -> None:
    if logits.numel() != n:
        raise ValueError(
            f"expected one logit for each of {n} slices, got logits of shape {tuple(logits.shape)}"
        )
    bad = (~logits.detach().isfinite()).flatten().nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"the logits at positions {bad} are NaN or infinite; check the canvases and weights"
        )

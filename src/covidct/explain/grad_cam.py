"""Grad-CAM: the places of a slice that speak for COVID-19, or against it, to a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from .._memory import keep_freed_memory
from ..devices import Precision, autocast, resolve_precision
from ..errors import UnknownNameError
from ..models.modes import evaluating

__all__ = ["Explanation", "GradCAM", "upsample"]

# One logit says both: what raises it speaks for COVID-19, what lowers it against.
_SIGN = {"covid": 1.0, "non-covid": -1.0}


class Explanation(NamedTuple):
    """Saliency maps and, from the same pass, the logits that they explain.

    Attributes
    ----------
    maps
        (B, H, W), float32.
    logits
        (B,), float32; their sigmoid is the probability of COVID-19.
    """

    maps: Tensor
    logits: Tensor


class _Cut(Protocol):
    """A network in two parts: ``forward(x) = head(feature_maps(x))``, as `covidct.CTClassifier`."""

    def feature_maps(self, x: Tensor) -> Tensor: ...

    def head(self, maps: Tensor) -> Tensor: ...


class GradCAM:
    r"""Gradient-weighted class activation maps (Selvaraju et al. 2017, equations 1 and 2).

    With :math:`A^k` the feature maps of the last convolutional stage and :math:`y` the logit,

    .. math::
        \alpha_k = \frac{1}{hw} \sum_{i,j} \frac{\partial y}{\partial A^k_{ij}}, \qquad
        L = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k\Big).

    The feature maps come from a pass without gradients; only what follows them is differentiated,
    so that a map costs little more than a forward pass. The model is left as it was found: mode
    (of every submodule), gradients, ``requires_grad`` and hooks, whether the call succeeds or not.

    Parameters
    ----------
    model
        A `covidct.CTClassifier`, or with ``layer`` any module that gives one logit for each slice.
    layer
        Dotted name of, or the very, module whose output to explain. By default the feature maps
        of the model (its ``cam_layer``).
    target
        Show the evidence for ``"covid"`` or for ``"non-covid"``.
    relu
        Keep only what speaks for the target. Without it, negative values speak against it.
    normalize
        Divide each map by its largest absolute value. Zero stays zero: a map without any evidence
        is zero everywhere, not stretched to full contrast.
    upsample
        Bring the maps to the size of the canvas, bilinearly. Without it they stay on the grid of
        the layer.
    precision
        Arithmetic of the pass, as in :func:`covidct.devices.resolve_precision`. The maps are
        float32 in any case.

    Raises
    ------
    ValueError
        For an unknown option, for a layer that is not in the model (then as `UnknownNameError`
        where it was given by name), and for a model that neither has ``feature_maps`` and
        ``head`` nor comes with a ``layer``.

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
        target: Literal["covid", "non-covid"] = "covid",
        relu: bool = True,
        normalize: bool = True,
        upsample: bool = True,
        precision: Precision = "float32",
    ) -> None:
        if target not in _SIGN:
            raise ValueError(f"target must be one of {', '.join(map(repr, _SIGN))}, got {target!r}")
        resolve_precision(precision, torch.device("cpu"))  # refuses an unknown one
        self.model = model
        self.layer = _find_layer(model, layer)
        self.target = target
        self.relu = relu
        self.normalize = normalize
        self.upsample = upsample
        self.precision = precision

    def __call__(self, x: Tensor) -> Tensor:
        """Return the maps of a batch: ``explain(x).maps``.

        Parameters
        ----------
        x
            (B, 1, H, W), uint8, or float in [0, 1].

        Returns
        -------
        Tensor
            (B, H, W) float32, on the device of ``x``; in [0, 1] with the default options.
        """
        return self.explain(x).maps

    def explain(self, x: Tensor) -> Explanation:
        """Return the maps of a batch and the logits that they explain.

        Parameters
        ----------
        x
            (B, 1, H, W), uint8, or float in [0, 1].

        Returns
        -------
        Explanation
            On the device of ``x``.

        Raises
        ------
        ValueError
            For an empty batch or one of another shape, for a layer without spatial output or
            without influence on the logit, and for a logit that is NaN or infinite.
        """
        if x.ndim != 4 or len(x) == 0:
            raise ValueError(
                f"a batch has shape (B, 1, H, W) with B of at least 1, got {tuple(x.shape)}"
            )
        with evaluating(self.model), torch.inference_mode(mode=False):
            maps, logits = self._forward(x)
            _check_logits(logits, len(x))
            gradient = self._gradient(maps, logits)
        weights = _SIGN[self.target] * gradient.float().mean(dim=(2, 3))
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
        """Explain many canvases, batch by batch.

        Parameters
        ----------
        canvases
            (N, H, W) uint8, as `covidct.datasets.canvases.make_canvases` gives them.
        index
            Which of them, in which order; all by default.
        batch_size
            How many at once.

        Returns
        -------
        Explanation
            In the order of ``index``, on the CPU.

        Raises
        ------
        ValueError
            Where there is no canvas to explain, and as `explain` does.
        """
        index = np.arange(len(canvases)) if index is None else np.asarray(index)
        if canvases.ndim != 3 or len(index) == 0:
            raise ValueError(
                f"give at least one canvas, (N, H, W): got {len(index)} of {canvases.shape}"
            )
        batches = [index[i : i + batch_size] for i in range(0, len(index), batch_size)]
        with keep_freed_memory():
            parts = [
                self.explain(torch.from_numpy(np.ascontiguousarray(canvases[batch])).unsqueeze(1))
                for batch in tqdm(batches, desc="Grad-CAM", leave=False, disable=None)
            ]
        maps, logits = (torch.cat(part) for part in zip(*parts, strict=True))
        return Explanation(maps, logits)

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature maps, a leaf of the graph, and the logits, which depend on them."""
        device = next(self.model.parameters(), x).device
        dtype = resolve_precision(self.precision, device)
        with torch.no_grad(), autocast(device, dtype):
            if self.layer is not None:
                return _forward_cut_at(self.layer, self.model, x.to(device))
            network = cast("_Cut", self.model)
            maps = _as_leaf(network.feature_maps(x.to(device)))
            with torch.enable_grad():
                # The head may begin with an in-place ReLU: it gets a copy.
                return maps, network.head(maps.clone())

    def _gradient(self, maps: Tensor, logits: Tensor) -> Tensor:
        # Unlike backward(), this touches no parameter's .grad.
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits.sum(), maps, allow_unused=True)
            if gradient is not None:
                return gradient
        raise ValueError(
            "the logit does not depend on the layer to explain; choose one that it follows from"
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
    """Bring maps from the grid of the layer to the size of the canvas, bilinearly.

    Parameters
    ----------
    maps
        (B, h, w).
    size
        (H, W).

    Returns
    -------
    Tensor
        (B, H, W).

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
            f"{type(model).__name__} has no feature_maps() and head(): name the layer to explain, "
            f"GradCAM(model, layer=...), one of {', '.join(names)}"
        )
    if isinstance(layer, str):
        if layer not in names:
            error = UnknownNameError.among("layer", layer, names)
            raise error
        return names[layer]
    if all(layer is not module for module in names.values()):
        raise ValueError(
            f"the layer {type(layer).__name__} is not a part of this {type(model).__name__}"
        )
    return layer


def _as_leaf(maps: object) -> Tensor:
    """Detach feature maps from what made them, so that gradients can be taken in them."""
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[2:].numel() == 1:
        got = f"shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(
            "Grad-CAM needs spatial feature maps (B, C, h, w) of more than one cell, "
            f"but the layer to explain gives {got}; choose an earlier one or larger canvases"
        )
    return maps.detach().requires_grad_()


def _forward_cut_at(layer: nn.Module, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Run ``model`` without gradients up to the output of ``layer``, with gradients after it."""
    leaves: list[Tensor] = []

    def cut(_module: nn.Module, _args: object, output: object) -> Tensor:
        leaves.append(_as_leaf(output))
        torch.set_grad_enabled(True)  # until the caller's no_grad() ends
        return leaves[-1].clone()

    handle = layer.register_forward_hook(cut)
    try:
        logits = model(x)
    finally:
        handle.remove()
    if len(leaves) != 1:
        raise ValueError(
            f"the layer to explain must run once in a forward pass; it ran {len(leaves)} times"
        )
    return leaves[0], logits


def _check_logits(logits: Tensor, n: int) -> None:
    if logits.numel() != n:
        raise ValueError(
            f"expected one logit for each of {n} slices, got shape {tuple(logits.shape)}"
        )
    bad = (~logits.detach().isfinite()).flatten().nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"the logits at positions {bad} are NaN or infinite: check the canvases and weights"
        )

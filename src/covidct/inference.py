"""Batched inference: canvases to logits and features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from ._checks import whole
from ._memory import keep_freed_memory
from .devices import Precision, autocast, resolve_device, resolve_precision
from .models.classifier import CTClassifier
from .models.modes import evaluating
from .models.outputs import outputs_of

__all__ = ["Inference", "infer"]


class Inference(NamedTuple):
    """Output of a network for N canvases.

    Attributes
    ----------
    logits : ndarray of shape (N,)
        COVID logits, float32; a logit of 0 or more means COVID-19.
    features : ndarray of shape (N, feature_dim) or None
        Penultimate features, float32; None if they were not requested.
    outputs : ndarray of shape (N,) or (N, K)
        Outputs of the head, float32: the logits themselves, or one output per label.
    """

    logits: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None
    outputs: npt.NDArray[np.float32]

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Probabilities of COVID-19, shape (N,): the logistic function of the logits."""
        return torch.from_numpy(self.logits).double().sigmoid().numpy()


def infer(
    model: CTClassifier,
    canvases: npt.NDArray[np.uint8] | torch.Tensor,
    *,
    index: npt.NDArray[np.integer] | None = None,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    precision: Precision = "float32",
    features: bool = False,
    progress: bool = False,
) -> Inference:
    """Apply a network to canvases in batches, in evaluation mode and without gradients.

    Parameters
    ----------
    model : CTClassifier
        The network; its device and mode are restored afterwards.
    canvases : ndarray or torch.Tensor of shape (N, H, W)
        Canvases, uint8; in memory, memory-mapped or on any device.
    index : ndarray of int or None, default=None
        Positions of the canvases to use, in this order. None: all canvases.
    batch_size : int, default=64
        Number of canvases per batch.
    device : str, torch.device or None, default=None
        Device to compute on. None: the device of the model.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Data type of the passes, as in :func:`covidct.devices.resolve_precision`.
    features : bool, default=False
        Return the penultimate features as well.
    progress : bool, default=False
        Show a progress bar if the output is a terminal.

    Returns
    -------
    Inference
        COVID logits, outputs of the head, and features if they were requested.

    Raises
    ------
    ValueError
        If the shape of ``canvases`` is not (N, H, W), ``batch_size`` is not a positive integer, or
        ``device`` or ``precision`` is not valid.

    Examples
    --------
    >>> import numpy as np
    >>> import covidct
    >>> from covidct.inference import infer
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> infer(model, np.zeros((3, 64, 96), dtype=np.uint8)).logits.shape
    (3,)
    """
    if canvases.ndim != 3:
        raise ValueError(f"canvases must be (N, H, W), got shape {tuple(canvases.shape)}")
    original = next(model.parameters()).device
    target = original if device is None else resolve_device(device)
    dtype = resolve_precision(precision, target)
    order = np.arange(len(canvases)) if index is None else np.asarray(index)
    size = whole("batch_size", batch_size)
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    outputs, pooled = [], []
    model.to(target)
    try:
        with (
            keep_freed_memory(),
            evaluating(model),
            torch.inference_mode(),
            autocast(target, dtype),
        ):
            for batch in tqdm(batches, desc="infer", disable=None if progress else True):
                maps = model.feature_maps(_fetch(canvases, batch, target))
                outputs.append(model.head(maps).float())
                if features:
                    pooled.append(model.pool(maps).float())
    finally:
        model.to(original)
    meaning = outputs_of(model)
    joined = torch.cat(outputs).cpu() if outputs else torch.empty(0, meaning.size).squeeze(1)
    return Inference(
        logits=meaning.covid_logit(joined).numpy(),
        features=torch.cat(pooled).cpu().numpy() if pooled else None,
        outputs=joined.numpy(),
    )


def _fetch(
    canvases: npt.NDArray[np.uint8] | torch.Tensor,
    batch: npt.NDArray[np.integer],
    device: torch.device,
) -> torch.Tensor:
    """Copy the canvases of a batch to the device, as (B, 1, H, W)."""
    if isinstance(canvases, torch.Tensor):
        chosen = canvases[torch.from_numpy(batch).to(canvases.device)]
    else:
        chosen = torch.from_numpy(canvases[batch])
    return chosen.to(device).unsqueeze(1)

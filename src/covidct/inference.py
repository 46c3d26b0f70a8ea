"""One batched pass over canvases; everything that scores slices goes through it."""

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

__all__ = ["Inference", "infer"]


class Inference(NamedTuple):
    """What a network says of N canvases.

    Attributes
    ----------
    logits
        (N,) float32; from 0 on the network calls the slice COVID-19.
    features
        (N, D) float32 penultimate features, or None where they were not asked for.
    """

    logits: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """The (N,) probabilities of COVID-19, the logistic function of the logits."""
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
    """Run a network over canvases in large batches, without gradients.

    Parameters
    ----------
    model
        The network; it is left on its device and in its mode.
    canvases
        (N, H, W) uint8, in memory, memory-mapped or a tensor on any device.
    index
        Which canvases, in which order; all of them by default.
    batch_size
        Canvases in one pass.
    device
        Where to compute; the model's own device by default.
    precision
        As in :func:`covidct.devices.resolve_precision`.
    features
        Whether to return the penultimate features too.
    progress
        Whether to draw a bar (only ever on a terminal).

    Returns
    -------
    Inference
        The logits, and the features if asked for.

    Raises
    ------
    ValueError
        If the canvases are not (N, H, W).

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
    home = next(model.parameters()).device
    where = home if device is None else resolve_device(device)
    dtype = resolve_precision(precision, where)
    order = np.arange(len(canvases)) if index is None else np.asarray(index)
    size = whole("batch_size", batch_size)
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    logits, pooled = [], []
    model.to(where)
    try:
        with keep_freed_memory(), evaluating(model), torch.inference_mode(), autocast(where, dtype):
            for batch in tqdm(batches, desc="infer", disable=None if progress else True):
                maps = model.feature_maps(_fetch(canvases, batch, where))
                logits.append(model.head(maps).float())
                if features:
                    pooled.append(model.pool(maps).float())
    finally:
        model.to(home)
    return Inference(
        torch.cat(logits).cpu().numpy() if logits else np.empty(0, np.float32),
        torch.cat(pooled).cpu().numpy() if pooled else None,
    )


def _fetch(
    canvases: npt.NDArray[np.uint8] | torch.Tensor,
    batch: npt.NDArray[np.integer],
    device: torch.device,
) -> torch.Tensor:
    """Take a (B, 1, H, W) batch to the device, copying only what it needs."""
    if isinstance(canvases, torch.Tensor):
        chosen = canvases[torch.from_numpy(batch).to(canvases.device)]
    else:
        chosen = torch.from_numpy(canvases[batch])
    return chosen.to(device).unsqueeze(1)

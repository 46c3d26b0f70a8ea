"""Deletion and insertion curves: probabilities while salient pixels are deleted or inserted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.integrate import trapezoid
from torch import Tensor
from torchvision.transforms.v2 import functional as vision
from tqdm import tqdm

from ..devices import Precision
from ..inference import infer
from ..models.classifier import CTClassifier
from ..models.outputs import outputs_of

__all__ = ["Curves", "perturb"]


def _blurred(canvases: Tensor) -> Tensor:
    # Wide enough to remove all findings, but not the lungs and the chest wall.
    sigma = min(canvases.shape[1:]) / 16
    blurred: Tensor = vision.gaussian_blur(canvases, 2 * round(2 * sigma) + 1, sigma)
    return blurred


_BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "blur": _blurred,
    "black": torch.zeros_like,
    "mean": lambda canvases: canvases.mean(dim=(1, 2), keepdim=True).expand_as(canvases),
}


#: Baselines of deletion and of insertion by name.
Baseline = Literal["blur", "black", "mean", "rise"]
_PAIRS = {name: (name, name) for name in _BASELINES} | {"rise": ("mean", "blur")}


class Curves(NamedTuple):
    """Probability of the target class while pixels are deleted or inserted.

    Attributes
    ----------
    fractions : ndarray of shape (S + 1,)
        Shares of the pixels that were deleted or inserted, from 0 to 1.
    deletion : ndarray of shape (N, S + 1)
        Probabilities while pixels are replaced by the baseline, the most salient ones first.
    insertion : ndarray of shape (N, S + 1)
        Probabilities while pixels are inserted into the baseline, the most salient ones first.
    """

    fractions: npt.NDArray[np.float64]
    deletion: npt.NDArray[np.float64]
    insertion: npt.NDArray[np.float64]

    @property
    def deletion_area(self) -> npt.NDArray[np.float64]:
        """Area under each deletion curve, (N,) in [0, 1]; lower for a more faithful map."""
        return np.asarray(trapezoid(self.deletion, self.fractions))

    @property
    def insertion_area(self) -> npt.NDArray[np.float64]:
        """Area under each insertion curve, (N,) in [0, 1]; higher for a more faithful map."""
        return np.asarray(trapezoid(self.insertion, self.fractions))


def perturb(
    model: CTClassifier,
    canvases: npt.NDArray[np.uint8],
    maps: Tensor,
    *,
    target: str = "covid",
    steps: int = 10,
    baseline: Baseline = "blur",
    batch_size: int = 32,
    precision: Precision = "float32",
    seed: int = 0,
) -> Curves:
    """Delete and insert pixels in the order of their saliency (Petsiuk et al. 2018).

    If a map is faithful, deleting its most salient pixels lowers the probability quickly, and
    inserting them raises it quickly. Compare the areas under the curves with those of random maps.

    Parameters
    ----------
    model : CTClassifier
        The network; it is left unchanged.
    canvases : ndarray of uint8 of shape (N, H, W)
        Canvases to perturb.
    maps : torch.Tensor of shape (N, H, W)
        Saliency maps, signed or not; only the order of the pixels is used. Ties, such as the zeros
        that a ReLU leaves, are broken at random.
    target : str, default="covid"
        Class whose probability is computed.
    steps : int, default=10
        Number S of equal steps.
    baseline : {"blur", "black", "mean", "rise"}, default="blur"
        Replacement of deleted pixels, and start of the insertion: the canvas under a Gaussian blur
        (its standard deviation is 1/16 of the shorter side), black, or the mean gray value of the
        canvas. ``"rise"`` is as in the publication: the mean for deletion and the blur for
        insertion. Areas of different baselines are not comparable.
    batch_size : int, default=32
        Number of canvases per batch.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Data type of the forward passes, as in :func:`covidct.devices.resolve_precision`.
    seed : int, default=0
        Random seed for breaking ties.

    Returns
    -------
    Curves
        Deletion and insertion curves of all canvases.

    Raises
    ------
    ValueError
        If `target` or `baseline` is unknown, if `steps` is below 1, if there are no canvases, or if
        `maps` and `canvases` differ in shape.

    References
    ----------
    V. Petsiuk, A. Das and K. Saenko, "RISE: Randomized Input Sampling for Explanation of
    Black-box Models", BMVC 2018.

    Examples
    --------
    >>> import numpy as np, torch, covidct
    >>> from covidct.explain import faithfulness
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> canvases = np.random.default_rng(0).integers(0, 256, (2, 64, 96), dtype=np.uint8)
    >>> curves = faithfulness.perturb(model, canvases, torch.rand(2, 64, 96), steps=4)
    >>> curves.deletion.shape, curves.deletion_area.shape
    ((2, 5), (2,))
    """
    outputs = outputs_of(model)
    outputs.members(target)  # raises for an unknown target
    if baseline not in _PAIRS:
        raise ValueError(f"baseline must be one of {', '.join(_PAIRS)}, got {baseline!r}")
    if maps.shape != canvases.shape or not len(canvases) or steps < 1:
        raise ValueError(
            "expected maps and canvases of the same shape, at least one canvas, and at least one "
            f"step; got maps {tuple(maps.shape)}, canvases {canvases.shape} and {steps} steps"
        )
    fractions = np.linspace(0, 1, steps + 1)
    generator = torch.Generator().manual_seed(seed)
    curves = np.empty((2, len(canvases), steps + 1))
    for i in tqdm(range(len(canvases)), desc="deletion, insertion", leave=False, disable=None):
        slice_ = torch.from_numpy(np.array(canvases[i]))
        removed, start = (
            _BASELINES[name](slice_[None].float())[0].round().to(torch.uint8)
            for name in _PAIRS[baseline]
        )
        marked = _order(maps[i], generator) < torch.from_numpy(fractions)[:, None, None]
        series = torch.cat([removed.where(marked, slice_), slice_.where(marked, start)])
        scored = infer(model, series, batch_size=batch_size, precision=precision)
        odds = outputs.log_odds(torch.from_numpy(scored.outputs).double(), target)
        curves[:, i] = odds.sigmoid().numpy().reshape(2, -1)
    return Curves(fractions, curves[0], curves[1])


def _order(saliency: Tensor, generator: torch.Generator) -> Tensor:
    """Rank the pixels by saliency, from 0 for the most salient to almost 1."""
    shuffled = torch.randperm(saliency.numel(), generator=generator)
    descending = saliency.cpu().flatten()[shuffled].argsort(descending=True, stable=True)
    places = torch.empty(saliency.numel(), dtype=torch.float64)
    places[shuffled[descending]] = torch.arange(saliency.numel(), dtype=torch.float64)
    return places.view_as(saliency) / saliency.numel()

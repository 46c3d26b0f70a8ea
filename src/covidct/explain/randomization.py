"""The sanity check of an explanation: whether it changes when the network forgets."""

from __future__ import annotations

import copy
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from tqdm import tqdm

from ..devices import Precision
from ..models.classifier import CTClassifier
from .grad_cam import GradCAM

__all__ = [
    "RandomizationTest",
    "randomization_test",
    "randomize",
    "rank_correlation",
    "signed_maps",
]

Model = TypeVar("Model", bound=nn.Module)


class RandomizationTest(NamedTuple):
    """How alike the maps of a network stay while it forgets, from the head downwards.

    Attributes
    ----------
    shares
        (S,) shares of its layers that were randomized; the first stands for the last layer alone.
    correlations
        (S, N) absolute rank correlations of the maps before and after. Absolute, since a random
        head is as likely to turn a map over as to keep it.
    reference
        (N,) absolute rank correlations of the maps of neighboring slices of the list, the last
        and the first included: how alike maps are anyway.
    """

    shares: tuple[float, ...]
    correlations: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]


def randomize(model: Model, *, share: float = 1.0, seed: int = 0) -> Model:
    """Copy a network and let the copy forget its last layers.

    A layer is any module with parameters of its own. It is reset as PyTorch initializes it (batch
    normalization forgets its statistics too); where a module cannot reset itself, the entries of
    its parameters are shuffled.

    Parameters
    ----------
    model
        Any network; it is left untouched.
    share
        Share of the layers, from the last backwards, that forget; at least one does.
    seed
        Of the new weights; the global random state is left as found.

    Returns
    -------
    Module
        The copy, on the same device and in the same mode.

    Raises
    ------
    ValueError
        For a share outside [0, 1].

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import faithfulness
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> copy = faithfulness.randomize(network, share=0.5)
    >>> [torch.equal(a.weight, b.weight) for a, b in zip(network, copy)]
    [True, False]
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    forgetful = copy.deepcopy(model)
    layers = [part for part in forgetful.modules() if any(True for _ in part.parameters(False))]
    devices = {p.device for p in forgetful.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        for layer in layers[-max(1, round(share * len(layers))) :]:
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
                continue
            for parameter in layer.parameters(recurse=False):
                order = torch.randperm(parameter.numel(), device=parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return forgetful


def randomization_test(
    model: CTClassifier,
    canvases: npt.NDArray[np.uint8],
    *,
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0),
    layer: str | None = None,
    batch_size: int = 32,
    precision: Precision = "float32",
    seed: int = 0,
) -> RandomizationTest:
    """Randomize a network step by step from its head, and compare its maps (Adebayo et al. 2018).

    The maps are compared signed and on the grid of the layer. An explanation of what the network
    has learnt should soon resemble the old one no more than the map of another slice does.

    Parameters
    ----------
    model
        The network; it is left untouched.
    canvases
        (N, H, W) uint8, at least two.
    shares
        Shares of the layers to randomize, from the last backwards.
    layer
        Name of the layer to explain, as in `covidct.explain.GradCAM`.
    batch_size
        Canvases in one pass.
    precision
        Arithmetic of the passes, as in :func:`covidct.devices.resolve_precision`.
    seed
        Of the random weights.

    Returns
    -------
    RandomizationTest
        Rank correlations, and what to compare them with.

    Raises
    ------
    ValueError
        For fewer than two canvases.

    References
    ----------
    J. Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np, covidct
    >>> from covidct.explain import faithfulness
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> canvases = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)
    >>> faithfulness.randomization_test(model, canvases, shares=(0.0, 1.0)).correlations.shape
    (2, 3)
    """
    if len(canvases) < 2:
        raise ValueError(
            f"give at least two canvases, since maps of two are compared; got {len(canvases)}"
        )

    options: dict[str, Any] = {"layer": layer, "batch_size": batch_size, "precision": precision}
    before = signed_maps(model, canvases, **options)
    after = (
        signed_maps(randomize(model, share=share, seed=seed), canvases, **options)
        for share in tqdm(shares, desc="randomization", leave=False, disable=None)
    )
    correlations = np.stack([np.abs(rank_correlation(before, maps)) for maps in after])
    reference = np.abs(rank_correlation(before, before.roll(1, dims=0)))
    return RandomizationTest(shares, correlations, reference)


def signed_maps(
    model: nn.Module,
    canvases: npt.NDArray[np.uint8],
    *,
    layer: str | None = None,
    target: Literal["covid", "non-covid"] = "covid",
    batch_size: int = 32,
    precision: Precision = "float32",
) -> Tensor:
    """Compute the raw maps of many canvases: signed, and on the grid of the layer.

    Parameters
    ----------
    model, layer, target, precision
        As in `covidct.explain.GradCAM`.
    canvases
        (N, H, W) uint8.
    batch_size
        Canvases in one pass.

    Returns
    -------
    Tensor
        (N, h, w).

    Examples
    --------
    >>> import numpy as np, covidct
    >>> from covidct.explain.randomization import signed_maps
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> signed_maps(model, np.zeros((3, 64, 96), np.uint8)).shape
    torch.Size([3, 2, 3])
    """
    cam = GradCAM(
        model,
        layer=layer,
        target=target,
        relu=False,
        normalize=False,
        upsample=False,
        precision=precision,
    )
    return cam.over(canvases, batch_size=batch_size).maps


def rank_correlation(a: Tensor, b: Tensor) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation of each map with its counterpart.

    Parameters
    ----------
    a, b
        (N, H, W).

    Returns
    -------
    ndarray
        (N,) in [-1, 1]; 0 where a map is the same everywhere, and so ranks nothing.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import faithfulness
    >>> maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    >>> faithfulness.rank_correlation(maps, maps**3)
    array([1.])
    """
    ranks = [rankdata(maps.flatten(1).cpu().numpy(), axis=1) for maps in (a, b)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    zeros = np.zeros(len(x))
    return np.asarray(np.divide((x * y).sum(axis=1), scale, out=zeros, where=scale > 0))

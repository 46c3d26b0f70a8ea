"""Randomization test: similarity of maps before and after randomizing weights of the network."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, TypeVar

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
    """Similarity of the maps of a network before and after randomizing its layers.

    Attributes
    ----------
    shares : tuple of float
        S shares of the layers that were randomized, from the last layer backwards. A share of 0
        means the last layer only.
    correlations : ndarray of shape (S, N)
        Absolute rank correlations of the maps before and after. The absolute value is used because
        a random head is as likely to invert a map as to keep it.
    reference : ndarray of shape (N,)
        Absolute rank correlations of each map with that of the previous slice in the list (of the
        last slice for the first one): the similarity of maps of different slices.
    """

    shares: tuple[float, ...]
    correlations: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]


def randomize(model: Model, *, share: float = 1.0, seed: int = 0) -> Model:
    """Copy a network and randomize the last layers of the copy.

    A layer is any module with parameters of its own. It is reset by its ``reset_parameters``
    (batch normalization also loses its statistics). The parameters of a layer without this method
    are shuffled.

    Parameters
    ----------
    model : torch.nn.Module
        Any network; it is left unchanged.
    share : float, default=1.0
        Share of the layers to randomize, from the last backwards, in [0, 1]. At least one layer is
        randomized.
    seed : int, default=0
        Random seed for the new weights. The global random state is left unchanged.

    Returns
    -------
    torch.nn.Module
        The copy, on the same device and in the same mode.

    Raises
    ------
    ValueError
        If `share` is outside [0, 1].

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
    randomized = copy.deepcopy(model)
    layers = [part for part in randomized.modules() if any(True for _ in part.parameters(False))]
    devices = {p.device for p in randomized.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        for layer in layers[-max(1, round(share * len(layers))) :]:
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
                continue
            for parameter in layer.parameters(recurse=False):
                order = torch.randperm(parameter.numel(), device=parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return randomized


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
    """Compare maps before and after randomizing layers from the head on (Adebayo et al. 2018).

    The maps are compared with their signs and on the grid of the layer. If an explanation depends
    on what the network has learned, its maps should soon be no more similar to the original ones
    than maps of different slices are to each other.

    Parameters
    ----------
    model : CTClassifier
        The network; it is left unchanged.
    canvases : ndarray of uint8 of shape (N, H, W)
        At least two canvases.
    shares : tuple of float, default=(0.0, 0.25, 0.5, 1.0)
        Shares of the layers to randomize, from the last backwards.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.
    batch_size : int, default=32
        Number of canvases per batch.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Data type of the passes, as in :func:`covidct.devices.resolve_precision`.
    seed : int, default=0
        Random seed for the new weights.

    Returns
    -------
    RandomizationTest
        Rank correlations for each share, and reference values.

    Raises
    ------
    ValueError
        If there are fewer than two canvases.

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
            f"expected at least two canvases, so that maps can be compared; got {len(canvases)}"
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
    target: str = "covid",
    batch_size: int = 32,
    precision: Precision = "float32",
) -> Tensor:
    """Compute signed maps of many canvases on the grid of the layer.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    canvases : ndarray of uint8 of shape (N, H, W)
        Canvases to explain.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.
    target : str, default="covid"
        Class whose evidence is positive.
    batch_size : int, default=32
        Number of canvases per batch.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Data type of the passes, as in :func:`covidct.devices.resolve_precision`.

    Returns
    -------
    torch.Tensor of shape (N, h, w)
        Maps on the grid of the layer.

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
    """Compute Spearman's rank correlation of each map with its counterpart.

    Parameters
    ----------
    a, b : torch.Tensor of shape (N, H, W)
        Maps to compare.

    Returns
    -------
    ndarray of shape (N,)
        Correlations in [-1, 1]; 0 if one of the two maps is constant.

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

"""Losses of the two kinds of outputs, and the weights of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ..models.outputs import Outputs
from .recipe import Recipe

__all__ = ["Loss", "class_weights", "make_loss"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""Function from outputs of the network and codes of the true classes to the mean loss."""


def class_weights(
    recipe: Recipe, outputs: Outputs, codes: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Compute the weight of each class in the loss.

    Parameters
    ----------
    recipe : Recipe
        Training recipe. ``class_weight="balanced"`` gives all classes the same total weight: the
        weight of a class is n_slices / (n_classes * n_slices_of_the_class), as in scikit-learn.
        ``pos_weight`` then multiplies the weights of the classes that mean COVID-19.
    outputs : Outputs
        Meaning of the outputs: the classes.
    codes : ndarray of int of shape (n_slices,)
        Codes of the true classes of the training slices.

    Returns
    -------
    ndarray of shape (n_classes,)
        Weights.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct import Recipe
    >>> from covidct.models import CovidOutput
    >>> from covidct.training.loss import class_weights
    >>> recipe = Recipe(class_weight="balanced")
    >>> class_weights(recipe, CovidOutput(), np.array([0, 0, 0, 1])).round(2).tolist()
    [0.67, 2.0]
    """
    weights = np.where(outputs.is_positive, recipe.pos_weight, 1.0)
    if recipe.class_weight == "balanced":
        counts = np.bincount(codes, minlength=len(weights))
        # A class without slices keeps its weight, so that the ratios of weights stay finite.
        share = np.maximum(counts, 1) / len(codes)
        weights *= np.where(counts > 0, 1 / (len(weights) * share), 1.0)
    return weights


def make_loss(
    outputs: Outputs,
    weights: npt.NDArray[np.float64],
    device: torch.device,
    *,
    smoothing: float = 0.0,
) -> Loss:
    """Create the loss: binary cross-entropy of one logit, or cross-entropy of several outputs.

    Parameters
    ----------
    outputs : Outputs
        Meaning of the outputs of the network.
    weights : ndarray of shape (n_classes,)
        Weights of the classes. The mean of the cross-entropy is divided by the weights of the
        batch; in the binary cross-entropy, the weight of class 1 is relative to that of class 0.
    device : torch.device
        Device of the outputs.
    smoothing : float, default=0.0
        Share of the target that is spread evenly over the classes.

    Returns
    -------
    Loss
        Function from outputs and codes to the mean loss.
    """
    return _LOSSES[outputs.target](weights, device, smoothing)


def _binary(weights: npt.NDArray[np.float64], device: torch.device, smoothing: float) -> Loss:
    pos_weight = torch.tensor(float(weights[1] / weights[0]), device=device)

    def loss(outputs: Tensor, codes: Tensor) -> Tensor:
        truth = codes.float()
        smoothed = truth.lerp(torch.full_like(truth, 0.5), smoothing)
        return functional.binary_cross_entropy_with_logits(outputs, smoothed, pos_weight=pos_weight)

    return loss


def _categorical(weights: npt.NDArray[np.float64], device: torch.device, smoothing: float) -> Loss:
    weight = torch.tensor(weights, dtype=torch.float32, device=device)

    def loss(outputs: Tensor, codes: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, codes, weight=weight, label_smoothing=smoothing)

    return loss


_LOSSES: Mapping[str, Callable[[npt.NDArray[np.float64], torch.device, float], Loss]] = {
    "covid": _binary,
    "label": _categorical,
}

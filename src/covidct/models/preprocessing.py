"""Conversion of gray canvases to the normalized input of ImageNet weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Preprocessing"]

# Interpolation may leave [0, 1] by rounding errors; values in 0..255 and normalized values exceed
# this by far.
_TOLERANCE = 0.01


class Preprocessing(nn.Module):
    """Copy gray values to three channels and normalize each channel.

    Parameters
    ----------
    mean, std : tuple of (float, float, float)
        Mean and standard deviation per channel, for values in [0, 1].

    Examples
    --------
    >>> import torch
    >>> from covidct.models.preprocessing import Preprocessing
    >>> white = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    >>> Preprocessing((0.5, 0.5, 0.0), (0.5, 0.25, 1.0))(white).flatten().tolist()
    [1.0, 2.0, 1.0]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        # Constants of the network: they follow its device but are not saved with its weights.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize canvases.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, H, W)
            Canvases: uint8, or floating point in [0, 1].

        Returns
        -------
        torch.Tensor of shape (B, 3, H, W)
            Normalized images in the data type of the model's parameters.

        Raises
        ------
        TypeError
            If ``x`` is not a tensor of uint8 or floating-point values.
        ValueError
            If the shape is not (B, 1, H, W), or floating-point values are outside [0, 1]. Values
            are checked on the CPU only.
        """
        _check(x)
        gray = x.to(self.mean.dtype)
        if not x.is_floating_point():
            gray = gray / 255
        return (gray - self.mean).div_(self.std)  # in place, which saves a copy of three channels


def _check(x: Tensor) -> None:
    if not isinstance(x, Tensor) or not (x.dtype == torch.uint8 or x.is_floating_point()):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"canvases must be a tensor, uint8 or floating point; got {kind}")
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f"canvases must be gray, (B, 1, H, W); got shape {tuple(x.shape)}")
    # Reading the values would make the host wait for a GPU and would break a traced graph.
    if x.dtype == torch.uint8 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return
    low, high = x.detach().aminmax() if x.numel() else (0.0, 1.0)
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
        raise ValueError(
            f"floating-point canvases must be in [0, 1], got values from {low:.4g} to {high:.4g}; "
            "divide 0..255 by 255 or pass uint8; the model normalizes its input itself"
        )

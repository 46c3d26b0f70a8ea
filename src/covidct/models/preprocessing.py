"""From gray canvases to what ImageNet weights expect."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Preprocessing"]

# A float image may leave [0, 1] by this much (interpolation rounds); 0..255 or normalized don't.
_TOLERANCE = 0.01


class Preprocessing(nn.Module):
    """Copy gray values to three channels, and normalize each as the weights were trained.

    Parameters
    ----------
    mean, std
        Three numbers each, for values in [0, 1].

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
        # Facts of the network, not fitted: they follow the model's device, but stay out of files.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (B, 1, H, W), uint8 or floating point in [0, 1], into normalized (B, 3, H, W).

        Parameters
        ----------
        x
            The canvases.

        Returns
        -------
        torch.Tensor
            In the type of the model's parameters.

        Raises
        ------
        TypeError
            If ``x`` is no tensor, or neither uint8 nor floating point.
        ValueError
            If it is not (B, 1, H, W), or if floating-point values leave [0, 1]. The latter is
            seen on the CPU only.
        """
        _check(x)
        gray = x.to(self.mean.dtype)
        if not x.is_floating_point():
            gray = gray / 255
        return (gray - self.mean).div_(self.std)  # in place: three channels are many bytes


def _check(x: Tensor) -> None:
    if not isinstance(x, Tensor) or not (x.dtype == torch.uint8 or x.is_floating_point()):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"canvases must be a tensor, uint8 or floating point; got {kind}")
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f"canvases must be gray, (B, 1, H, W); got shape {tuple(x.shape)}")
    # Looking at the values would make the host wait for a GPU, and would break a traced graph.
    if x.dtype == torch.uint8 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return
    low, high = x.detach().aminmax() if x.numel() else (0.0, 1.0)
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
        raise ValueError(
            f"floating-point canvases must be in [0, 1], got values from {low:.4g} to {high:.4g}; "
            "divide 0..255 by 255 or pass uint8, and leave the normalization to the model"
        )

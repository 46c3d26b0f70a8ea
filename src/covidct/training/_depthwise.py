"""Float32 for convolutions whose bfloat16 gradients are slow on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["float32_depthwise"]


@contextmanager
def float32_depthwise(model: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute strided and large depthwise convolutions in float32 inside the context, on a CPU.

    oneDNN has no fast bfloat16 gradients for them. Compared with bfloat16 for all layers, a step of
    ShuffleNet takes 7/8 of the time, and a step of EfficientNet-Lite0 a third.

    Parameters
    ----------
    model : torch.nn.Module
        The model to train.
    device : torch.device
        Device of the model. Nothing changes unless it is a CPU.
    dtype : torch.dtype
        Data type of the passes. Nothing changes unless it is bfloat16.

    Examples
    --------
    >>> import covidct, torch
    >>> from covidct.training._depthwise import float32_depthwise
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> with float32_depthwise(model, torch.device("cpu"), torch.bfloat16):
    ...     _ = model(torch.zeros(2, 1, 64, 64, dtype=torch.uint8))
    """
    applies = device.type == "cpu" and dtype == torch.bfloat16
    slow = [module for module in model.modules() if applies and _is_slow(module)]
    for convolution in slow:
        convolution.forward = partial(_in_float32, convolution.forward)
    try:
        yield
    finally:
        for convolution in slow:
            del convolution.forward


def _is_slow(module: nn.Module) -> bool:
    """Return True for a trainable depthwise convolution with a stride or a kernel above 3x3."""
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels > 1
        and (max(module.stride) > 1 or max(module.kernel_size) > 3)
        and module.weight.requires_grad
    )


def _in_float32(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.autocast(images.device.type, enabled=False):
        return forward(images.float())

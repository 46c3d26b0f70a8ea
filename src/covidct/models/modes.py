"""Context managers that change the state of a model and restore it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["evaluating", "preserved_buffers"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and restore the mode of every module afterwards.

    Parameters
    ----------
    model : torch.nn.Module
        The model. Its modules may be in different modes, as those of a model with a frozen
        backbone are.

    Examples
    --------
    >>> import torch
    >>> from covidct.models.modes import evaluating
    >>> model = torch.nn.Sequential(torch.nn.Dropout().eval(), torch.nn.Dropout())
    >>> with evaluating(model):
    ...     [part.training for part in model]
    [False, False]
    >>> [part.training for part in model]
    [False, True]
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def preserved_buffers(model: nn.Module) -> Iterator[None]:
    """Restore the buffers of a model afterwards, such as the statistics of batch normalization.

    Parameters
    ----------
    model : torch.nn.Module
        The model, on any device.

    Examples
    --------
    >>> import torch
    >>> from covidct.models.modes import preserved_buffers
    >>> norm = torch.nn.BatchNorm1d(1)
    >>> with preserved_buffers(norm):
    ...     _ = norm(torch.ones(2, 1))
    >>> norm.running_mean.item()
    0.0
    """
    saved = [buffer.clone() for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, before in zip(model.buffers(), saved, strict=True):
            buffer.copy_(before)

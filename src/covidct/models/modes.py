"""Evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["evaluating"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and every part of it back into its own mode after.

    Parameters
    ----------
    model
        The model. Its parts may be in different modes, as those of one with a frozen backbone are.

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

"""Exponential moving average of the weights of a network during its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Moving average of the parameters and floating-point buffers of a model.

    The decay of step t, counted from 1, is min(decay, (1 + t) / (10 + t)), so that the initial
    weights are forgotten within a few dozen steps, as in TensorFlow's ``ExponentialMovingAverage``
    with a number of updates.

    Parameters
    ----------
    model : torch.nn.Module
        The model that is trained.
    decay : float
        Largest decay, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._live = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
        self._average = [t.detach().clone() for t in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the current weights, after each step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._average, self._live, 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Copy the average into the model."""
        torch._foreach_copy_(self._live, self._average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the weights of the model by the average within a block, then restore them."""
        weights = [tensor.detach().clone() for tensor in self._live]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._live, weights)

    def state_dict(self) -> dict[str, int | list[Tensor]]:
        """Return the average and the number of steps, for a checkpoint."""
        return {"steps": self.steps, "average": self._average}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore the output of :meth:`state_dict`."""
        steps, average = state["steps"], state["average"]
        if not isinstance(steps, int) or not isinstance(average, list):
            raise TypeError("the state of the weight average is not valid")
        self.steps = steps
        with torch.no_grad():
            torch._foreach_copy_(self._average, average)

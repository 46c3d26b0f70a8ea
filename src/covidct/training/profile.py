"""Time spent in the parts of a training."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Profile"]


class Profile:
    """Timer that sums the seconds spent in named parts of a program.

    Parameters
    ----------
    device : torch.device or None, default=None
        Device to wait for before the clock is read. None: nothing is measured, at almost no cost.

    Attributes
    ----------
    seconds : dict of str to float
        Seconds by part.

    Examples
    --------
    >>> import torch
    >>> from covidct.training.profile import Profile
    >>> profile = Profile(torch.device("cpu"))
    >>> with profile("forward"):
    ...     pass
    >>> list(profile.seconds)
    ['forward']
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add the time spent in the context to a part."""
        if self.device is None:
            yield
            return
        start = self._now(self.device)
        try:
            yield
        finally:
            self.seconds[part] += self._now(self.device) - start

    def __str__(self) -> str:
        total = sum(self.seconds.values()) or 1.0
        rows = [f"{part:<12}{s:10.2f} s {s / total:7.1%}" for part, s in self.seconds.items()]
        return "\n".join([*rows, f"{'total':<12}{total:10.2f} s"])

    @staticmethod
    def _now(device: torch.device) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

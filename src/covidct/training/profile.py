"""What the parts of a training cost."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Profile"]


class Profile:
    """Add up the seconds of named parts; one that is switched off costs next to nothing.

    Parameters
    ----------
    device
        The device to wait for before the clock is read, or None to measure nothing.

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
        """Measure the body as one more piece of ``part``."""
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

"""Sweeps: many networks on many datasets, under many variants of a recipe."""

from .estimate import duration, time_left
from .planning import PlannedRun, plan
from .presets import PRESETS, Variant
from .runner import run_sweep
from .sweep_result import SweepResult

__all__ = [
    "PRESETS",
    "PlannedRun",
    "SweepResult",
    "Variant",
    "duration",
    "plan",
    "run_sweep",
    "time_left",
]

"""Sweeps: many networks on many datasets, under many variants of a recipe."""

from .estimate import duration, time_left
from .nested import NestedResult, run_nested
from .planning import PlannedRun, plan
from .presets import PRESETS, Variant
from .runner import run_sweep
from .sweep_result import SweepResult

__all__ = [
    "PRESETS",
    "NestedResult",
    "PlannedRun",
    "SweepResult",
    "Variant",
    "duration",
    "plan",
    "run_nested",
    "run_sweep",
    "time_left",
]

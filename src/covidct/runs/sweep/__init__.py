"""Sweeps: cross-validations of several networks on several datasets, in several variants."""

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

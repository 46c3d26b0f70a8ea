"""Metrics, intervals, tests, calibration and figures, computed from arrays of predictions.

This package needs neither PyTorch nor files. Its modules are imported on first use:
``covidct.evaluation.published`` is cheap, and only ``covidct.evaluation.figures`` loads matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import calibration, figures, intervals, metrics, published, significance, tables
    from .calibration import (
        CrossFit,
        ReliabilityCurve,
        cross_fit,
        expected_calibration_error,
        fit_temperature,
        reliability_curve,
        threshold_for_sensitivity,
    )
    from .intervals import Interval, bootstrap, cluster_bootstrap, wilson
    from .metrics import (
        METRICS,
        Metric,
        confusion_matrix,
        find_metric,
        per_group,
        score,
        summarize,
        weighted_scores,
    )
    from .published import PublishedResult
    from .significance import (
        PermutationTest,
        ResampledTTest,
        corrected_resampled_ttest,
        difference_interval,
        holm,
        permutation_test,
    )
    from .tables import Table

# Public name -> the module that defines it. A module is its own home.
_HOME = {
    "METRICS": "metrics",
    "CrossFit": "calibration",
    "Interval": "intervals",
    "Metric": "metrics",
    "PermutationTest": "significance",
    "PublishedResult": "published",
    "ReliabilityCurve": "calibration",
    "ResampledTTest": "significance",
    "Table": "tables",
    "bootstrap": "intervals",
    "calibration": "calibration",
    "cluster_bootstrap": "intervals",
    "confusion_matrix": "metrics",
    "corrected_resampled_ttest": "significance",
    "cross_fit": "calibration",
    "difference_interval": "significance",
    "expected_calibration_error": "calibration",
    "figures": "figures",
    "find_metric": "metrics",
    "fit_temperature": "calibration",
    "holm": "significance",
    "intervals": "intervals",
    "metrics": "metrics",
    "per_group": "metrics",
    "permutation_test": "significance",
    "published": "published",
    "reliability_curve": "calibration",
    "score": "metrics",
    "significance": "significance",
    "summarize": "metrics",
    "tables": "tables",
    "threshold_for_sensitivity": "calibration",
    "weighted_scores": "metrics",
    "wilson": "intervals",
}

__all__ = [
    "METRICS",
    "CrossFit",
    "Interval",
    "Metric",
    "PermutationTest",
    "PublishedResult",
    "ReliabilityCurve",
    "ResampledTTest",
    "Table",
    "bootstrap",
    "calibration",
    "cluster_bootstrap",
    "confusion_matrix",
    "corrected_resampled_ttest",
    "cross_fit",
    "difference_interval",
    "expected_calibration_error",
    "figures",
    "find_metric",
    "fit_temperature",
    "holm",
    "intervals",
    "metrics",
    "per_group",
    "permutation_test",
    "published",
    "reliability_curve",
    "score",
    "significance",
    "summarize",
    "tables",
    "threshold_for_sensitivity",
    "weighted_scores",
    "wilson",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    value = module if _HOME[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

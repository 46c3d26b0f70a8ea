"""Metrics, intervals, tests, calibration and figures, computed from arrays of predictions.

This package needs neither PyTorch nor files. Its public names are imported on first use:
``covidct.evaluation.published`` is cheap, and only ``covidct.evaluation.figures`` loads matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from . import calibration, figures, intervals, metrics, published, significance, tables
    from .calibration import (
        TEMPERATURE_BOUNDS,
        CrossFit,
        ReliabilityCurve,
        cross_fit,
        expected_calibration_error,
        fit_temperature,
        reliability_curve,
        threshold_for_sensitivity,
    )
    from .figures import (
        confusion_matrices,
        forest,
        learning_curves,
        precision_recall,
        reliability,
        roc,
    )
    from .intervals import (
        Interval,
        bootstrap,
        cluster_bootstrap,
        describe_intervals,
        describe_resampling,
        wilson,
    )
    from .metrics import (
        METRICS,
        PAPER_METRICS,
        TABLE_METRICS,
        Metric,
        confusion_matrix,
        count_undefined,
        describe_undefined,
        find_metric,
        per_group,
        score,
        summarize,
        undefined_notes,
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
    from .tables import Table, percent, percent_range
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "calibration": (
                "TEMPERATURE_BOUNDS",
                "CrossFit",
                "ReliabilityCurve",
                "cross_fit",
                "expected_calibration_error",
                "fit_temperature",
                "reliability_curve",
                "threshold_for_sensitivity",
            ),
            "figures": (
                "confusion_matrices",
                "forest",
                "learning_curves",
                "precision_recall",
                "reliability",
                "roc",
            ),
            "intervals": (
                "Interval",
                "bootstrap",
                "cluster_bootstrap",
                "describe_intervals",
                "describe_resampling",
                "wilson",
            ),
            "metrics": (
                "METRICS",
                "PAPER_METRICS",
                "TABLE_METRICS",
                "Metric",
                "confusion_matrix",
                "count_undefined",
                "describe_undefined",
                "find_metric",
                "per_group",
                "score",
                "summarize",
                "undefined_notes",
                "weighted_scores",
            ),
            "published": ("PublishedResult",),
            "significance": (
                "PermutationTest",
                "ResampledTTest",
                "corrected_resampled_ttest",
                "difference_interval",
                "holm",
                "permutation_test",
            ),
            "tables": ("Table", "percent", "percent_range"),
        },
        submodules=(
            "calibration",
            "figures",
            "intervals",
            "metrics",
            "published",
            "significance",
            "tables",
        ),
    )

__all__ = [
    "METRICS",
    "PAPER_METRICS",
    "TABLE_METRICS",
    "TEMPERATURE_BOUNDS",
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
    "confusion_matrices",
    "confusion_matrix",
    "corrected_resampled_ttest",
    "count_undefined",
    "cross_fit",
    "describe_intervals",
    "describe_resampling",
    "describe_undefined",
    "difference_interval",
    "expected_calibration_error",
    "figures",
    "find_metric",
    "fit_temperature",
    "forest",
    "holm",
    "intervals",
    "learning_curves",
    "metrics",
    "per_group",
    "percent",
    "percent_range",
    "permutation_test",
    "precision_recall",
    "published",
    "reliability",
    "reliability_curve",
    "roc",
    "score",
    "significance",
    "summarize",
    "tables",
    "threshold_for_sensitivity",
    "undefined_notes",
    "weighted_scores",
    "wilson",
]

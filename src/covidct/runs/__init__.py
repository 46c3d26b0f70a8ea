"""Cross-validation runs: splits, results, comparisons, predictions and sweeps.

The public names are imported on first use, so that importing the package never loads PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from .comparison_table import distinctions, side_by_side
    from .cross_dataset import CrossDatasetMatrix, Refusal, evaluate_across
    from .cross_validator import CrossValidator
    from .ensemble import Ensemble
    from .exported import PredictorCard
    from .external_test import ExternalEvaluation
    from .out_of_distribution import TrainingReference
    from .paired_tests import PairedTest, PairedTests, compare_runs, same_folds
    from .predictions import (
        PatientPrediction,
        Prediction,
        Predictions,
        VolumePrediction,
        with_images,
    )
    from .predictor import Predictor, Scores
    from .protocol import PROTOCOLS, Protocol, split_options
    from .recalibration import CalibratedFolds
    from .result import CrossValidationResult
    from .retraining import VarianceComponents, variance_components
    from .run_spec import DatasetSpec, RunSpec, WeightsSpec
    from .scores import ScoredFolds
    from .splits import Fold, LeakageWarning, Split, make_split
    from .subgroup_gaps import Gap
    from .sweep import (
        NestedResult,
        PlannedRun,
        SweepResult,
        Variant,
        plan,
        run_nested,
        run_sweep,
        time_left,
    )
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "comparison_table": (
                "distinctions",
                "side_by_side",
            ),
            "cross_dataset": (
                "CrossDatasetMatrix",
                "Refusal",
                "evaluate_across",
            ),
            "cross_validator": ("CrossValidator",),
            "ensemble": ("Ensemble",),
            "exported": ("PredictorCard",),
            "external_test": ("ExternalEvaluation",),
            "out_of_distribution": ("TrainingReference",),
            "paired_tests": (
                "PairedTest",
                "PairedTests",
                "compare_runs",
                "same_folds",
            ),
            "predictions": (
                "PatientPrediction",
                "Prediction",
                "Predictions",
                "VolumePrediction",
                "with_images",
            ),
            "predictor": ("Predictor", "Scores"),
            "protocol": (
                "PROTOCOLS",
                "Protocol",
                "split_options",
            ),
            "recalibration": ("CalibratedFolds",),
            "result": ("CrossValidationResult",),
            "retraining": ("VarianceComponents", "variance_components"),
            "run_spec": (
                "DatasetSpec",
                "RunSpec",
                "WeightsSpec",
            ),
            "scores": ("ScoredFolds",),
            "splits": (
                "Fold",
                "LeakageWarning",
                "Split",
                "make_split",
            ),
            "subgroup_gaps": ("Gap",),
            "sweep": (
                "NestedResult",
                "PlannedRun",
                "SweepResult",
                "Variant",
                "plan",
                "run_nested",
                "run_sweep",
                "time_left",
            ),
        },
    )

__all__ = [
    "PROTOCOLS",
    "CalibratedFolds",
    "CrossDatasetMatrix",
    "CrossValidationResult",
    "CrossValidator",
    "DatasetSpec",
    "Ensemble",
    "ExternalEvaluation",
    "Fold",
    "Gap",
    "LeakageWarning",
    "NestedResult",
    "PairedTest",
    "PairedTests",
    "PatientPrediction",
    "PlannedRun",
    "Prediction",
    "Predictions",
    "Predictor",
    "PredictorCard",
    "Protocol",
    "Refusal",
    "RunSpec",
    "ScoredFolds",
    "Scores",
    "Split",
    "SweepResult",
    "TrainingReference",
    "VarianceComponents",
    "Variant",
    "VolumePrediction",
    "WeightsSpec",
    "compare_runs",
    "distinctions",
    "evaluate_across",
    "make_split",
    "plan",
    "run_nested",
    "run_sweep",
    "same_folds",
    "side_by_side",
    "split_options",
    "time_left",
    "variance_components",
    "with_images",
]

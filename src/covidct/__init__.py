"""Explainable COVID-19 detection on chest-CT slices.

The public names are imported on first use, so that ``import covidct`` stays fast and listing
networks or datasets never loads PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import attach
from ._version import __version__

if TYPE_CHECKING:
    from . import errors, evaluation, explain
    from .audit import AuditReport, audit_dataset
    from .datasets.concatenation import concat
    from .datasets.ct_dataset import CTDataset
    from .datasets.gray import to_grayscale
    from .datasets.registry import (
        DatasetInfo,
        dataset_info,
        list_datasets,
        load_dataset,
        register_dataset,
    )
    from .evaluation import published
    from .models.classifier import CTClassifier, create_model
    from .models.registry import ArchitectureInfo, list_models, model_info, register_model
    from .runs.cross_validator import CrossValidator
    from .runs.predictor import Predictor
    from .runs.result import CrossValidationResult
    from .training.lamb import Lamb
    from .training.recipe import Recipe
    from .training.trainer import Trainer
    from .transforms import AspectPreservingPad
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "audit": ("AuditReport", "audit_dataset"),
            "datasets.concatenation": ("concat",),
            "datasets.ct_dataset": ("CTDataset",),
            "datasets.gray": ("to_grayscale",),
            "datasets.registry": (
                "DatasetInfo",
                "dataset_info",
                "list_datasets",
                "load_dataset",
                "register_dataset",
            ),
            "evaluation": ("published",),
            "models.classifier": ("CTClassifier", "create_model"),
            "models.registry": (
                "ArchitectureInfo",
                "list_models",
                "model_info",
                "register_model",
            ),
            "runs.cross_validator": ("CrossValidator",),
            "runs.predictor": ("Predictor",),
            "runs.result": ("CrossValidationResult",),
            "training.lamb": ("Lamb",),
            "training.recipe": ("Recipe",),
            "training.trainer": ("Trainer",),
            "transforms": ("AspectPreservingPad",),
        },
        submodules=("errors", "evaluation", "explain"),
    )

__all__ = [
    "ArchitectureInfo",
    "AspectPreservingPad",
    "AuditReport",
    "CTClassifier",
    "CTDataset",
    "CrossValidationResult",
    "CrossValidator",
    "DatasetInfo",
    "Lamb",
    "Predictor",
    "Recipe",
    "Trainer",
    "__version__",
    "audit_dataset",
    "concat",
    "create_model",
    "dataset_info",
    "errors",
    "evaluation",
    "explain",
    "list_datasets",
    "list_models",
    "load_dataset",
    "model_info",
    "published",
    "register_dataset",
    "register_model",
    "to_grayscale",
]

"""Explainable COVID-19 detection on chest-CT slices.

The public names below are imported on first use, so that ``import covidct`` stays cheap and
listing networks or datasets never loads PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

# Public name -> the module that defines it. A name equal to the module's last part is the module.
_HOME = {
    "ArchitectureInfo": "models.registry",
    "AspectPreservingPad": "transforms",
    "AuditReport": "audit",
    "CTClassifier": "models.classifier",
    "CTDataset": "datasets.ct_dataset",
    "CrossValidationResult": "runs.result",
    "CrossValidator": "runs.cross_validator",
    "DatasetInfo": "datasets.registry",
    "Lamb": "training.lamb",
    "Predictor": "runs.predictor",
    "Recipe": "training.recipe",
    "Trainer": "training.trainer",
    "audit_dataset": "audit",
    "create_model": "models.classifier",
    "dataset_info": "datasets.registry",
    "errors": "errors",
    "evaluation": "evaluation",
    "explain": "explain",
    "list_datasets": "datasets.registry",
    "list_models": "models.registry",
    "load_dataset": "datasets.registry",
    "model_info": "models.registry",
    "published": "evaluation.published",
    "register_dataset": "datasets.registry",
    "register_model": "models.registry",
    "to_grayscale": "transforms",
}

if TYPE_CHECKING:
    from . import errors, evaluation, explain
    from .audit import AuditReport, audit_dataset
    from .datasets.ct_dataset import CTDataset
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
    from .transforms import AspectPreservingPad, to_grayscale

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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    value = module if _HOME[name].rpartition(".")[2] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

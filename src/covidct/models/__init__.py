"""Networks: the registry, the class :class:`CTClassifier`, weights and export.

The public names are imported on first use, so that looking up a network never loads PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from .classifier import CTClassifier, create_model
    from .onnx_network import OnnxNetwork
    from .outputs import CovidOutput, LabelOutputs, Outputs
    from .registry import ArchitectureInfo, list_models, model_info, register_model
    from .sharing import ModelCard, read_card
    from .weights import load_state, read_state, save_state
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "classifier": ("CTClassifier", "create_model"),
            "onnx_network": ("OnnxNetwork",),
            "outputs": ("CovidOutput", "LabelOutputs", "Outputs"),
            "registry": ("ArchitectureInfo", "list_models", "model_info", "register_model"),
            "sharing": ("ModelCard", "read_card"),
            "weights": ("load_state", "read_state", "save_state"),
        },
    )

__all__ = [
    "ArchitectureInfo",
    "CTClassifier",
    "CovidOutput",
    "LabelOutputs",
    "ModelCard",
    "OnnxNetwork",
    "Outputs",
    "create_model",
    "list_models",
    "load_state",
    "model_info",
    "read_card",
    "read_state",
    "register_model",
    "save_state",
]

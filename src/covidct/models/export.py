"""Export of a classifier, preprocessing included, to an ONNX file."""

from __future__ import annotations

import json
import logging
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._extras import require
from .._files import atomic_path
from .._version import __version__
from .modes import evaluating

__all__ = ["export_onnx"]

logger = logging.getLogger(__name__)

_OPSET = 18
_INPUT_TYPES = {"uint8": torch.uint8, "float32": torch.float32}
_TOLERANCE = 1e-3


def export_onnx(
    model: nn.Module,
    path: str | PathLike[str],
    *,
    name: str,
    input_size: tuple[int, int],
    input_type: Literal["uint8", "float32"] = "uint8",
) -> None:
    """Write a model as ONNX; see :meth:`covidct.CTClassifier.export`.

    Parameters
    ----------
    model : torch.nn.Module
        The classifier. It is exported in evaluation mode and left in its own mode.
    path : str or path-like
        The file; written only if the check passes.
    name : str
        Name of the network.
    input_size : tuple of (int, int)
        Height and width of the canvases.
    input_type : {"uint8", "float32"}, default="uint8"
        Data type of the canvases.
    """
    if input_type not in _INPUT_TYPES:
        raise ValueError(
            f"input_type must be one of {', '.join(map(repr, _INPUT_TYPES))}, got {input_type!r}"
        )
    for module in ("onnx", "onnxscript"):  # PyTorch's exporter imports them
        require(module, extra="onnx")
    require("onnxruntime", extra="onnx")
    device = next(model.parameters()).device
    canvases = _random_canvases(input_size, _INPUT_TYPES[input_type]).to(device)
    with evaluating(model), torch.inference_mode():
        logits = model(canvases)
    with evaluating(model):
        program: Any = torch.onnx.export(
            model,
            (canvases[:2],),
            input_names=["canvases"],
            output_names=["logits"],
            opset_version=_OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    program.model.metadata_props.update(
        {
            "model": name,
            "input_size": json.dumps(input_size),
            "input_type": input_type,
            "classes": json.dumps(["non-COVID", "COVID"]),
            "covidct": __version__,
        }
    )
    with atomic_path(Path(path)) as temporary:
        program.save(temporary)
        _check(temporary, canvases, logits)


def _random_canvases(size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    gray = torch.randint(0, 256, (3, 1, *size), generator=generator)
    return gray.to(dtype) if dtype == torch.uint8 else (gray / 255).to(dtype)


def _check(path: Path, canvases: Tensor, logits: Tensor) -> None:
    """Compare the logits of the file with the model's, on a batch size that was not traced."""
    session = require("onnxruntime", extra="onnx").InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"canvases": canvases.cpu().numpy()})
    expected = logits.double().cpu()
    error = ((torch.from_numpy(found) - expected).abs() / expected.abs().clamp(min=1)).max().item()
    if not error <= _TOLERANCE:
        raise RuntimeError(
            f"the ONNX file of {session.get_modelmeta().custom_metadata_map['model']} is wrong: "
            f"its logits differ from PyTorch's by {error:.2g}, more than {_TOLERANCE}; it was not "
            "kept"
        )
    logger.info("ONNX logits agree with PyTorch's within %.2g", error)

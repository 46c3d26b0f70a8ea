"""Export of a classifier, preprocessing included, to an ONNX file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._extras import require
from .._files import atomic_path
from .._version import __version__
from .modes import evaluating
from .outputs import Outputs

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
    outputs: Outputs,
    input_type: Literal["uint8", "float32"] = "uint8",
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Write a model as ONNX; see :meth:`covidct.CTClassifier.export`.

    Parameters
    ----------
    model : torch.nn.Module
        The classifier. It is exported in evaluation mode; its mode is restored afterwards.
    path : str or path-like
        The file; written only if the check passes.
    name : str
        Name of the network.
    input_size : tuple of (int, int)
        Height and width of the canvases.
    outputs : Outputs
        Meaning of the model's outputs.
    input_type : {"uint8", "float32"}, default="uint8"
        Data type of the canvases.
    metadata : mapping of str to object or None, default=None
        Further metadata, written as JSON.
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
    network = _Exported(model, outputs)
    names = ["logits", *(("labels",) if outputs.labels else ())]
    with evaluating(network), torch.inference_mode():
        expected = network(canvases)
    with evaluating(network):
        program: Any = torch.onnx.export(
            network,
            (canvases[:2],),
            input_names=["canvases"],
            output_names=names,
            opset_version=_OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    program.model.metadata_props.update(
        {key: json.dumps(value) for key, value in (metadata or {}).items()}
        | {
            "model": name,
            "input_size": json.dumps(input_size),
            "input_type": input_type,
            "target": outputs.target,
            "classes": json.dumps(outputs.classes),
            "positive": json.dumps(outputs.positive),
            "covidct": __version__,
        }
    )
    with atomic_path(Path(path)) as temporary:
        program.save(temporary)
        _check(temporary, canvases, expected)


class _Exported(nn.Module):
    """Classifier that returns the COVID logits and, with one output per label, the outputs."""

    def __init__(self, model: nn.Module, outputs: Outputs) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(self, canvases: Tensor) -> tuple[Tensor, ...]:
        values = self.model(canvases)
        return (self.outputs.covid_logit(values), *((values,) if self.outputs.labels else ()))


def _random_canvases(size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    gray = torch.randint(0, 256, (3, 1, *size), generator=generator)
    return gray.to(dtype) if dtype == torch.uint8 else (gray / 255).to(dtype)


def _check(path: Path, canvases: Tensor, outputs: tuple[Tensor, ...]) -> None:
    """Compare the outputs of the file with the model's, on a batch size that was not traced."""
    session = require("onnxruntime", extra="onnx").InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"canvases": canvases.cpu().numpy()})
    expected = [values.double().cpu() for values in outputs]
    error = max(
        ((torch.from_numpy(values) - true).abs() / true.abs().clamp(min=1)).max().item()
        for values, true in zip(found, expected, strict=True)
    )
    if not error <= _TOLERANCE:
        raise RuntimeError(
            f"the ONNX file of {session.get_modelmeta().custom_metadata_map['model']} is wrong: "
            f"its logits differ from PyTorch's by {error:.2g}, more than {_TOLERANCE}; it was "
            "deleted"
        )
    logger.info("ONNX logits agree with PyTorch's within %.2g", error)

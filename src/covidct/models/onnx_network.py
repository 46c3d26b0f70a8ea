"""Networks in ONNX files that :meth:`covidct.CTClassifier.export` wrote."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._extras import require
from ..errors import InvalidFileError
from .outputs import Outputs

__all__ = ["OnnxNetwork"]

_BATCH = 64


class OnnxNetwork:
    """Network in an ONNX file, run by ONNX Runtime on the CPU.

    Parameters
    ----------
    path : str or path-like
        File that :meth:`covidct.CTClassifier.export` wrote.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        Name of the network.
    input_size : tuple of (int, int)
        Height and width of the canvases.
    outputs : Outputs
        Meaning of the outputs.
    metadata : dict of str to object
        Metadata of the file, as :meth:`covidct.CTClassifier.export` describes them.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    InvalidFileError
        If the file is damaged, or was not written by covidct.
    ModuleNotFoundError
        If the extra ``onnx`` is not installed.

    Examples
    --------
    >>> import covidct
    >>> from covidct.models.onnx_network import OnnxNetwork
    >>> model = covidct.create_model("squeezenet", weights=None, input_size=(64, 96))
    >>> model.export("squeezenet.onnx")
    >>> OnnxNetwork("squeezenet.onnx").input_size
    (64, 96)
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        runtime = require("onnxruntime", extra="onnx")
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        try:
            self._session = runtime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
            texts = self._session.get_modelmeta().custom_metadata_map
            self.name = str(texts["model"])
            height, width = json.loads(texts["input_size"])
            self._as_bytes = texts["input_type"] == "uint8"
            self.metadata: dict[str, Any] = {name: _parsed(text) for name, text in texts.items()}
            self.outputs = Outputs.from_dict(self.metadata)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidFileError(
                f"{self.path}: not an ONNX file that covidct wrote ({error})"
            ) from error
        except Exception as error:  # ONNX Runtime's own classes, which have no common base
            raise InvalidFileError(f"{self.path}: cannot be read ({error})") from error
        self.input_size = int(height), int(width)

    def run(
        self, canvases: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Apply the network to canvases in batches.

        Parameters
        ----------
        canvases : ndarray of uint8 of shape (N, H, W)
            Canvases of `input_size`.

        Returns
        -------
        logits : ndarray of float32 of shape (N,)
            COVID logits.
        outputs : ndarray of float32 of shape (N,) or (N, n_labels)
            Outputs of the head: the logits themselves, or one output per label.
        """
        names = ["logits", "labels" if self.outputs.labels else "logits"]
        found = []
        for start in range(0, max(len(canvases), 1), _BATCH):
            batch = canvases[start : start + _BATCH, None]
            values = batch if self._as_bytes else (batch / 255).astype(np.float32)
            found.append(self._session.run(names, {"canvases": values}))
        logits, outputs = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return logits, outputs

    def __repr__(self) -> str:
        return f"OnnxNetwork({str(self.path)!r}): {self.name}, input_size={self.input_size}"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

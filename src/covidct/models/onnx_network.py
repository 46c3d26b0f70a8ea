"""Networks in ONNX files that :meth:`covidct.CTClassifier.export` wrote."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from .._extras import require
from ..errors import InvalidFileError

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
    name : str
        Name of the network.
    input_size : tuple of (int, int)
        Height and width of its canvases.
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
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidFileError(
                f"{self.path}: not an ONNX file that covidct wrote ({error})"
            ) from error
        except Exception as error:  # ONNX Runtime's own classes, which have no common base
            raise InvalidFileError(f"{self.path}: cannot be read ({error})") from error
        self.input_size = int(height), int(width)
        self.metadata: dict[str, Any] = {name: _parsed(text) for name, text in texts.items()}

    def probabilities(self, canvases: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Compute the probability of COVID-19 of canvases.

        Parameters
        ----------
        canvases : ndarray of uint8, shape (N, H, W)
            Canvases of `input_size`.

        Returns
        -------
        ndarray of float64, shape (N,)
            Probabilities.
        """
        logits = [np.empty(0, np.float32)]
        for start in range(0, len(canvases), _BATCH):
            batch = canvases[start : start + _BATCH, None]
            values = batch if self._as_bytes else (batch / 255).astype(np.float32)
            logits.append(self._session.run(["logits"], {"canvases": values})[0])
        return np.asarray(special.expit(np.concatenate(logits).astype(np.float64)))

    def __repr__(self) -> str:
        return f"OnnxNetwork({str(self.path)!r}): {self.name}, input_size={self.input_size}"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

"""Limits, settings and errors for decoding untrusted files."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

__all__ = ["MAX_BYTES", "MAX_PIXELS", "PARSER_ERRORS", "STRICT", "Refusal", "Samples"]

#: Largest size of a file in bytes, since some decoders read files as a whole.
MAX_BYTES = 1_000_000_000

#: Largest number of pixels of a slice; usual slices have a few hundred thousand.
MAX_PIXELS = 100_000_000

# Errors of PIL's parsers for broken files, which are not documented; all of these have occurred.
PARSER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Image.DecompressionBombError,
    struct.error,
    zlib.error,
)


class Refusal(Exception):
    """Reason why a file is not accepted, and the remedy; the text is written after the file's name.

    Attributes
    ----------
    skippable : bool
        False if the file may be intact and a package for reading it is missing, so that leaving it
        out does not help.
    """

    def __init__(self, reason: str, *, skippable: bool = True) -> None:
        super().__init__(reason)
        self.skippable = skippable


class Samples(NamedTuple):
    """Decoded samples of one picture.

    Attributes
    ----------
    values : ndarray of shape (height, width) or (height, width, 3)
        Gray or color values in their stored type; larger values are lighter.
    alpha : ndarray of float32 of shape (height, width) or None
        Opacity from 0 to 1.
    orientation : int
        Orientation as in EXIF; 1 if upright or unknown.
    """

    values: npt.NDArray[Any]
    alpha: npt.NDArray[np.float32] | None = None
    orientation: int = 1


class _Strict:
    """Context in which PIL does not warn, and refuses truncated files.

    Both settings are global in the process. If each thread changed and restored them by itself, one
    thread could permanently restore the changed settings of another. Therefore, all threads that
    read at the same time share one change.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._restore = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                self._restore.enter_context(warnings.catch_warnings(action="ignore"))
                self._restore.callback(_allow_truncated, ImageFile.LOAD_TRUNCATED_IMAGES)
                _allow_truncated(False)
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                self._restore.close()


def _allow_truncated(allowed: bool, /) -> None:
    ImageFile.LOAD_TRUNCATED_IMAGES = allowed


STRICT = _Strict()

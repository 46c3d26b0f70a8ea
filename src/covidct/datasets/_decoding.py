"""Decoding of untrusted files: limits, strictness, and the errors that parsers raise."""

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

#: The most bytes that a file may have: some decoders read it whole.
MAX_BYTES = 1_000_000_000

#: The most pixels that a slice may have: usual ones have a few hundred thousand.
MAX_PIXELS = 100_000_000

# PIL does not document the errors of its parsers for broken files; it has raised all of these.
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
    """Reason why a file is not accepted, and the remedy, in words that follow the file's name.

    Attributes
    ----------
    skippable : bool
        False if the file may be intact and something is missing to read it, so that leaving it out
        does not help.
    """

    def __init__(self, reason: str, *, skippable: bool = True) -> None:
        super().__init__(reason)
        self.skippable = skippable


class Samples(NamedTuple):
    """Decoded samples of one picture.

    Attributes
    ----------
    values : ndarray of shape (height, width) or (height, width, 3)
        Gray or color in the type in which they are stored; greater is lighter.
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

    Both settings belong to the whole process. If each thread set and restored them by itself, one
    could restore what another had set, for good; so all threads that read at the same time share
    one change of the settings.
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

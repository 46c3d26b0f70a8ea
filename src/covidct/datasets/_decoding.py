"""How to decode a file that nobody vouches for: how much, how strictly, and what may be raised."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from contextlib import ExitStack

from PIL import Image, ImageFile

__all__ = ["MAX_BYTES", "PARSER_ERRORS", "STRICT"]

#: The most bytes that a file may have: some decoders read it whole.
MAX_BYTES = 1_000_000_000

# PIL promises no closed list of what its parsers raise on a broken file; all these it has raised.
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


class _Strict:
    """Silence PIL's remarks, which are judged here, and let it pass no truncated file.

    Both settings belong to the whole process. Were each thread to swap them by itself, one could
    restore what another had set, for good. So all that read at the same time share one swap.
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

"""Keep freed memory in the process while a loop runs, so that its next step finds it at hand."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Options of glibc's mallopt(3), and the values with which a process starts.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_KEEPING = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}
_DEFAULTS = {_M_MMAP_MAX: 65536, _M_TRIM_THRESHOLD: 128 * 1024}

_lock = threading.Lock()
_loops = 0


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let malloc keep what is freed inside, and hand it back to the system at the end.

    By default glibc maps every block of more than a few megabytes anew and unmaps it when it is
    freed, so that each step of a loop over batches pays for having all its pages zeroed by the
    kernel: a quarter of SqueezeNet's time on a CPU. May be nested, and entered by several threads.
    Elsewhere than on glibc it does nothing.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    """Count the loops that run; the first to start and the last to end set malloc's options."""
    global _loops
    with _lock:
        _loops += change
        if _loops == max(change, 0) and platform.libc_ver()[0] == "glibc":
            libc = ctypes.CDLL(None)
            for option, value in (_KEEPING if _loops else _DEFAULTS).items():
                libc.mallopt(option, value)
            if not _loops:
                libc.malloc_trim(0)

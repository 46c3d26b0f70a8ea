"""Memory allocation in loops over batches."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Options of glibc's mallopt(3): values inside the loop, and glibc's own defaults.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_KEEPING = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}
_DEFAULTS = {_M_MMAP_MAX: 65536, _M_TRIM_THRESHOLD: 128 * 1024}
# Options that decide together which blocks are mapped and what is trimmed.
_RELATED = ("mmap_max", "mmap_threshold", "top_pad", "trim_threshold")

_lock = threading.Lock()
_loops = 0
_changed = False


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let glibc's malloc keep freed memory inside, and return it to the system at the end.

    By default glibc maps every block of more than a few megabytes separately and unmaps it when it
    is freed, so that each step of a loop over batches waits for the kernel to zero all its pages:
    a quarter of SqueezeNet's time on a CPU. The context manager may be nested and entered by
    several threads; the first to enter and the last to leave set the options of malloc.

    Nothing changes with another C library; if the environment variable ``COVIDCT_KEEP_MEMORY`` is
    ``0``; or if the process configures these options itself, by ``MALLOC_MMAP_MAX_``,
    ``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TOP_PAD_``, ``MALLOC_TRIM_THRESHOLD_`` or the equivalent
    in ``GLIBC_TUNABLES``. malloc cannot be asked for its options, which is why values set by a
    call of mallopt in the same process are not recognized.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    """Count the active loops, and set malloc's options on the first entry and the last exit."""
    global _loops, _changed
    with _lock:
        _loops += change
        if change == _loops == 1 and _may_change():
            _set_options(_KEEPING)
            _changed = True
        elif _loops == 0 and _changed:
            _set_options(_DEFAULTS).malloc_trim(0)
            _changed = False


def _may_change() -> bool:
    if platform.libc_ver()[0] != "glibc" or os.environ.get("COVIDCT_KEEP_MEMORY") == "0":
        return False
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return not any(
        f"MALLOC_{option.upper()}_" in os.environ or f"glibc.malloc.{option}=" in tunables
        for option in _RELATED
    )


def _set_options(options: dict[int, int]) -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    for option, value in options.items():
        libc.mallopt(option, value)
    return libc

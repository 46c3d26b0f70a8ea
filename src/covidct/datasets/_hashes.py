"""SHA-256 of many files, remembered as long as the files do not change.

The content hash of a large dataset reads tens of gigabytes. Therefore, the hashes of a folder's
files are cached in one file, each with the size and two times of the file: that of the last
modification, and that of the last change of any kind, which programs cannot set. A file whose times
are less than two seconds ago is hashed every time, since another change within the same tick of the
file system's clock would not be noticed ("racy Git" has the same problem and the same solution).
``COVIDCT_CACHE_HASHES=0`` disables the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .._files import sha256_of_file, write_text
from ._cache import cache_folder
from ._parallel import map_in_threads

__all__ = ["sha256_of_files"]

_RACY_NS = 2_000_000_000

# Size, time of modification, time of change, digest.
Entry = tuple[int, int, int, str]


def sha256_of_files(files: Sequence[Path]) -> list[str]:
    """Return the hex digest of each file, reading only files that are new or have changed.

    Parameters
    ----------
    files : sequence of Path
        The files.

    Returns
    -------
    list of str
        SHA-256 of each file, 64 hexadecimal digits.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    if os.environ.get("COVIDCT_CACHE_HASHES") == "0" or not files:
        return _read_all(files)
    names = [str(file.absolute()) for file in files]
    cache = _cache_file(files)
    known = _load(cache)
    states = [_state(file) for file in files]
    fresh = [
        i
        for i, (name, state) in enumerate(zip(names, states, strict=True))
        if tuple(known.get(name, ())[:3]) != state
    ]
    now = time.time_ns()
    for i, value in zip(fresh, _read_all([files[i] for i in fresh]), strict=True):
        known[names[i]] = (*states[i], value)
    digests = [known[name][3] for name in names]
    young = {names[i] for i in fresh if now - max(states[i][1:]) < _RACY_NS}
    if len(young) < len(fresh):
        with suppress(OSError):  # a cache that cannot be written costs time only
            write_text(cache, json.dumps({n: e for n, e in known.items() if n not in young}))
    return digests


def _read_all(files: Sequence[Path]) -> list[str]:
    return map_in_threads(sha256_of_file, files, description="Hashing slices")


def _cache_file(files: Sequence[Path]) -> Path:
    parents = {str(file.parent.absolute()) for file in files}
    try:
        folder = os.path.commonpath(parents)
    except ValueError:  # on several drives
        folder = min(parents)
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()
    return cache_folder() / "hashes" / f"{digest[:32]}.json"


def _state(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _load(path: Path) -> dict[str, Entry]:
    """Read the cached hashes; empty if the cache file is missing or damaged."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {name: _entry(*values) for name, values in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _entry(size: int, modified: int, changed: int, digest: str) -> Entry:
    if len(digest) != 64:
        raise ValueError(digest)
    return size, modified, changed, digest

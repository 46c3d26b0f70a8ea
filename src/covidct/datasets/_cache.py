"""Cache folder of covidct, and small results that are cached in it."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pooch

from .._files import atomic_path, write_json


def cache_folder() -> Path:
    """Return ``$COVIDCT_CACHE``, or the operating system's cache folder; it need not exist."""
    return Path(os.environ.get("COVIDCT_CACHE") or pooch.os_cache("covidct")).expanduser()


def remembered(kind: str, files: Iterable[Path], compute: Callable[[], Any]) -> Any:
    """Return a cached JSON value about files, computed again only if the files change.

    Parameters
    ----------
    kind : str
        Kind of the value, with a version of the rule that computes it.
    files : iterable of Path
        The files, identified by their paths, sizes and times of modification.
    compute : callable
        Function that computes the value.
    """
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(
            f"\0{file.absolute()}\0{status.st_size}\0{status.st_mtime_ns}".encode(
                errors="surrogateescape"
            )
        )
    return remembered_of(kind, digest.hexdigest(), compute)


def remembered_of(kind: str, key: str, compute: Callable[[], Any]) -> Any:
    """Return a cached JSON value about the object with a given key.

    Parameters
    ----------
    kind : str
        Kind of the value, with a version of the rule that computes it.
    key : str
        Identifier of the object, such as the content hash of a dataset.
    compute : callable
        Function that computes the value.
    """
    digest = hashlib.sha256(f"{kind}\0{key}".encode()).hexdigest()
    path = cache_folder() / "facts" / f"{digest[:32]}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["value"]
    except (OSError, ValueError, LookupError, TypeError):
        value = compute()
    with suppress(OSError):  # without a cache, the value is computed each time
        write_json(path, {"kind": kind, "value": value})
    return value


def remembered_arrays(
    kind: str, key: str, compute: Callable[[], dict[str, npt.NDArray[Any]]]
) -> dict[str, npt.NDArray[Any]]:
    """Return cached arrays about the object with a given key; see :func:`remembered_of`.

    Parameters
    ----------
    kind : str
        Kind of the arrays, with a version of the rule that computes them.
    key : str
        Identifier of the object, such as the content hash of a dataset.
    compute : callable
        Function that computes the arrays, by name; they must not contain Python objects.
    """
    digest = hashlib.sha256(f"{kind}\0{key}".encode()).hexdigest()
    path = cache_folder() / "facts" / f"{digest[:32]}.npz"
    try:
        with np.load(path) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error):
        arrays = compute()
    with suppress(OSError), atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # mypy takes the names for options
    return arrays

"""Hashes of files, and atomic writing: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path, *, failures: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success, flush it to disk and rename it.

    Parameters
    ----------
    path : Path
        The file to write; its folder is created if necessary.
    failures : tuple of exception types, default=()
        Exceptions that a library raises in place of an OSError; they are converted to one.

    Yields
    ------
    Path
        Temporary file in the folder of ``path``, to be written by the caller.

    Raises
    ------
    OSError
        If the file cannot be written; it names ``path``.
    """
    temporary = _create_temporary(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except failures as error:
        raise OSError(
            errno.EIO, f"cannot be written ({error}); the disk may be full", str(path)
        ) from error
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _create_temporary(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    os.close(handle)
    return Path(name)


def remove_temporary_files(folder: Path) -> None:
    """Remove temporary files of killed processes; no other process may write to the folder."""
    for temporary in folder.glob(".*.part"):
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write ``text`` as UTF-8, atomically; ``errors`` is that of :func:`open`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors, newline="")


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity raise a ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def json_ready(value: Any) -> Any:
    """Copy nested dicts and sequences; NaN and infinity, which JSON lacks, become None."""
    if isinstance(value, dict):
        return {key: json_ready(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256_of_file(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_PLACEHOLDERS = (
    (rb"version https://git-lfs", "a Git LFS pointer; run 'git lfs pull' to get the file itself"),
    (rb"(?i)\s*<(!doctype html|html|head)", "an HTML page; download the file itself"),
    (rb"\s*\{\s*\"", "a JSON document, such as the error of a server; download the file itself"),
)


def placeholder_reason(path: Path) -> str | None:
    """Recognize a file that Git or a server delivered in place of the requested one.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str or None
        Kind of the placeholder and how to get the file, to be written after the file's name; None
        if the file is not a known placeholder.
    """
    with path.open("rb") as file:
        head = file.read(100)
    found = (text for pattern, text in _PLACEHOLDERS if re.match(pattern, head))
    return next((f"is {text}" for text in found), None)

"""Which files below a folder are slices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_SUFFIXES = frozenset(
    {
        *(".bmp", ".dcm", ".dicom", ".gif", ".ima", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    }
)


class Listing(NamedTuple):
    """What lies below a folder, hidden files aside; both sorted."""

    slices: list[Path]
    others: list[Path]


def list_slices(folder: Path, *, recursive: bool = True) -> Listing:
    """Find the slices below ``folder``; links are followed, and each folder is seen once."""
    slices: list[Path] = []
    others: list[Path] = []
    for path in _walk(folder, set(), recursive=recursive):
        (slices if _is_slice(path) else others).append(path)
    return Listing(sorted(slices), sorted(others))


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders directly in ``folder``, sorted."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def is_hidden(name: str) -> bool:
    """Tell whether a name is none of the user's own files."""
    # macOS puts "__MACOSX" with a shadow of every file into the archives it makes.
    return name.startswith(".") or name == "__MACOSX"


def _walk(folder: Path, seen: set[tuple[int, int]], *, recursive: bool) -> Iterator[Path]:
    """Yield visible files; ``seen`` keeps a link back up the tree from going round forever."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return
    seen.add(identity)
    with os.scandir(folder) as entries:
        visible = sorted(entry.name for entry in entries if not is_hidden(entry.name))
    for name in visible:
        path = folder / name
        if not path.is_dir():
            yield path
        elif recursive:
            yield from _walk(path, seen, recursive=True)


def _is_slice(path: Path) -> bool:
    """Judge by the suffix; DICOM files often bear none, so their magic counts as well."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"

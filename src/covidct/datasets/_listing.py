"""Which files below a folder are slices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

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
    for path in walk(folder, recursive=recursive):
        (slices if is_slice(path) else others).append(path)
    return Listing(sorted(slices), sorted(others))


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders directly in ``folder``, sorted."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def is_hidden(name: str) -> bool:
    """Tell whether a name is none of the user's own files."""
    # macOS puts "__MACOSX" with a shadow of every file into the archives it makes; a DICOMDIR is
    # the index of a medium, and always has this name.
    return name.startswith(".") or name in ("__MACOSX", "DICOMDIR")


def walk(folder: Path, *, recursive: bool = True) -> Iterator[Path]:
    """Yield the visible files below ``folder`` in order; links are followed.

    Each folder is seen once, so that a link back up the tree does not go round forever.
    """
    seen: set[tuple[int, int]] = set()
    left = [folder]  # a stack of our own: a tree may be deeper than Python's
    while left:
        path = left.pop()
        if not path.is_dir():
            yield path
        elif (recursive or path is folder) and _is_new(path, seen):
            with os.scandir(path) as entries:
                visible = sorted(entry.name for entry in entries if not is_hidden(entry.name))
            left.extend(path / name for name in reversed(visible))


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def is_slice(path: Path) -> bool:
    """Judge by the suffix; DICOM files often bear none, so their magic counts as well."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        return path.is_file() and has_dicom_magic(path)
    except OSError:
        return True  # reading it will say what is wrong


def has_dicom_magic(path: Path) -> bool:
    """Tell whether a file begins as DICOM files do."""
    with path.open("rb") as file:
        return is_dicom(file)


def is_dicom(file: BinaryIO) -> bool:
    """Tell it of an open file, which is left at its beginning."""
    magic = file.read(132)[128:]
    file.seek(0)
    return magic == b"DICM"

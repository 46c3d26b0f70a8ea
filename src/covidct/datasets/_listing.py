"""Files below a folder, and their kinds: picture, DICOM file, volume or other file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO, Literal, NamedTuple

#: Suffixes of volume files, which are read by SimpleITK.
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")

_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_PICTURE_SUFFIXES = frozenset(
    {
        *(".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
_SUFFIXES = _PICTURE_SUFFIXES.union(_DICOM_SUFFIXES)

# macOS puts "__MACOSX" with a shadow of every file into the archives it makes, Synology "@eaDir"
# with small copies of the pictures into every folder; a DICOMDIR is the index of a medium.
_SYSTEM_NAMES = frozenset(
    {
        *("__macosx", "dicomdir", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle"),
        *("$recycle.bin", "system volume information", "lost+found"),
    }
)

#: Words in the names of segmentation masks and of their folders.
MASK_WORDS = ("mask", "masks", "seg", "segmentation", "label", "labels", "msk")

Kind = Literal["picture", "dicom", "volume", "other"]


class Listing(NamedTuple):
    """Files below a folder except hidden ones, sorted."""

    slices: list[Path]
    others: list[Path]


def list_slices(folder: Path, *, recursive: bool = True) -> Listing:
    """Find the slices below ``folder``; links are followed, and each folder is visited once."""
    slices: list[Path] = []
    others: list[Path] = []
    for path in walk(folder, recursive=recursive):
        (slices if is_slice(path) else others).append(path)
    return Listing(sorted(slices), sorted(others))


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders directly in ``folder``, sorted, without links to its parents."""
    here = folder.resolve()
    above = {here, *here.parents}
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not is_hidden(path.name) and path.resolve() not in above
    )


def is_hidden(name: str) -> bool:
    """Return True if a file or folder is hidden, or was created by the system or a program."""
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def walk(folder: Path, *, recursive: bool = True) -> Iterator[Path]:
    """Yield the visible files below ``folder`` in order; links are followed.

    Each folder is visited once, so that a link to a parent folder does not cause an infinite loop.
    """
    seen: set[tuple[int, int]] = set()
    stack = [folder]  # explicit, since a tree may be deeper than Python's recursion limit
    while stack:
        path = stack.pop()
        if not path.is_dir():
            yield path
        elif (recursive or path is folder) and _is_new(path, seen):
            with os.scandir(path) as entries:
                visible = sorted(entry.name for entry in entries if not is_hidden(entry.name))
            stack.extend(path / name for name in reversed(visible))


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def is_slice(path: Path) -> bool:
    """Return True for pictures and DICOM files, by the suffix or the first bytes of DICOM."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        return path.is_file() and has_dicom_magic(path)
    except OSError:
        return True  # reading it will raise an error with the reason


def is_picture(name: str) -> bool:
    """Return True if a file name has the suffix of a picture."""
    return name[name.rfind(".") :].lower() in _PICTURE_SUFFIXES


def volume_suffix(path: PurePath) -> str | None:
    """Return the suffix of a volume file, or None for another file."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES[::-1] if name.endswith(suffix)), None)


def file_kind(path: Path) -> Kind:
    """Return the kind of a file by its first bytes or, if these are not conclusive, its name."""
    if volume_suffix(path):
        return "volume"
    suffix = path.suffix.lower()
    try:
        if path.is_file() and has_dicom_magic(path):
            return "dicom"
    except OSError:
        return "dicom" if suffix not in _PICTURE_SUFFIXES else "picture"
    if suffix in _PICTURE_SUFFIXES:
        return "picture"
    return "dicom" if suffix in _DICOM_SUFFIXES else "other"


def has_dicom_magic(path: Path) -> bool:
    """Return True if a file begins like a DICOM file, with or without a preamble."""
    with path.open("rb") as file:
        return is_dicom(file)


def is_dicom(file: BinaryIO) -> bool:
    """Return True if an open file begins like a DICOM file; the file is rewound."""
    head = file.read(132)
    file.seek(0)
    return head[128:] == b"DICM" or head[:4] == b"DICM" or _is_data_set(head)


def _is_data_set(head: bytes) -> bool:
    """Recognize DICOM without its preamble: two elements of group 2 or 8, in ascending order."""
    group, element = head[:2], int.from_bytes(head[2:4], "little")
    if group not in (b"\x02\0", b"\x08\0") or element > 0x18:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if explicit and head[4:6] == b"OB":  # the version of group 2: a longer header
        end = 12 + int.from_bytes(head[8:12], "little")
    elif explicit:
        end = 8 + int.from_bytes(head[6:8], "little")
    else:
        end = 8 + int.from_bytes(head[4:8], "little")
    following = int.from_bytes(head[end + 2 : end + 4], "little")
    return head[end : end + 2] == group and following > element


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key by which 'IM2' comes before 'IM10'."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def words_of(name: str) -> list[str]:
    """Return the words of the name of a file or folder in lower case."""
    return [word for word in re.split(r"[-_ .]", name.casefold()) if word]


def names_mask(name: str) -> bool:
    """Return True if a name contains a word for masks, such as "mask"."""
    return any(word in MASK_WORDS for word in words_of(name))

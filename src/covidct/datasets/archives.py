"""Safe unpacking of untrusted archives.

Every member is checked before it is written: it must be a plain file or a folder, and its path must
stay below the target. Number and total size of the members must not exceed those of the dataset.
"""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, NamedTuple

from ..errors import InvalidFileError
from ._listing import is_hidden

__all__ = ["is_archive", "unpack"]

# Largest ratio of unpacked to packed size: images hardly compress, and an archive with a higher
# ratio is probably a bomb.
_MAX_RATIO = 100
_CHUNK = 1 << 20
# Errors that Python's parsers raise for a broken archive, found by fuzzing.
_PARSER_ERRORS = (
    *(EOFError, LookupError, NotImplementedError, OSError, RuntimeError, ValueError),
    *(lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error),
)
# Numbers of OSErrors that are caused by the archive, not by a full disk, for example: errors of
# decompressors do not have a number, and the rest come from names of members.
_ARCHIVE_ERRNOS = (
    None,
    errno.EEXIST,
    errno.EINVAL,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
)


class _Member(NamedTuple):
    name: str
    size: int
    open: Callable[[], IO[bytes] | None] | None  # None for a folder


def is_archive(path: Path) -> bool:
    """Return True if a file is a ZIP or TAR archive, of any compression that Python supports."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except EOFError:  # a truncated, compressed TAR archive
        return False


def unpack(archive: Path, target: Path, *, max_files: int, max_bytes: int) -> None:
    """Unpack a ZIP or TAR archive into a new folder; after an error, no folder remains.

    Hidden files and the metadata files of macOS are left out.

    Parameters
    ----------
    archive : Path
        The archive.
    target : Path
        Folder to create; it must not exist.
    max_files : int
        Largest number of members.
    max_bytes : int
        Largest total size of the members, in bytes.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the archive is damaged or encrypted; if it has a link, a device, an absolute path, a
        path with ``..`` or the same name twice; or if it exceeds a limit.
    FileExistsError
        If `target` exists.
    """
    if target.exists():
        raise FileExistsError(f"cannot unpack {archive} into {target}: the folder exists")
    budget = min(max_bytes, _MAX_RATIO * archive.stat().st_size)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial_folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _unpack_members(archive, partial_folder, max_files, budget)
        partial_folder.chmod(0o755)
        partial_folder.replace(target)
    except InvalidFileError:
        raise
    except _PARSER_ERRORS as error:
        if isinstance(error, OSError) and error.errno not in _ARCHIVE_ERRNOS:
            raise
        raise InvalidFileError(f"{archive} is not an intact archive: {error}") from error
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)


def _unpack_members(archive: Path, target: Path, max_files: int, budget: int) -> None:
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    for number, member in enumerate(members(archive), start=1):
        parts = _safe_parts(member.name, archive)
        if number > max_files:
            raise InvalidFileError(f"{archive} is refused: more than {max_files:,} members")
        if member.open is None or any(map(is_hidden, parts)):
            continue
        # The size in a header may be wrong, so the written bytes are counted as well.
        left = _copy(member, target.joinpath(*parts), budget) if member.size <= budget else -1
        if left < 0:
            raise InvalidFileError(
                f"{archive} is refused: {member.name!r} would exceed the {budget:,} bytes that are "
                "left of the size of the dataset"
            )
        budget = left


def _copy(member: _Member, path: Path, budget: int) -> int:
    """Write one member and return the rest of `budget`, negative if it was exceeded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = member.open() if member.open is not None else None
    if source is None:
        return -1
    with source, path.open("xb") as file:
        while budget >= 0 and (chunk := source.read(_CHUNK)):
            budget -= len(chunk)
            file.write(chunk)
    return budget


def _safe_parts(name: str, archive: Path) -> tuple[str, ...]:
    """Split a member's path; refuse a path that leaves the target on any operating system."""
    path = PureWindowsPath(name)  # splits at both kinds of slash and knows drives
    if path.anchor or ".." in path.parts:
        raise InvalidFileError(
            f"{archive} is refused: its member {name!r} would be written outside of the target"
        )
    return path.parts


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                _refuse_special(info.filename, archive)
            opened = None if info.is_dir() else partial(file.open, info)
            yield _Member(info.filename, info.file_size, opened)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as file:
        for info in file:
            if not (info.isreg() or info.isdir()):
                _refuse_special(info.name, archive)
            opened = None if info.isdir() else partial(file.extractfile, info)
            yield _Member(info.name, info.size, opened)


def _refuse_special(name: str, archive: Path) -> None:
    raise InvalidFileError(f"{archive} is refused: its member {name!r} is a link or a device")

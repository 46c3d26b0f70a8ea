"""Downloads of datasets: from the web with pooch, from Kaggle with kagglehub."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, NamedTuple

import pooch
from filelock import FileLock
from tqdm import tqdm

from .._extras import require
from . import archives
from .info import DatasetInfo

__all__ = ["Limits", "install"]

logger = logging.getLogger(__name__)

TIMEOUT = 30  # seconds without data after which a connection is closed
RETRIES = 3
_CHUNK = 1 << 18


class Limits(NamedTuple):
    """Largest number and total size (in bytes) of the files of a dataset."""

    files: int
    bytes: int


def install(
    info: DatasetInfo,
    root: Path,
    *,
    folders: Iterable[str],
    limits: Limits,
    check: Callable[[Path], None],
) -> None:
    """Download a dataset and move its missing class folders into `root`.

    Files are downloaded, unpacked and checked in a hidden folder first, so that a class folder is
    installed completely or not at all. Processes that install into the same root wait for each
    other.

    Parameters
    ----------
    info : DatasetInfo
        Entry of the registry; its `source` and `archives` name the files.
    root : Path
        Folder to install into; created if necessary.
    folders : iterable of str
        Names of the class folders.
    limits : Limits
        Limits of the download and of the unpacked files.
    check : callable
        Function that is called with the hidden folder of the class folders, and raises an error if
        their files are wrong.

    Raises
    ------
    ValueError
        If `info` has no `source`.
    OSError
        If the download fails after several attempts.
    covidct.errors.InvalidFileError
        If the downloaded files are not the expected ones.
    """
    scheme = info.source.partition(":")[0]
    if scheme not in _FETCHERS:
        raise ValueError(
            f"dataset {info.name!r} cannot be downloaded; to get it: {info.how_to_get}"
        )
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".download.lock"):
        absent = [folder for folder in folders if not (root / folder).exists()]
        if not absent:
            return  # another process was faster
        staging = root / ".download"
        shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed
        try:
            fetched, content = staging / "fetched", staging / "content"
            content.mkdir(parents=True)
            _FETCHERS[scheme](info, fetched, limits)
            for folder in folders:
                _find_folder(folder, fetched, info).replace(content / folder)
            check(content)
            for folder in absent:
                (content / folder).replace(root / folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    logger.info("installed dataset %s in %s", info.name, root)


def _from_web(info: DatasetInfo, target: Path, limits: Limits) -> None:
    """Download and unpack the archives below ``info.source``."""

    def download(url: str, path: str, _: object) -> None:
        _download_archive(url, Path(path), limits.bytes)

    web = pooch.create(
        path=target.with_name("archives"),
        base_url=info.source,
        registry=dict.fromkeys(info.archives),  # the content of each file is checked later
        retry_if_failed=RETRIES,
    )
    for name in info.archives:
        try:
            archive = Path(web.fetch(name, downloader=download))
        except (OSError, ValueError) as error:
            raise OSError(
                f"could not download {info.source}{name}: {error}. {_by_hand(info)}"
            ) from error
        archives.unpack(
            archive,
            target / name.partition(".")[0],
            max_files=limits.files,
            max_bytes=limits.bytes,
        )
        archive.unlink()


def _download_archive(url: str, path: Path, max_bytes: int) -> None:
    """Download one file; pooch tries again after a ValueError."""
    name = url.rpartition("/")[2]
    bar = tqdm(total=1, desc=name, unit="B", unit_scale=True, disable=None, leave=False)
    with path.open("wb") as file, bar:
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, timeout=TIMEOUT)
        get(url, _Bounded(file, max_bytes), None)
    if not archives.is_archive(path):
        raise ValueError("the downloaded file is truncated or not an archive")


class _Bounded:
    """File object that accepts a limited number of bytes, so that a server cannot fill the disk."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file = file
        self._left = max_bytes

    def write(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise OSError("the server sends more bytes than the dataset has")
        self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()


def _from_kaggle(info: DatasetInfo, target: Path, limits: Limits) -> None:
    """Copy the download of kagglehub, which unpacks into its own cache with its own limits."""
    del limits
    kagglehub = require("kagglehub", extra="kaggle")
    handle = info.source.partition(":")[2]
    try:
        cached = kagglehub.dataset_download(handle)
    except OSError as error:
        raise OSError(f"could not download Kaggle's {handle}: {error}. {_by_hand(info)}") from error
    shutil.copytree(cached, target)


def _find_folder(name: str, below: Path, info: DatasetInfo) -> Path:
    """Find a class folder; archives differ in the folders around it."""
    found = [Path(parent) / name for parent, folders, _ in os.walk(below) if name in folders]
    if not found:
        raise FileNotFoundError(
            f"the download of dataset {info.name!r} from {info.source} has no folder {name!r}; "
            f"expected: {info.layout}. {_by_hand(info)}"
        )
    return max(found, key=lambda path: len(path.parts))


def _by_hand(info: DatasetInfo) -> str:
    return f"Try again, or download it by hand from {info.home}: {info.how_to_get}"


_FETCHERS: dict[str, Callable[[DatasetInfo, Path, Limits], None]] = {
    "http": _from_web,
    "https": _from_web,
    "kaggle": _from_kaggle,
}

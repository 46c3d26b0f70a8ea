"""Conversion of slices of any size to gray canvases of one size, which are cached."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout
from PIL import Image
from torchvision.transforms import v2
from tqdm import tqdm

from .._files import atomic_path
from .._text import in_bytes
from ..errors import InvalidSliceError, UnknownNameError
from ..transforms import AspectPreservingPad, checked_size
from ._cache import cache_folder
from .ct_dataset import CTDataset
from .gray import to_grayscale

__all__ = [
    "RESIZES",
    "CachedCanvases",
    "cached_canvases",
    "canvas_folder",
    "clear_canvases",
    "keep_canvases",
    "make_canvases",
    "map_canvases",
    "to_canvas",
]

Canvas = npt.NDArray[np.uint8]
CanvasMap = np.memmap[Any, np.dtype[np.uint8]]
Size = tuple[int, int]

#: Methods for resizing a slice to the canvas; ``"stretch"`` ignores its aspect ratio.
RESIZES: dict[str, Callable[[Size], Callable[[Image.Image], Image.Image]]] = {
    "pad": AspectPreservingPad,
    "stretch": v2.Resize,
}

# Part of every key in the cache, to be raised if the same slices give different pixels.
_VERSION = 2
# Number of slices that are decoded before they are written, which limits the memory.
_BLOCK = 64

_logger = logging.getLogger(__name__)


def to_canvas(image: Image.Image, size: Sequence[int], *, resize: str = "pad") -> Canvas:
    """Convert a slice to a gray canvas.

    Scaling is bilinear and antialiased, by PIL: on single 8-bit channels it is faster than
    torchvision on tensors, from which it differs by at most one gray level.

    Parameters
    ----------
    image : PIL.Image.Image
        The slice, in any mode.
    size : tuple of (int, int)
        Height and width of the canvas.
    resize : {"pad", "stretch"}, default="pad"
        ``"pad"`` keeps the aspect ratio (:class:`covidct.AspectPreservingPad`, black margin);
        ``"stretch"`` does not, and fills the canvas.

    Returns
    -------
    ndarray of uint8 of shape (height, width)
        With ``"pad"``, equal to ``AspectPreservingPad(size)(to_grayscale(image))``.

    Raises
    ------
    ValueError
        If `size` is not two positive integers, or `resize` is unknown.

    Examples
    --------
    >>> from PIL import Image
    >>> from covidct.datasets.canvases import to_canvas
    >>> to_canvas(Image.new("RGB", (512, 416)), (253, 349)).shape
    (253, 349)
    """
    return _canvas(image, _fitter(checked_size(size), resize))


def make_canvases(
    dataset: CTDataset,
    size: Sequence[int],
    *,
    resize: str = "pad",
    n_jobs: int | None = None,
) -> CanvasMap:
    """Convert the slices of a dataset to canvases, or map them from the cache.

    The canvases are stored in a file in ``canvases`` below covidct's cache folder (the environment
    variable ``COVIDCT_CACHE``, or the user's cache folder), which can be deleted at any time. Its
    name depends on the dataset's content, the size and `resize`, and later calls map the same file.
    It is written under a temporary name and then renamed, so that it is always complete; temporary
    files of killed processes are removed. If several processes need the same canvases, one of them
    computes them while the other processes wait.

    Parameters
    ----------
    dataset : CTDataset
        The slices.
    size : tuple of (int, int)
        Height and width of the canvases.
    resize : {"pad", "stretch"}, default="pad"
        As in :func:`to_canvas`.
    n_jobs : int, optional
        Number of threads, as in joblib. By default, one per core.

    Returns
    -------
    memmap of uint8 of shape (n_slices, height, width)
        Read-only canvases in the order of the dataset.

    Raises
    ------
    covidct.errors.InvalidFileError
        If a slice cannot be read; the message names its file.
    ValueError
        If `size` is not two positive integers, or `resize` is unknown.
    OSError
        If the cache cannot be written, or its disk does not have enough free space, which is
        checked before the first slice is decoded.

    Examples
    --------
    >>> import covidct
    >>> from covidct.datasets.canvases import make_canvases
    >>> make_canvases(covidct.load_dataset("phantom", n=4, seed=0), (64, 96)).shape
    (4, 64, 96)
    """
    size = checked_size(size)
    fit = _fitter(size, resize)
    shape = (len(dataset), *size)
    key = json.dumps([_VERSION, dataset.content_hash(), size, resize])
    digest = hashlib.sha256(key.encode()).hexdigest()
    path = canvas_folder() / f"{size[0]}x{size[1]}-{resize}-{digest}.npy"

    def rows() -> Iterator[Canvas]:
        return _each(dataset, fit, n_jobs=n_jobs)

    return keep_canvases(path, shape, rows)


def keep_canvases(
    path: Path, shape: tuple[int, int, int], rows: Callable[[], Iterable[Canvas]]
) -> CanvasMap:
    """Map a file of canvases in the cache, and write it first if it is missing.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of (int, int, int)
        Number, height and width of the canvases.
    rows : callable
        Function that returns an iterable of the canvases, ndarrays of uint8 of shape (height,
        width). It is called by one process, while the file is locked, after the free space was
        checked.

    Returns
    -------
    memmap of uint8 of `shape`
        Read-only canvases.

    Raises
    ------
    OSError
        If the cache cannot be written, or its disk does not have enough free space.
    """
    # First without the lock, since a complete cache may be on a read-only disk.
    canvases = _load(path, shape)
    if canvases is None:
        with _storage_errors(path.parent, math.prod(shape)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                canvases = _load(path, shape)
                if canvases is None:
                    _remove_temporary_files(path)
                    _check_free_space(path.parent, math.prod(shape))
                    _write(path, shape, rows())
                    canvases = _map(path, shape)
    return canvases


def map_canvases(path: Path) -> CanvasMap:
    """Map the canvases in a file that :func:`make_canvases` has written.

    Parameters
    ----------
    path : Path
        The file, such as the attribute ``filename`` of the canvases in another process.

    Returns
    -------
    memmap of uint8 of shape (n_slices, height, width)
        Read-only canvases.

    Raises
    ------
    FileNotFoundError
        If the file is missing, for example on a machine with a different cache folder.
    """
    try:
        return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]  # an array of any type
    except FileNotFoundError as error:
        raise FileNotFoundError(
            errno.ENOENT,
            "the canvases are missing on this machine; set COVIDCT_CACHE to a folder that all "
            "machines share, under the same path, and start the run again",
            str(path),
        ) from error


class CachedCanvases(NamedTuple):
    """Description of a file of canvases in the cache.

    Attributes
    ----------
    path : Path
        The file.
    n_slices, height, width : int
        Shape of the canvases.
    resize : {"pad", "stretch", "audit"}
        Option of :func:`make_canvases`; ``"audit"`` for the measurements of an audit.
    n_bytes : int
        Size of the file.
    made : datetime
        Time when the file was written.
    """

    path: Path
    n_slices: int
    height: int
    width: int
    resize: str
    n_bytes: int
    made: datetime


def cached_canvases() -> list[CachedCanvases]:
    """List the canvases in the cache, the largest first.

    Returns
    -------
    list of CachedCanvases
        One entry per file.

    Examples
    --------
    >>> from covidct.datasets.canvases import cached_canvases
    >>> total = sum(canvases.n_bytes for canvases in cached_canvases())
    """
    found = [_describe(path) for path in canvas_folder().glob("*.npy")]
    return sorted((f for f in found if f is not None), key=lambda f: f.n_bytes, reverse=True)


def clear_canvases() -> list[CachedCanvases]:
    """Remove canvases, and temporary files of killed processes, from the cache.

    Canvases that a process is currently writing are kept. Removed canvases are computed again when
    they are needed. A training that has mapped a file continues; on Windows, such a file is kept.

    Returns
    -------
    list of CachedCanvases
        The removed files.

    Examples
    --------
    >>> import covidct
    >>> from covidct.datasets.canvases import clear_canvases, make_canvases
    >>> canvases = make_canvases(covidct.load_dataset("phantom", n=4, seed=0), (64, 96))
    >>> [removed.n_slices for removed in clear_canvases()]
    [4]
    >>> len(canvases)  # still mapped
    4
    """
    removed = []
    for canvases in cached_canvases():
        try:
            canvases.path.unlink(missing_ok=True)
        except PermissionError as error:  # mapped by another process, on Windows
            _logger.warning("%s is kept: %s", canvases.path, error)
        else:
            removed.append(canvases)
    for remains in canvas_folder().glob(".*.part"):
        path = canvas_folder() / re.sub(r"^\.(.*\.npy)\..*\.part$", r"\1", remains.name)
        try:
            with FileLock(path.with_suffix(".lock"), timeout=0):
                remains.unlink(missing_ok=True)
        except Timeout:
            _logger.info("%s is kept: it is being written", remains)
    return removed


def canvas_folder() -> Path:
    """Return the folder of the canvases in the cache; it need not exist."""
    return cache_folder() / "canvases"


def _describe(path: Path) -> CachedCanvases | None:
    """Describe a file of canvases; None for a file that is not readable as one."""
    name = re.match(r"\d+x\d+-(\w+)-", path.name)
    try:
        n_slices, height, width = np.load(path, mmap_mode="r").shape
        status = path.stat()
    except (OSError, ValueError):
        return None
    made = datetime.fromtimestamp(status.st_mtime).astimezone()
    resize = name[1] if name else ""
    return CachedCanvases(path, n_slices, height, width, resize, status.st_size, made)


def _check_free_space(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {in_bytes(free)} are free")
    _logger.info("%s of canvases are written to %s", in_bytes(n_bytes), folder)


def _fitter(size: Size, resize: str) -> Callable[[Image.Image], Image.Image]:
    if resize not in RESIZES:
        kind = "resize"
        raise UnknownNameError.among(kind, resize, RESIZES)
    return RESIZES[resize](size)


def _canvas(image: Image.Image, fit: Callable[[Image.Image], Image.Image]) -> Canvas:
    return np.asarray(fit(to_grayscale(image)))


def _load(path: Path, shape: tuple[int, ...]) -> CanvasMap | None:
    """Map the cached canvases; return None if they are missing or unusable."""
    try:
        return _map(path, shape)
    except FileNotFoundError:
        return None
    except (OSError, OverflowError, TypeError, ValueError) as error:
        _logger.warning("%s cannot be used (%s); the canvases are computed again", path, error)
        return None


def _map(path: Path, shape: tuple[int, ...]) -> CanvasMap:
    canvases: CanvasMap = np.lib.format.open_memmap(path, mode="r")
    if canvases.shape != shape or canvases.dtype != np.uint8 or not canvases.flags.c_contiguous:
        raise ValueError(
            f"expected uint8 canvases of shape {shape}, got {canvases.dtype} {canvases.shape}"
        )
    if path.stat().st_size != canvases.offset + canvases.nbytes:
        raise ValueError("the file has a wrong length")
    return canvases


def _each(
    dataset: CTDataset, fit: Callable[[Image.Image], Image.Image], *, n_jobs: int | None
) -> Iterator[Canvas]:
    """Yield the canvases of a dataset, which are decoded in threads block by block."""

    def make(index: int) -> Canvas:
        return _canvas(_read(dataset, index), fit)

    # Threads are used even within another joblib backend: they share the dataset and start fast.
    with joblib.Parallel(-1 if n_jobs is None else n_jobs, require="sharedmem") as parallel:
        for start in range(0, len(dataset), _BLOCK):
            block = range(start, min(start + _BLOCK, len(dataset)))
            yield from parallel(joblib.delayed(make)(index) for index in block)


def _write(path: Path, shape: tuple[int, int, int], rows: Iterable[Canvas]) -> None:
    description = f"Making canvases ({in_bytes(math.prod(shape))})"
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with (
        tqdm(rows, description, shape[0], disable=None, leave=False) as progress,
        atomic_path(path) as temporary,
        temporary.open("wb") as file,
    ):
        # Written instead of mapped: on a full disk, storing into a map kills the process.
        np.lib.format.write_array_header_1_0(file, header)
        file.writelines(np.ascontiguousarray(canvas).data for canvas in progress)


def _read(dataset: CTDataset, index: int) -> Image.Image:
    try:
        return dataset.read(index)
    except OSError as error:  # distinguished from those of the cache
        raise InvalidSliceError(f"{dataset.names[index]!r} cannot be read: {error}") from error


def _remove_temporary_files(path: Path) -> None:
    """Remove temporary files of killed processes; to be called while holding the lock."""
    for remains in path.parent.glob(f".{path.name}.*.part"):
        remains.unlink(missing_ok=True)


@contextmanager
def _storage_errors(folder: Path, n_bytes: int) -> Iterator[None]:
    """Add advice to the error that is raised if the cache cannot be written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot store {in_bytes(n_bytes)} of canvases in {str(folder)!r} "
            f"({error.strerror or error}); set COVIDCT_CACHE to a folder with enough space, or "
            "remove earlier canvases with 'covidct datasets --cache --clear'",
        ) from error

"""Reading of one CT slice: a frame of a picture, a DICOM file or a volume file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._text import counted
from ..errors import InvalidFileError
from . import volumes
from ._listing import file_kind
from .dicom import file_frame, orientation_of
from .dicom_file import DicomFile, guarded
from .gray import WindowChoice, as_window
from .reading import read_image
from .series import radiological

__all__ = ["find_hu", "read_frame", "read_hu", "read_mask"]

StrPath = str | os.PathLike[str]

# Size in bytes from which the header of a DICOM file is cached; files of one slice are smaller.
_LARGE = 4_000_000
# Approximate memory of the tags of a frame, in bytes.
_HEADER_BYTES = 20_000


def read_frame(path: StrPath, frame: int = 0, *, window: WindowChoice = "lung") -> Image.Image:
    """Read one slice of a picture, a DICOM file or a volume file.

    The patient's right is on the image's left and anterior is up, if the file contains its
    orientation.

    Parameters
    ----------
    path : str or path-like
        The file.
    frame : int, default=0
        Stored index of the slice in the file.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Display window of slices in Hounsfield units, as in
        :func:`covidct.datasets.dicom.read_slice`.

    Returns
    -------
    PIL.Image.Image
        The slice, in mode "L" except for pictures.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file cannot be read, or has no such frame.
    ModuleNotFoundError
        If pydicom or SimpleITK is needed and not installed.
    ValueError
        If ``window`` is not one of these.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.frames import read_frame
    >>> read_frame(get_testdata_file("CT_small.dcm", download=False)).size
    (128, 128)
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "volume":
        pixels = volumes.read_pixels(path)
        _check_frame(path, frame, len(pixels.values))
        return Image.fromarray(volumes.shown(pixels, frame, window))
    if kind == "dicom":
        chosen = as_window(window)
        with guarded(path):
            return file_frame(_opened(path), frame, chosen)
    _check_frame(path, frame, 1)
    return read_image(path, window=window)


def read_hu(path: StrPath, frame: int = 0) -> npt.NDArray[np.float32]:
    """Read one slice in Hounsfield units, in the orientation of :func:`read_frame`.

    Parameters
    ----------
    path : str or path-like
        A DICOM or volume file.
    frame : int, default=0
        Stored index of the slice in the file.

    Returns
    -------
    ndarray of shape (height, width)
        Hounsfield units.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file cannot be read, has no such frame, or is not in Hounsfield units.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.frames import read_hu
    >>> read_hu(get_testdata_file("CT_small.dcm", download=False)).min()
    np.float32(-896.0)
    """
    units = find_hu(path, frame)
    if units is None:
        raise InvalidFileError(
            f"{str(path)!r} is not in Hounsfield units; export it again with its rescale tags"
        )
    return units


def find_hu(path: StrPath, frame: int = 0) -> npt.NDArray[np.float32] | None:
    """Read one slice like :func:`read_hu`, or return None if it is not in Hounsfield units."""
    path = Path(path)
    kind = file_kind(path)
    if kind == "volume":
        pixels = volumes.read_pixels(path)
        _check_frame(path, frame, len(pixels.values))
        if pixels.content == "hu":
            return np.asarray(pixels.values[frame], np.float32) + np.float32(pixels.offset)
    elif kind == "dicom":
        with guarded(path):
            file = _opened(path)
            _check_frame(path, frame, file.frames)
            units = file.hu(frame)
            return None if units is None else radiological(units, orientation_of(file, frame))
    return None


def read_mask(path: StrPath, frame: int = 0) -> npt.NDArray[np.bool_]:
    """Read a mask of one slice, in the orientation of :func:`read_frame`.

    Parameters
    ----------
    path : str or path-like
        A picture or volume file; the mask consists of its nonzero pixels.
    frame : int, default=0
        Stored index of the slice in a volume file.

    Returns
    -------
    ndarray of bool of shape (height, width)
        The mask.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file cannot be read, or has no such frame.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from covidct.datasets.frames import read_mask
    >>> path = Path(tempfile.mkdtemp(), "mask.png")
    >>> Image.new("L", (4, 3), 255).save(path)
    >>> read_mask(path).all()
    np.True_
    """
    path = Path(path)
    if file_kind(path) == "volume":
        pixels = volumes.read_pixels(path)
        _check_frame(path, frame, len(pixels.values))
        return np.asarray(pixels.values[frame] != 0, np.bool_)
    _check_frame(path, frame, 1)
    return np.asarray(np.asarray(read_image(path).convert("RGB")).max(axis=2) > 0, np.bool_)


def _opened(path: Path) -> DicomFile:
    """Read the header of a DICOM file; the headers of files with many frames are cached."""
    if path.stat().st_size < _LARGE:
        return DicomFile(path)
    file: DicomFile = volumes.CACHE.get(
        path, lambda: DicomFile(path), lambda opened: _HEADER_BYTES * opened.frames
    )
    return file


def _check_frame(path: Path, frame: int, frames: int) -> None:
    if not 0 <= frame < frames:
        raise InvalidFileError(
            f"{str(path)!r} has {counted(frames, 'frame')}, so no frame {frame} (counted from 0)"
        )

"""CT slices and series in DICOM files, as 8-bit gray values of a display window.

Needs pydicom: ``pip install 'covidct[dicom]'``. Messages and logs contain no text from a file
except UIDs and the names of tags, so that they do not identify the patient.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from .._text import counted, some
from ..errors import InvalidFileError, UnknownNameError
from ._listing import has_dicom_magic, is_hidden
from ._parallel import each_in_threads
from .dicom_file import DicomFile, Refusal, guarded
from .gray import Window, WindowChoice, as_window
from .series import (
    Header,
    Stack,
    arrange,
    is_swapped,
    oriented_spacing,
    radiological,
    read_header,
)

__all__ = [
    "Volume",
    "file_frame",
    "is_volume",
    "orientation_of",
    "patient_group",
    "read_series",
    "read_slice",
]

logger = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]

#: Largest number of pixels of a series that is read as a whole: 2 GiB of gray values.
MAX_SERIES_VOXELS = 2**31


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of one CT series, from the feet upwards if they are axial.

    Attributes
    ----------
    slices : ndarray of uint8 of shape (N, H, W)
        Gray values of the display window.
    positions : ndarray of float64 of shape (N,)
        Position of each slice along the normal of the slices, in mm, ascending.
    spacing : tuple of (float, float)
        Distance of the centers of pixels, vertically and horizontally, in mm.
    names : tuple of str
        Name of each slice: that of its file, followed by ``#`` and the number of the frame (from 1)
        if the file has several frames.
    paths : tuple of Path
        File of each slice.
    frames : tuple of int
        Index of each slice within its file; 0 if the file has one frame.
    group : str or None
        Pseudonym of the patient, as returned by :func:`patient_group`; None if unknown.
    """

    slices: npt.NDArray[np.uint8] = field(repr=False)
    positions: npt.NDArray[np.float64] = field(repr=False)
    spacing: tuple[float, float]
    names: tuple[str, ...] = field(repr=False)
    paths: tuple[Path, ...] = field(repr=False)
    frames: tuple[int, ...] = field(repr=False)
    group: str | None

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.slices)

    def __getitem__(self, index: int) -> Image.Image:
        """Return one slice as a gray picture."""
        return Image.fromarray(self.slices[index])


def read_slice(path: StrPath, *, window: WindowChoice = "lung") -> Image.Image:
    """Read one slice.

    CT is rescaled to Hounsfield units and shown through a display window. A screenshot (secondary
    capture) does not have units and is returned as stored, gray or RGB.

    Parameters
    ----------
    path : str or path-like
        DICOM file with one frame; its name may have any suffix.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        ``"lung"`` is level -600, width 1500; ``"range"`` is from the smallest to the largest value;
        ``"file"`` is the first window stored in the file; a tuple is (level, width) in Hounsfield
        units. The window is linear as in DICOM PS3.3 C.11.2.1.2, unless the file specifies another
        function for its own window. MONOCHROME1 is inverted.

    Returns
    -------
    PIL.Image.Image
        Mode "L" for CT.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file is damaged or too large, lacks a tag, contains several frames or anything but a
        CT slice or a screenshot, or has a compression for which a decoder is not installed.
    ModuleNotFoundError
        If pydicom is not installed.
    ValueError
        If ``window`` is not one of these.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.dicom import read_slice
    >>> read_slice(get_testdata_file("CT_small.dcm", download=False)).size
    (128, 128)
    """
    chosen = as_window(window)
    path = Path(path)
    with guarded(path):
        file = DicomFile(path)
        if not file.is_screenshot:
            file.require_ct()
        if file.frames > 1:
            raise Refusal(
                f"contains {file.frames} frames; choose a slice of "
                "covidct.datasets.dicom.read_series"
            )
        return file_frame(file, 0, chosen)


def read_series(
    path: StrPath, *, window: WindowChoice = "lung", series: str | None = None
) -> Volume:
    """Read all slices of a CT series, in their order in the body.

    Parameters
    ----------
    path : str or path-like
        Folder with one file per slice, multi-frame file, or file of one slice. In a folder, hidden
        files and files other than DICOM are ignored; the latter are logged.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Display window, as in :func:`read_slice`.
    series : str or None, default=None
        SeriesInstanceUID to read. None: the folder contains only one series.

    Returns
    -------
    Volume
        Slices sorted by ImagePositionPatient along the normal of ImageOrientationPatient; file
        names and instance numbers are ignored.

    Raises
    ------
    covidct.errors.InvalidFileError
        For the reasons of :func:`read_slice`; and if slices differ in size, orientation or spacing,
        have the same position, or belong to several series (which the message lists).
    covidct.errors.UnknownNameError
        If no slice belongs to ``series``.
    FileNotFoundError
        If ``path`` does not exist, or contains no DICOM file.
    ModuleNotFoundError
        If pydicom is not installed.
    ValueError
        If ``window`` is not one of these.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.dicom import read_series
    >>> volume = read_series(get_testdata_file("CT_small.dcm", download=False))
    >>> volume.slices.shape, volume.positions.round(2).tolist(), volume.spacing
    ((1, 128, 128), [-75.7], (0.661468, 0.661468))
    """
    chosen = as_window(window)
    stack = _stack(Path(path), series)
    first = stack.slices[0]
    height, width = first.shape
    if len(stack.slices) * height * width > MAX_SERIES_VOXELS:
        raise InvalidFileError(
            f"{str(path)!r}: the series has more than {MAX_SERIES_VOXELS} pixels; read its slices "
            "one by one with covidct.datasets.frames.read_frame"
        )
    if is_swapped(first):
        height, width = width, height
    slices = np.empty((len(stack.slices), height, width), np.uint8)
    index = {(s.path, s.frame): i for i, s in enumerate(stack.slices)}
    paths = dict.fromkeys(s.path for s in stack.slices)
    for file in tqdm(paths, "reading slices", leave=False, disable=None):
        with guarded(file):
            opened = DicomFile(file)
            for frame, gray in enumerate(opened.gray(chosen)):
                if (file, frame) in index:
                    turned = radiological(gray, orientation_of(opened, frame))
                    slices[index[file, frame]] = turned
    slices.flags.writeable = False
    return Volume(
        slices=slices,
        positions=stack.positions,
        spacing=oriented_spacing(first),
        names=tuple(s.name for s in stack.slices),
        paths=tuple(s.path for s in stack.slices),
        frames=tuple(s.frame for s in stack.slices),
        group=first.patient,
    )


def patient_group(path: StrPath) -> str | None:
    """Return a pseudonym of the patient: the start of the SHA-256 of PatientID.

    It is used to keep a patient's slices in one fold. It is not an anonymization: without a salt,
    it is the same on all computers, and can be reversed by trying all ids of a hospital.

    Parameters
    ----------
    path : str or path-like
        DICOM file.

    Returns
    -------
    str or None
        16 hexadecimal digits; None if the file has no PatientID.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file is not a DICOM file.
    ModuleNotFoundError
        If pydicom is not installed.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.dicom import patient_group
    >>> len(patient_group(get_testdata_file("CT_small.dcm", download=False)))
    16
    """
    path = Path(path)
    with guarded(path):
        return DicomFile(path).patient


def is_volume(path: StrPath) -> bool:
    """Return True if a path contains several slices of one CT series and no other files.

    Parameters
    ----------
    path : str or path-like
        A folder with the DICOM files of one series, or a multi-frame DICOM file, is a volume. A
        folder with other visible files or folders, files of several series, a single slice, a
        screenshot, and files that cannot be read are not.

    Returns
    -------
    bool
        True if :func:`read_series` can read it.

    Raises
    ------
    ModuleNotFoundError
        If there are DICOM files, and pydicom is not installed.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.dicom import is_volume
    >>> is_volume(get_testdata_file("CT_small.dcm", download=False))
    False
    """
    path = Path(path)
    frames, first = 0, None
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if is_hidden(file.name):
                continue
            if not file.is_file() or not has_dicom_magic(file):
                return False
            with guarded(file):
                header = DicomFile(file)
                header.require_ct()
                series = header.needed("SeriesInstanceUID")
                frames += header.frames
            if first not in (None, series):
                return False
            first = series
    except (OSError, InvalidFileError):
        return False
    return frames > 1


def file_frame(file: DicomFile, frame: int, window: WindowChoice | Window) -> Image.Image:
    """Return one frame of an open file: CT through a window, a screenshot as stored."""
    if not 0 <= frame < file.frames:
        raise Refusal(f"has {counted(file.frames, 'frame')}, so no frame {frame} (counted from 0)")
    if file.is_screenshot:
        return file.image(frame, window)
    gray = file.frame(frame, window)
    return Image.fromarray(np.ascontiguousarray(radiological(gray, orientation_of(file, frame))))


def orientation_of(file: DicomFile, frame: int) -> npt.NDArray[np.float64] | None:
    """Return the directions of rows and columns, (2, 3); None if the file lacks them."""
    if file.tag("ImageOrientationPatient", frame=frame) is None:
        return None
    return file.numbers("ImageOrientationPatient", 6, frame=frame).reshape(2, 3)


# The files of a series


def _stack(path: Path, series: str | None) -> Stack:
    """Read the headers of one file, or of a folder's DICOM files, and order one series."""
    headers = _headers(path)
    slices = [s for header in headers for s in header.slices]
    aside = [(header.path, header.aside) for header in headers if header.aside]
    aside += [
        (header.path, "secondary capture of a CT series")
        for header in headers
        if header.screenshots
    ]
    if not slices:
        reasons = "; ".join(f"{file.name!r}: {reason}" for file, reason in aside[:3])
        raise InvalidFileError(f"{str(path)!r} contains no CT slices ({reasons})")
    if aside:
        _warn_aside(path, aside)
    counts = Counter(str(s.series or "") for s in slices)
    if len(counts) > 1 and "" in counts:
        lacking = next(s.path for s in slices if not s.series)
        raise InvalidFileError(
            f"{str(lacking)!r} lacks SeriesInstanceUID, which other files of its folder have; "
            "export it again with all its tags or remove it"
        )
    if series is None and len(counts) > 1:
        found = ", ".join(f"{uid!r} ({count} files)" for uid, count in counts.items())
        raise InvalidFileError(
            f"{str(path)!r} contains {len(counts)} series; choose one with series=: {found}"
        )
    if series is not None and series not in counts:
        error = UnknownNameError.among("series", series, counts)
        raise error
    chosen = [s for s in slices if series in (None, s.series)]
    other = next((s for s in chosen if s.patient != chosen[0].patient), None)
    if other is not None:
        raise InvalidFileError(
            f"{str(other.path)!r} and {str(chosen[0].path)!r} are of one series, but of two "
            "patients; remove the files that do not belong"
        )
    stacks = arrange(chosen, _refuse)
    if len(stacks) > 1:
        raise InvalidFileError(
            f"{str(path)!r} has {len(stacks)} phases or reconstructions of one series, which lie "
            "at the same place; keep one of them in the folder"
        )
    if stacks[0].plane != "axial":
        logger.warning("the slices in %s are %s, not axial", path, stacks[0].plane)
    if stacks[0].copies:
        _warn_aside(path, stacks[0].copies)
    return stacks[0]


def _headers(path: Path) -> list[Header]:
    """Read the headers of one file, or of the DICOM files of a folder."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if _is_visible_file(file))
        slices = [file for file in files if has_dicom_magic(file)]
        others = [file for file in files if file not in set(slices)]
        if others:
            _warn_aside(path, [(file, "not DICOM") for file in others])
    else:
        slices = [path] if path.exists() else []
    if not slices:
        raise FileNotFoundError(f"{str(path)!r} is neither a DICOM file nor a folder with some")
    return list(each_in_threads(read_header, slices))


def _warn_aside(folder: Path, files: Sequence[tuple[Path, str]]) -> None:
    names = some(f"{file.name} ({reason})" for file, reason in files)
    logger.warning("%d files in %s are set aside: %s", len(files), folder, names)


def _refuse(path: Path, reason: str) -> None:
    raise InvalidFileError(f"{str(path)!r} {reason}")


def _is_visible_file(path: Path) -> bool:
    return path.is_file() and not is_hidden(path.name)

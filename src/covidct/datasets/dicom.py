"""CT slices and series in DICOM files, as 8-bit gray values of a display window.

Needs pydicom: ``pip install 'covidct[dicom]'``. Of the text in a file, only UIDs and the names of
tags enter messages and logs: whose scan it is does not.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from ..errors import InvalidFileError, UnknownNameError
from ._listing import has_dicom_magic, is_hidden
from ._parallel import some
from .dicom_file import MAX_VOXELS, DicomFile, Refusal, guarded
from .gray import WindowChoice, as_window

__all__ = ["Volume", "is_volume", "patient_group", "read_series", "read_slice"]

logger = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Volume:
    """The slices of one CT series, from the feet upwards where they are axial.

    Attributes
    ----------
    slices : (N, H, W) uint8 array
        Gray values of the display window.
    positions : (N,) float array
        Where each slice lies along the normal of the slices, in mm, ascending.
    spacing : (float, float)
        Distance of the centers of pixels, down and across, in mm.
    names : tuple of str
        Name of each slice: that of its file, followed by ``#`` and the number of the frame (from 1)
        if the file has several frames.
    paths : tuple of Path
        File of each slice.
    frames : tuple of int
        Index of each slice within its file; 0 if the file has one frame.
    group : str or None
        Pseudonym of the patient, see :func:`patient_group`.
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
    capture) has no units and is returned as it is stored, gray or RGB.

    Parameters
    ----------
    path
        A DICOM file with one frame, whatever its name ends in.
    window
        ``"lung"`` is level -600, width 1500; ``"file"`` the first window stored in the file; or
        (level, width) in Hounsfield units. The window is linear as in DICOM PS3.3 C.11.2.1.2,
        unless the file asks otherwise for its own. MONOCHROME1 is inverted.

    Returns
    -------
    PIL.Image.Image
        Mode "L" for CT.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file is damaged, lacks a tag, holds several frames or anything but a CT slice or
        a screenshot, is too large, or is compressed in a way that nothing installed decodes.
    ModuleNotFoundError
        If pydicom is not installed.
    ValueError
        If ``window`` is none of these.

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
                f"holds {file.frames} frames; choose a slice of covidct.datasets.dicom.read_series"
            )
        return file.screenshot() if file.is_screenshot else Image.fromarray(next(file.gray(chosen)))


def read_series(
    path: StrPath, *, window: WindowChoice = "lung", series: str | None = None
) -> Volume:
    """Read all slices of a CT series, in the order in which they lie in the body.

    Parameters
    ----------
    path
        A folder with one file per slice, a multi-frame file, or one slice. In a folder, other
        files than DICOM are passed over and logged, hidden ones silently.
    window
        As in :func:`read_slice`.
    series
        SeriesInstanceUID to read, where the folder holds several.

    Returns
    -------
    Volume
        Sorted by ImagePositionPatient along the normal of ImageOrientationPatient; names of files
        and instance numbers count for nothing.

    Raises
    ------
    covidct.errors.InvalidFileError
        As in :func:`read_slice`; and if slices differ in size, orientation or spacing, lie at the
        same place, or belong to several series (which the message lists).
    covidct.errors.UnknownNameError
        If ``series`` is not there.
    FileNotFoundError
        If ``path`` does not exist, or holds no DICOM file.
    ModuleNotFoundError
        If pydicom is not installed.
    ValueError
        If ``window`` is none of these.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.dicom import read_series
    >>> volume = read_series(get_testdata_file("CT_small.dcm", download=False))
    >>> volume.slices.shape, volume.positions.round(2).tolist(), volume.spacing
    ((1, 128, 128), [-75.7], (0.661468, 0.661468))
    """
    chosen = as_window(window)
    headers = _one_series(_headers(Path(path)), series, Path(path))
    planes = _sorted_stack([plane for file in headers.items() for plane in _planes(*file)])
    slices = np.empty((len(planes), *planes[0].shape), np.uint8)
    place = {(plane.path, plane.frame): i for i, plane in enumerate(planes)}
    for file in tqdm(headers, "reading slices", leave=False, disable=None):
        with guarded(file):
            for frame, gray in enumerate(DicomFile(file).gray(chosen)):
                slices[place[file, frame]] = gray
    slices.flags.writeable = False
    return Volume(
        slices=slices,
        positions=np.array([plane.position for plane in planes]),
        spacing=planes[0].spacing,
        names=tuple(plane.name for plane in planes),
        paths=tuple(plane.path for plane in planes),
        frames=tuple(plane.frame for plane in planes),
        group=planes[0].patient,
    )


def patient_group(path: StrPath) -> str | None:
    """Return a pseudonym of the patient: the start of the SHA-256 of PatientID.

    It serves to keep a patient's slices in one fold. It is no anonymization: without a salt, so
    that it is the same everywhere, it can be undone by trying all ids of a hospital.

    Parameters
    ----------
    path
        A DICOM file.

    Returns
    -------
    str or None
        16 hexadecimal digits; None where the file has no PatientID.

    Raises
    ------
    covidct.errors.InvalidFileError
        If it is no DICOM file.
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
        return DicomFile(path, header_only=True).patient


def is_volume(path: StrPath) -> bool:
    """Tell whether a path holds several slices of one CT series, and nothing else.

    Parameters
    ----------
    path
        A folder with the DICOM files of one series, or a multi-frame DICOM file, is a volume.
        Anything else is not: a folder with other visible files or folders, files of several series,
        a single slice, a screenshot, what cannot be read.

    Returns
    -------
    bool
        Whether to read it by :func:`read_series`.

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
                header = DicomFile(file, header_only=True)
                header.require_ct()
                series = header.needed("SeriesInstanceUID")
                frames += header.frames
            if first not in (None, series):
                return False
            first = series
    except (OSError, InvalidFileError):
        return False
    return frames > 1


# A stack of slices


class _Plane(NamedTuple):
    """One slice of a series: where it is stored, and where it lies."""

    path: Path
    frame: int
    name: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    orientation: npt.NDArray[np.float64]  # directions of rows and columns, (2, 3)
    corner: npt.NDArray[np.float64]  # mm, (3,)
    patient: str | None
    position: float = np.nan


def _headers(path: Path) -> dict[Path, DicomFile]:
    """Open one file, or the DICOM files of a folder, without their pixels."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if _is_visible_file(file))
        slices = [file for file in files if has_dicom_magic(file)]
        others = [file.name for file in files if file not in set(slices)]
        if others:
            logger.warning("%d files in %s are not DICOM: %s", len(others), path, some(others))
    else:
        slices = [path] if path.exists() else []
    if not slices:
        raise FileNotFoundError(f"{str(path)!r} is neither a DICOM file nor a folder with some")
    headers = {}
    for file in slices:
        with guarded(file):
            headers[file] = DicomFile(file, header_only=True)
    return headers


def _is_visible_file(path: Path) -> bool:
    return path.is_file() and not is_hidden(path.name)


def _one_series(
    headers: dict[Path, DicomFile], series: str | None, where: Path
) -> dict[Path, DicomFile]:
    """Keep the files of one series."""
    member = {}
    for path, header in headers.items():
        with guarded(path):
            member[path] = str(header.needed("SeriesInstanceUID"))
    counts = Counter(member.values())
    if series is None and len(counts) > 1:
        found = ", ".join(f"{uid!r} ({count} files)" for uid, count in counts.items())
        raise InvalidFileError(
            f"{str(where)!r} holds {len(counts)} series; choose one with series=: {found}"
        )
    if series is not None and series not in counts:
        error = UnknownNameError.among("series", series, counts)
        raise error
    return {path: headers[path] for path in headers if series in (None, member[path])}


def _planes(path: Path, header: DicomFile) -> list[_Plane]:
    """Tell where each slice of a file lies."""
    planes = []
    with guarded(path):
        header.require_ct()
        for frame in range(header.frames):
            orientation = header.numbers("ImageOrientationPatient", 6, frame=frame).reshape(2, 3)
            if not np.allclose(orientation @ orientation.T, np.eye(2), atol=0.01):
                raise Refusal(
                    "has an ImageOrientationPatient that is no two perpendicular directions"
                )
            down, across = header.numbers("PixelSpacing", 2, frame=frame).tolist()
            planes.append(
                _Plane(
                    path=path,
                    frame=frame,
                    name=f"{path.name}#{frame + 1}" if header.frames > 1 else path.name,
                    shape=header.shape,
                    spacing=(down, across),
                    orientation=orientation,
                    corner=header.numbers("ImagePositionPatient", 3, frame=frame),
                    patient=header.patient,
                )
            )
    return planes


# What all slices of a stack share.
_SHARED: dict[str, Callable[[_Plane], npt.ArrayLike]] = {
    "size": lambda plane: plane.shape,
    "orientation": lambda plane: plane.orientation,
    "pixel spacing": lambda plane: plane.spacing,
}


def _sorted_stack(planes: Sequence[_Plane]) -> list[_Plane]:
    """Sort slices along their common normal; refuse what is no stack."""
    first = planes[0]
    for plane in planes:
        for what, of in _SHARED.items():
            if not np.allclose(of(plane), of(first), rtol=0, atol=1e-3):
                raise InvalidFileError(
                    f"{str(plane.path)!r} and {str(first.path)!r} are of one series, but differ "
                    f"in {what}; remove what does not belong, such as a localizer"
                )
        if plane.patient != first.patient:
            raise InvalidFileError(
                f"{str(plane.path)!r} and {str(first.path)!r} are of one series, but of two "
                "patients; remove what does not belong"
            )
    if len(planes) * first.shape[0] * first.shape[1] > MAX_VOXELS:
        raise InvalidFileError(
            f"{str(first.path.parent)!r}: the series has more than {MAX_VOXELS} pixels"
        )
    normal = np.cross(*first.orientation)
    planes = [plane._replace(position=float(plane.corner @ normal)) for plane in planes]
    planes.sort(key=lambda plane: plane.position)
    for below, above in pairwise(planes):
        if above.position - below.position < 1e-3:
            raise InvalidFileError(
                f"{below.name!r} and {above.name!r} in {str(below.path.parent)!r} lie at the "
                f"same place, {below.position:.1f} mm; keep one phase or reconstruction"
            )
    return planes

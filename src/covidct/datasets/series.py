"""Slices of a CT series, from the headers of DICOM files, in order from the feet upwards.

Files that do not contain axial CT slices are recognized by their tags: the class, ImageType, and
the direction of the slices. Pixels are not read, except to compare two files at the same position.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._files import sha256_of_file
from ..errors import InvalidFileError
from ._listing import natural_key
from .dicom_file import DicomFile, Refusal, guarded

__all__ = [
    "Header",
    "Slice",
    "Stack",
    "arrange",
    "is_swapped",
    "oriented_spacing",
    "plane_of",
    "radiological",
    "read_header",
]

Array = npt.NDArray[np.float64]

#: Function that is called with a file and the reason why it cannot be used; raises an error or
#: records both.
Refuse = Callable[[Path, str], None]

# Slices whose distance is smaller than this, in mm, are at the same position.
_SAME_PLACE = 1e-3
# Least component of the normal along the body of an axial slice: gantries tilt by up to 30 degrees.
_AXIAL = 0.8

# Words of ImageType (or FrameType) and of the description that mark other objects than slices.
_LOCALIZER = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW", "TOP"}
_PROJECTION = {"MIP", "MINIP", "MAX_IP", "MIN_IP", "MEAN_IP", "PROJECTION", "VOLUME_RENDER", "VRT"}
_PROJECTION |= {"RENDERING", "CSA MIP", "PROJECTION IMAGE", "MAXIMUM", "MINIMUM", "SURFACE_RENDER"}
_CAPTURE = {"SCREEN SAVE", "SCREENSHOT", "REPORT", "CSA REPORT", "PROTOCOL", "DOSE", "DOSE_INFO"}
_CAPTURE |= {"PROT"}
_REFORMATTED = {"REFORMATTED", "MPR", "CSA MPR", "DERIVED"}
_LOCALIZER_TEXT = re.compile(r"(?<![a-z])(scout|topogram|localizer|surview|scanogram)", re.I)
_CAPTURE_TEXT = re.compile(r"(patient|exam) protocol|dose (report|info|record)|screen ?save", re.I)
_PROJECTION_TEXT = re.compile(r"(?<![a-z])(mip|minip|min-?ip|max-?ip|vrt?)(?![a-z])", re.I)

# Tags that distinguish the phases or reconstructions in one series; the first that does is used.
_PHASE_TAGS = (
    *("AcquisitionNumber", "TemporalPositionIdentifier", "TemporalPositionIndex", "StackID"),
    *("NominalPercentageOfCardiacPhase", "ConvolutionKernel", "SliceThickness", "AcquisitionTime"),
)


class Slice(NamedTuple):
    """One CT slice: file, frame, and position in the body."""

    path: Path
    frame: int  # index in the file, from 0
    frames: int  # of the file
    name: str
    series: str | None
    study: str | None
    patient: str | None
    shape: tuple[int, int]
    spacing: tuple[float, float] | None  # mm, down and across
    orientation: Array | None  # directions of rows and columns, (2, 3)
    corner: Array | None  # mm, (3,)
    number: int | None
    phase: tuple[str, ...]
    is_derived: bool


class Header(NamedTuple):
    """The CT slices of a DICOM file, or the reason for setting it aside."""

    path: Path
    slices: tuple[Slice, ...] = ()
    aside: str = ""
    screenshots: int = 0  # frames of a secondary capture
    series: str | None = None
    study: str | None = None
    patient: str | None = None


class Stack(NamedTuple):
    """Slices of one series, from the feet upwards, and their positions in mm (NaN if unknown)."""

    slices: list[Slice]
    positions: Array
    plane: str  # "axial", "coronal", "sagittal" or "oblique"
    copies: list[tuple[Path, str]]


def read_header(path: Path) -> Header:
    """Read the tags that assign a DICOM file to a series.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file is damaged, or a tag is malformed.
    """
    with guarded(path):
        file = DicomFile(path)
        if file.is_index:
            return Header(path, aside="index of a medium (DICOMDIR)")
        common = Header(
            path,
            series=_text(file, "SeriesInstanceUID"),
            study=_text(file, "StudyInstanceUID"),
            patient=file.patient,
        )
        if file.is_screenshot:
            return common._replace(screenshots=file.frames)
        file.needed("SOPClassUID")
        try:
            file.require_ct()
        except Refusal as refusal:
            return common._replace(aside=str(refusal).split(";")[0])
        reason = _reason_aside(file)
        return common._replace(aside=reason) if reason else common._replace(slices=_slices(file))
    raise AssertionError  # guarded has raised


def _text(file: DicomFile, keyword: str, frame: int = 0) -> str | None:
    value = file.tag(keyword, frame=frame)
    text = "" if value is None else str(value).strip()
    return text or None


def _reason_aside(file: DicomFile) -> str:
    """Recognize localizers, projections and pictures of class CT by ImageType."""
    words: set[str] = set()
    for keyword in ("ImageType", "FrameType", "VolumeBasedCalculationTechnique"):
        value = file.tag(keyword)
        values = [value] if isinstance(value, str) else value or ()
        words.update(str(word).strip().upper() for word in values)
    words.update(part for word in tuple(words) for part in word.split())  # "CT_SOM5 PROT"
    description = _text(file, "SeriesDescription") or ""
    if words & _LOCALIZER or _LOCALIZER_TEXT.search(description):
        return "localizer"
    if words & _PROJECTION or _PROJECTION_TEXT.search(description):
        return "projection of several slices (MIP)"
    if words & _CAPTURE or _CAPTURE_TEXT.search(description):
        return "secondary capture of class CT"
    if str(file.tag("PhotometricInterpretation") or "").startswith(("RGB", "YBR", "PALETTE")):
        return "picture in color of class CT"
    return ""


def _slices(file: DicomFile) -> tuple[Slice, ...]:
    """Return each frame with its position in the body."""
    value = file.tag("ImageType")
    common = Slice(
        path=file.path,
        frame=0,
        frames=file.frames,
        name=file.path.name,
        series=_text(file, "SeriesInstanceUID"),
        study=_text(file, "StudyInstanceUID"),
        patient=file.patient,
        shape=file.shape,
        spacing=None,
        orientation=None,
        corner=None,
        number=_whole(file.tag("InstanceNumber")),
        phase=(),
        is_derived=any(str(word).upper() in _REFORMATTED for word in value or ()),
    )
    return tuple(_placed(file, common, frame) for frame in range(common.frames))


def _placed(file: DicomFile, common: Slice, frame: int) -> Slice:
    """Add the position and direction of a frame to the values that all frames of a file share."""
    orientation = _numbers(file, "ImageOrientationPatient", 6, frame)
    if orientation is not None:
        orientation = orientation.reshape(2, 3)
        if not np.allclose(orientation @ orientation.T, np.eye(2), atol=0.01):
            raise Refusal(
                "has an ImageOrientationPatient that is not two perpendicular directions of "
                "length 1; correct it or remove the file"
            )
    spacing = _numbers(file, "PixelSpacing", 2, frame)
    if spacing is not None and (spacing <= 0).any():
        raise Refusal("has a PixelSpacing that is not positive; correct it or remove the file")
    return common._replace(
        frame=frame,
        name=f"{common.name}#{frame + 1}" if common.frames > 1 else common.name,
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        orientation=orientation,
        corner=_numbers(file, "ImagePositionPatient", 3, frame),
        phase=tuple(_text(file, keyword, frame) or "" for keyword in _PHASE_TAGS),
    )


def _numbers(file: DicomFile, keyword: str, n: int, frame: int) -> Array | None:
    return None if file.tag(keyword, frame=frame) is None else file.numbers(keyword, n, frame=frame)


def _whole(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


# Stacks


def arrange(slices: Sequence[Slice], refuse: Refuse) -> list[Stack]:
    """Order the slices of one series from the feet upwards.

    Slices at the same position are copies, of which one is kept, or belong to several phases or
    reconstructions. These are separated into stacks by their folder, a tag or their numbers.

    Parameters
    ----------
    slices : sequence of Slice
        Slices of one series of one patient.
    refuse : callable
        Function that is called with a file that does not fit into the series and the reason. If it
        does not raise an error, the file is left out.

    Returns
    -------
    list of Stack
        One per phase or reconstruction.
    """
    if _is_scout(slices):
        return [Stack(list(slices), np.full(len(slices), np.nan), plane_of(slices[0]), [])]
    slices = _uniform(slices, refuse)
    if not slices:
        return []
    slices, copies = _without_copies(slices)
    places = _places(slices)
    if places is None:
        return [_by_number(slices, copies)]
    parts = [slices]
    if _crowded(places):
        parts = _phases(slices) or [_one_per_place(slices, refuse)]
    stacks = []
    for part in parts:
        along = _places(part)
        if along is None:
            raise AssertionError("a part of a placed series has places")
        order = np.argsort(along, kind="stable")
        stacks.append(Stack([part[i] for i in order], along[order], plane_of(part[0]), []))
    stacks[0].copies.extend(copies)
    return stacks


def _is_scout(slices: Sequence[Slice]) -> bool:
    """Return True if the slices have several directions, none axial, as those of localizers."""
    planes = {plane_of(s) for s in slices}
    return len(planes) > 1 and "axial" not in planes


def _uniform(slices: Sequence[Slice], refuse: Refuse) -> list[Slice]:
    """Call `refuse` for the slices that differ from most of their series, and return the others."""
    kept = list(slices)
    for keyword, attribute in (
        ("ImagePositionPatient", "corner"),
        ("ImageOrientationPatient", "orientation"),
    ):
        lacking = [s for s in kept if getattr(s, attribute) is None]
        if len(lacking) < len(kept):
            for s in lacking:
                refuse(
                    s.path,
                    f"lacks {keyword}, which the other slices of its series have; "
                    "export it again with all its tags or remove it",
                )
            kept = [s for s in kept if getattr(s, attribute) is not None]
    for what, attribute, tolerance in (
        ("size", "shape", 0.0),
        ("orientation", "orientation", 0.01),
        ("pixel spacing", "spacing", 1e-3),
    ):
        values = [_vector(getattr(s, attribute)) for s in kept]
        usual = _most_frequent(values)
        fits = [np.allclose(value, values[usual], rtol=0, atol=tolerance) for value in values]
        for s, fit in zip(kept, fits, strict=True):
            if not fit:
                refuse(
                    s.path,
                    f"and {str(kept[usual].path)!r} are of one series, but differ in {what}; "
                    "remove the one that does not belong",
                )
        kept = [s for s, fit in zip(kept, fits, strict=True) if fit]
    return kept


def _vector(value: npt.ArrayLike | None) -> Array:
    """Return the numbers of a tag as a one-dimensional array; -1 for a missing tag."""
    return np.array([-1.0]) if value is None else np.ravel(np.asarray(value, np.float64))


def _most_frequent(values: Sequence[Array]) -> int:
    """Return the index of the first of the most frequent values; axial directions win ties."""
    keys = [tuple((np.round(value, 2) + 0.0).tolist()) for value in values]
    counts = Counter(keys)

    def rank(key: tuple[float, ...]) -> tuple[int, bool]:
        is_axial = len(key) == 6 and abs(np.cross(key[:3], key[3:])[2]) >= _AXIAL
        return counts[key], is_axial

    return keys.index(max(counts, key=rank))


def _without_copies(slices: list[Slice]) -> tuple[list[Slice], list[tuple[Path, str]]]:
    """Leave out files with the bytes of another file, or with its pixels and position."""
    candidates: dict[object, list[Slice]] = {}
    for s in slices:
        place = None if s.corner is None else tuple(np.round(s.corner, 2) + 0.0)
        candidates.setdefault((place, s.number, s.shape), []).append(s)
    copies: list[tuple[Path, str]] = []
    dropped: set[Path] = set()
    for group in candidates.values():
        files = sorted({s.path: s for s in group}, key=_plain_name_first)
        if len(files) < 2:
            continue
        seen: dict[str, Path] = {}
        digest = sha256_of_file if group[0].corner is None else _pixel_digest
        for path in files:
            original = seen.setdefault(digest(path), path)
            if original is not path and path not in dropped:
                dropped.add(path)
                copies.append((path, f"copy of {original.name!r}"))
    return [s for s in slices if s.path not in dropped], copies


def _plain_name_first(path: Path) -> tuple[int, str]:
    return len(str(path)), str(path)


def _pixel_digest(path: Path) -> str:
    """Return the hash of the stored pixels, or of the whole file if they cannot be found."""
    try:
        with guarded(path):
            return DicomFile(path).pixel_digest()
    except InvalidFileError:
        return sha256_of_file(path)


def _normal(s: Slice) -> Array:
    """Return the normal of the slice; that of axial slices points to the head."""
    if s.orientation is None:
        return np.array([0.0, 0.0, 1.0])
    normal: Array = np.cross(*s.orientation)
    return -normal if normal[2] < 0 and plane_of(s) == "axial" else normal


def plane_of(s: Slice) -> str:
    """Return "axial", "coronal", "sagittal" or "oblique"; "axial" if unknown."""
    if s.orientation is None:
        return "axial"
    normal = np.abs(np.cross(*s.orientation))
    axis = int(np.argmax(normal))
    return ("sagittal", "coronal", "axial")[axis] if normal[axis] >= _AXIAL else "oblique"


def _places(slices: Sequence[Slice]) -> Array | None:
    """Return the positions along the common normal, in mm; None if the files lack them."""
    normal = _normal(slices[0])
    corners = [s.corner for s in slices]
    if any(corner is None for corner in corners):
        return None
    along: Array = np.array([corner for corner in corners if corner is not None]) @ normal
    if len(along) > 1 and np.ptp(along) < _SAME_PLACE:
        # If all numbered instances are at one position, the positions were removed from the files.
        numbers = {s.number for s in slices}
        if None not in numbers and len(numbers) == len(slices):
            return None
    return along


def _crowded(along: Array) -> bool:
    return bool((np.diff(np.sort(along)) < _SAME_PLACE).any())


def _by_number(slices: list[Slice], copies: list[tuple[Path, str]]) -> Stack:
    ordered = sorted(
        slices,
        key=lambda s: (
            s.number is None,
            s.number or 0,
            natural_key(str(s.path)),
            s.frame,
        ),
    )
    return Stack(ordered, np.full(len(ordered), np.nan), plane_of(ordered[0]), copies)


def _phases(slices: list[Slice]) -> list[list[Slice]]:
    """Split slices at the same positions by folder, a tag or number; empty if impossible."""
    keys: list[Callable[[Slice], object]] = [lambda s: s.path.parent]
    # mypy does not type lambdas with defaults.
    keys += [lambda s, i=i: s.phase[i] for i in range(len(_PHASE_TAGS))]  # type: ignore[misc]
    for key in keys:
        parts: dict[object, list[Slice]] = {}
        for s in slices:
            parts.setdefault(key(s), []).append(s)
        along = [_places(part) for part in parts.values()]
        if len(parts) > 1 and all(
            len(part) > 1 and places is not None and not _crowded(places)
            for part, places in zip(parts.values(), along, strict=True)
        ):
            return list(parts.values())
    return _numbered_through(slices)


def _numbered_through(slices: list[Slice]) -> list[list[Slice]]:
    """Split slices whose numbers run through the same positions several times, or return []."""
    places = _places(slices)
    numbers = [s.number for s in slices if s.number is not None]
    if places is None or len(set(numbers)) < len(slices):
        return []
    parts: list[dict[float, Slice]] = [{}]
    for i in np.argsort(numbers):
        place = round(float(places[i]), 2)
        if place in parts[-1]:
            parts.append({})
        parts[-1][place] = slices[i]
    if len(parts) < 2 or len(parts[0]) < 2 or any(p.keys() != parts[0].keys() for p in parts):
        return []
    return [list(part.values()) for part in parts]


def _one_per_place(slices: list[Slice], refuse: Refuse) -> list[Slice]:
    """Keep the first slice at each position, and call `refuse` for the others."""
    along = _places(slices)
    if along is None:
        raise AssertionError("a crowded series has places")
    order = sorted(
        range(len(slices)), key=lambda i: (along[i], slices[i].number or 0, slices[i].name)
    )
    kept = order[:1]
    for i in order[1:]:
        last = kept[-1]
        if along[i] - along[last] >= _SAME_PLACE:
            kept.append(i)
            continue
        refuse(
            slices[i].path,
            f"(slice {slices[i].name!r}) and {slices[last].name!r} lie at the same place, "
            f"{along[i]:.1f} mm; keep one phase or reconstruction",
        )
    return [slices[i] for i in kept]


# Orientation


def radiological(image: npt.NDArray[Any], orientation: Array | None) -> npt.NDArray[Any]:
    """Flip and transpose a slice so that the patient's right is on the left and anterior is up.

    In coronal slices the head is up, in sagittal ones anterior is on the left.
    """
    if orientation is None:
        return image
    across, down, swap = _axes(orientation)
    if swap:
        image = image.swapaxes(0, 1)
    if down < 0:
        image = image[::-1]
    if across < 0:
        image = image[:, ::-1]
    return image


def oriented_spacing(s: Slice) -> tuple[float, float]:
    """Return the spacing of a slice in mm, down and across, after :func:`radiological`."""
    if s.spacing is None:
        return (float("nan"), float("nan"))
    return s.spacing[::-1] if is_swapped(s) else s.spacing


def is_swapped(s: Slice) -> bool:
    """Return True if :func:`radiological` swaps the rows and columns of a slice."""
    return s.orientation is not None and _axes(s.orientation)[2]


def _axes(orientation: Array) -> tuple[float, float, bool]:
    """Return the signs of the directions across and down, and whether the axes are swapped."""
    plane = int(np.argmax(np.abs(np.cross(*orientation))))
    horizontal, vertical, sign = ((1, 2, -1), (0, 2, -1), (0, 1, 1))[plane]
    rows, columns = orientation
    swap = bool(abs(rows[horizontal]) < abs(rows[vertical]))
    if swap:
        rows, columns = columns, rows
    return float(rows[horizontal]), float(columns[vertical]) * sign, swap

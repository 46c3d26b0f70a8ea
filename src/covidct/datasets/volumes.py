"""CT volumes in NIfTI, MetaImage (MHA, MHD) and NRRD files.

Needs SimpleITK: ``pip install 'covidct[volumes]'``. Headers are checked before voxels are decoded:
the number of voxels is limited, and the file must be large enough to contain them (the NIfTI reader
of ITK fills missing voxels with zeros).
"""

from __future__ import annotations

import functools
import gzip
import logging
import math
import os
import re
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .._extras import require
from .._files import placeholder_reason
from ..errors import InvalidFileError, InvalidSliceError
from ._cache import remembered
from ._decoding import PARSER_ERRORS, Refusal
from ._listing import volume_suffix
from .dicom_file import MAX_VOXELS
from .gray import WindowChoice, as_hounsfield, as_window, to_gray

__all__ = [
    "CACHE",
    "BoundedCache",
    "VolumeAxes",
    "VolumeHeader",
    "VolumePixels",
    "read_axes",
    "read_content",
    "read_header",
    "read_pixels",
    "shown",
]

_LOG = logging.getLogger(__name__)

#: Content of a volume: Hounsfield units, gray values of a window, or labels of a mask.
Content = Literal["hu", "gray", "mask"]

# Minimum component along the body of the axis perpendicular to axial slices.
_AXIAL = 0.8
# Maximum ratio of the pixel spacings. Above it, the slices were taken in another plane, and axial
# slices would consist of few rows or columns.
_MAX_ASPECT = 3.0
# Maximum size of a text header, and of the data before the voxels of a NIfTI file, in bytes.
_MAX_HEADER = 1_000_000
_MAX_OFFSET = 10_000_000
# Maximum size of the cached volumes and opened files, in bytes.
_CACHE_BYTES = 2**30
# Maximum number of different values of a mask.
_MAX_LABELS = 16
# Minimum range of Hounsfield units; standardized values have a smaller range.
_LEAST_SPAN = 50
# Hounsfield units of what is outside the field of view.
_AIR = -1024
# Minimum share of voxels of a chest that are air.
_LEAST_AIR = 1e-3


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Raise errors as an InvalidFileError with the path of the file."""
    try:
        yield
        return
    except (InvalidFileError, ModuleNotFoundError):
        raise
    except Refusal as refusal:
        reason = str(refusal)
    except PARSER_ERRORS as error:
        system = error.strerror if isinstance(error, OSError) else None
        text = str(error)
        if "orthonormal" in text or "orthogonal" in text:
            reason = "has axes that are not perpendicular; resample it to a rectangular grid"
        else:
            reason = (
                f"cannot be read as a volume ({system or type(error).__name__}); "
                "replace it by an intact copy or remove it"
            )
    raise InvalidSliceError(f"{str(path)!r} {reason}") from None


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """Geometry of a volume file.

    Attributes
    ----------
    frames : tuple of int
        Stored index of each axial slice, from the feet upwards.
    positions : ndarray of float64 of shape (n_frames,)
        Position of each slice in mm, increasing towards the head.
    spacing : tuple of (float, float)
        Distance between pixel centers in mm, down and across.
    shape : tuple of (int, int)
        Height and width of a slice.
    plane : str
        ``"axial"``, or the plane in which the slices were taken: ``"coronal"``, ``"sagittal"`` or
        ``"oblique"``.
    """

    frames: tuple[int, ...]
    positions: npt.NDArray[np.float64] = field(repr=False)
    spacing: tuple[float, float]
    shape: tuple[int, int]
    plane: str
    _axes: tuple[int, int, int] = field(repr=False)  # of the array: across slices, down, across
    _flips: tuple[bool, bool] = field(repr=False)  # down, across

    def oriented(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of the stored array: stored order of slices, radiological orientation."""
        down, across = self._flips
        array = array.transpose(self._axes)
        return array[:, :: -1 if down else 1, :: -1 if across else 1]


class VolumeAxes(NamedTuple):
    """Axes of a volume file, in the order x, y, z of SimpleITK.

    Attributes
    ----------
    size : ndarray of int64 of shape (3,)
        Number of voxels.
    spacing : ndarray of float64 of shape (3,)
        Distance between voxel centers in mm.
    origin : ndarray of float64 of shape (3,)
        Center of the first voxel in mm, in the coordinates of the patient (LPS).
    direction : ndarray of float64 of shape (3, 3)
        Directions of the axes, as columns.
    """

    size: npt.NDArray[np.int64]
    spacing: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]


class VolumePixels(NamedTuple):
    """Voxels of a volume file, (n_frames, height, width) in the stored order of slices."""

    values: npt.NDArray[Any]
    content: Content
    offset: float  # to be added
    scale: float = 1.0

    @property
    def nbytes(self) -> int:
        """Size of the voxels in bytes."""
        return int(self.values.nbytes)


def read_header(path: Path) -> VolumeHeader:
    """Read and check the geometry of a volume file.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file is damaged, has more than three dimensions or no slices, more than
        :data:`covidct.datasets.dicom_file.MAX_VOXELS` voxels, a spacing that is not positive, axes
        that are not perpendicular, or several values per voxel.
    ModuleNotFoundError
        If SimpleITK is not installed.
    """
    with _guarded(path):
        return _geometry(_opened(path))


def read_axes(path: Path) -> VolumeAxes:
    """Read the axes of a volume file; the errors are those of :func:`read_header`."""
    with _guarded(path):
        return _axes_of(_opened(path))


def read_pixels(path: Path) -> VolumePixels:
    """Read the voxels of a volume file, or take them from the cache."""
    pixels: VolumePixels = CACHE.get(path, lambda: _pixels(path), lambda found: found.nbytes)
    return pixels


def read_content(path: Path) -> Content:
    """Return the content of a volume; it is stored in the cache folder of covidct."""
    content: Content = remembered("content 1", [path], lambda: read_pixels(path).content)
    return content


def shown(pixels: VolumePixels, frame: int, window: WindowChoice) -> npt.NDArray[np.uint8]:
    """Return the gray values of a slice; Hounsfield units are shown through a window."""
    values = np.asarray(pixels.values[frame], np.float32) + np.float32(pixels.offset)
    if pixels.content == "hu":
        return to_gray(values, window, hounsfield=True)
    as_window(window)
    gray: npt.NDArray[np.uint8] = np.rint(np.clip(values * pixels.scale, 0, 255)).astype(np.uint8)
    return gray


# Headers


def _opened(path: Path) -> Any:
    """Check the header of a file, and return its reader."""
    sitk = require("SimpleITK", extra="volumes")
    if not path.is_file():
        raise Refusal("is not a regular file; give a volume file")
    suffix = volume_suffix(path)
    check = {".nii": _check_nifti, ".nii.gz": _check_nifti}.get(suffix or "", _check_text_header)
    check(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(os.fspath(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() != 1:
        raise Refusal(
            f"has {reader.GetNumberOfComponents()} values per voxel; save one volume of "
            "Hounsfield units"
        )
    size = reader.GetSize()
    _check_size(size)
    if len(size) < 2:
        raise Refusal("has one dimension; give a volume of slices")
    return reader


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def _axes_of(reader: Any) -> VolumeAxes:
    """Return the axes of a volume of one to four dimensions."""
    dimension = len(reader.GetSize())
    axes = VolumeAxes(np.ones(3, np.int64), np.ones(3), np.zeros(3), np.eye(3))
    n = min(dimension, 3)
    axes.size[:n], axes.spacing[:n] = reader.GetSize()[:n], reader.GetSpacing()[:n]
    axes.origin[:n] = reader.GetOrigin()[:n]
    axes.direction[:n, :n] = np.reshape(reader.GetDirection(), (dimension, dimension))[:n, :n]
    return axes


def _geometry(reader: Any) -> VolumeHeader:
    """Find the axial slices in the axes of a volume."""
    size, spacing, origin, direction = _axes_of(reader)
    _check_spacing(spacing.tolist())
    if not (np.isfinite(direction).all() and np.isfinite(origin).all()):
        raise Refusal("has an origin or axes that are not finite; correct its header")
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise Refusal("has axes that are not perpendicular; resample it to a rectangular grid")
    # The stored axis closest to that of the body, and the one closest to left-right.
    through = int(np.argmax(np.abs(direction[2])))
    across = max((axis for axis in range(3) if axis != through), key=lambda a: abs(direction[0, a]))
    down = 3 - through - across
    plane = "axial"
    if abs(direction[2, through]) < _AXIAL:
        plane = "oblique"
    elif max(spacing[down], spacing[across]) > _MAX_ASPECT * min(spacing[down], spacing[across]):
        plane = "coronal" if spacing[down] > spacing[across] else "sagittal"
    sign = 1.0 if direction[2, through] > 0 else -1.0
    stored = np.arange(size[through])
    positions = sign * (origin @ direction[:, through] + stored * spacing[through])
    order = stored if sign > 0 else stored[::-1]
    return VolumeHeader(
        frames=tuple(order.tolist()),
        positions=positions[order],
        spacing=(float(spacing[down]), float(spacing[across])),
        shape=(int(size[down]), int(size[across])),
        plane=plane,
        # Arrays of SimpleITK are indexed in reverse: z, y, x.
        _axes=(2 - through, 2 - down, 2 - across),
        _flips=(bool(direction[1, down] < 0), bool(direction[0, across] < 0)),
    )


# Types of voxels with one number each, by NIfTI datatype code.
_NIFTI_TYPES = dict(
    zip(
        (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280),
        ("u1", "i2", "i4", "f4", "f8", "i1", "u2", "u4", "i8", "u8"),
        strict=True,
    )
)


class _Nifti(NamedTuple):
    """Entries of a NIfTI header about the voxels; the geometry is read by ITK."""

    size: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float


def _check_nifti(path: Path) -> None:
    """Check that a NIfTI header is valid, and that the file can contain all voxels."""
    if (reason := placeholder_reason(path)) is not None:
        raise Refusal(reason)
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
    if is_gzip and volume_suffix(path) == ".nii":  # ITK recognizes it by the name
        raise Refusal("is compressed, although it is named .nii; give it a name in .nii.gz")
    with gzip.open(path) if is_gzip else path.open("rb") as file:
        header = _nifti_header(file.read(540))
    expected = math.prod(header.size) * header.dtype.itemsize
    # The maximum compression ratio of deflate is 1032.
    limit = path.stat().st_size * (1032 if is_gzip else 1)
    if limit < header.offset + expected:
        raise _cut_off(expected)


def _nifti_header(head: bytes) -> _Nifti:
    """Read and check a header of version 1 or 2."""
    for order in "<>":
        length = struct.unpack_from(f"{order}i", head)[0] if len(head) >= 4 else 0
        if length == 348 and len(head) >= 348:
            formats, places = ("8h", "h", "8f", "f", "2f"), (40, 70, 76, 108, 112)
            break
        if length == 540 and len(head) >= 540:
            formats, places = ("8q", "h", "8d", "q", "2d"), (16, 12, 104, 168, 176)
            break
    else:
        raise Refusal("is not a NIfTI file; replace it by an intact copy or remove it")
    dim, (code,), pixdim, (offset,), (slope, intercept) = (
        struct.unpack_from(order + layout, head, place)
        for layout, place in zip(formats, places, strict=True)
    )
    if not 1 <= dim[0] <= 7:
        raise Refusal(f"has {dim[0]} dimensions according to its header; correct its header")
    size = dim[1 : dim[0] + 1]
    _check_size(size)
    _check_spacing(pixdim[1 : min(dim[0], 3) + 1])
    if code not in _NIFTI_TYPES:
        raise Refusal(
            f"has voxels of NIfTI datatype {code}, not one number each; save one volume of "
            "Hounsfield units"
        )
    if not (math.isfinite(offset) and 0 <= offset <= _MAX_OFFSET):
        raise Refusal(
            f"has voxels from byte {offset:g} on according to its header; replace it by an intact "
            "copy"
        )
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        slope, intercept = 1.0, 0.0  # the standard defines these as not scaled
    dtype = np.dtype(order + _NIFTI_TYPES[code])
    return _Nifti(size, dtype, int(max(offset, length + 4)), slope, intercept)


def _nifti_voxels(path: Path) -> npt.NDArray[Any]:
    """Read the voxels of a NIfTI file, in the order z, y, x.

    ITK is not used, since it fills missing voxels with zeros and decompresses without a limit.
    """
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if is_gzip else path.open("rb") as file:
        header = _nifti_header(file.read(540))
        count = math.prod(header.size)
        voxels = bytearray(count * header.dtype.itemsize)
        try:
            file.seek(header.offset)
            filled = 0
            with memoryview(voxels) as view:
                while filled < len(voxels) and (part := file.readinto(view[filled:])):
                    filled += part
        except EOFError:
            filled = 0
        if filled < len(voxels):
            raise _cut_off(len(voxels))
    array = np.frombuffer(voxels, header.dtype).reshape(header.size[::-1])
    array = array.astype(header.dtype.newbyteorder("="), copy=False)
    if (header.slope, header.intercept) != (1.0, 0.0):
        array = array.astype(np.float32) * np.float32(header.slope) + np.float32(header.intercept)
    return array


def _cut_off(expected: int) -> Refusal:
    return Refusal(
        f"is cut off: its header promises {expected} bytes of voxels; replace it by an intact copy "
        "or remove it"
    )


def _check_size(size: tuple[int, ...]) -> None:
    if any(n < 1 for n in size):
        raise Refusal(f"has no voxels (its size is {_times(size)}); export it again")
    if math.prod(size) > MAX_VOXELS:
        raise Refusal(
            f"has {_times(size)} voxels, more than the {MAX_VOXELS} allowed; crop or split it"
        )
    if len(size) > 3 and math.prod(size[3:]) > 1:
        raise Refusal(
            f"is {len(size)}-dimensional ({_times(size)}); save each volume as a file of its own"
        )


def _check_spacing(spacing: Iterable[float]) -> None:
    spacing = tuple(spacing)
    if not all(math.isfinite(length) and length > 0 for length in spacing):
        text = " x ".join(f"{length:g}" for length in spacing)
        raise Refusal(
            f"has a voxel spacing of {text} mm, which must be positive; correct its header"
        )


def _check_text_header(path: Path) -> None:
    """Check the header of a MetaImage or NRRD file: its numbers, and the file with the voxels."""
    is_nrrd = volume_suffix(path) in (".nrrd", ".nhdr")
    if (reason := placeholder_reason(path)) is not None:
        raise Refusal(reason)
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER)
    if is_nrrd and not head.startswith(b"NRRD"):
        raise Refusal("is not an NRRD file; replace it by an intact copy or remove it")
    fields, end = _text_fields(head, is_nrrd=is_nrrd)
    key = "sizes" if is_nrrd else "DimSize"
    try:
        size = tuple(int(n) for n in fields[key.lower()].split())
    except (KeyError, ValueError):
        raise Refusal(
            f"has a header without {key}; replace it by an intact copy or remove it"
        ) from None
    _check_size(size)
    _check_numbers(fields, is_nrrd=is_nrrd)
    if is_nrrd:
        name = fields.get("data file", fields.get("datafile", "LOCAL"))
        is_compressed = fields.get("encoding", "raw").lower() != "raw"
    else:
        name = fields.get("elementdatafile", "LOCAL")
        is_compressed = fields.get("compresseddata", "false").lower() == "true"
    available = path.stat().st_size - end
    if name.upper() != "LOCAL":
        available = _data_file(path, name).stat().st_size
    expected = math.prod(size) * _bits(fields, is_nrrd=is_nrrd) // 8
    # The maximum compression ratio of deflate is 1032.
    if available < (expected // 1032 if is_compressed else expected):
        raise _cut_off(expected)


def _text_fields(head: bytes, *, is_nrrd: bool) -> tuple[dict[str, str], int]:
    """Return the fields of a text header, with names in lower case, and its length in bytes."""
    fields: dict[str, str] = {}
    end = 0
    for line in head.splitlines(keepends=True):
        end += len(line)
        text = line.decode("latin-1").strip()
        name, separator, value = text.partition(":" if is_nrrd else "=")
        name = name.strip().lower()
        if separator:
            fields[name] = value.strip("= ")
        if (not text) if is_nrrd else name == "elementdatafile":
            break
    return fields, end


def _data_file(path: Path, name: str) -> Path:
    """Return the file with the voxels; it must be in the folder of the header."""
    # Other folders, lists and patterns are refused, since they could refer to any file of the
    # machine.
    if "%" in name or name.upper().startswith("LIST") or Path(name).name != name:
        raise Refusal(f"keeps its voxels in {name!r}; save it as one file with its voxels")
    data = path.parent / name
    if not data.is_file():
        raise Refusal(f"keeps its voxels in {name!r}, which does not exist; copy that file too")
    return data


_TEXT_NUMBERS = ("elementspacing", "elementsize", "offset", "position", "origin", "transformmatrix")


def _check_numbers(fields: dict[str, str], *, is_nrrd: bool) -> None:
    """Check the numbers that ITK would silently replace."""
    names = ("spacings", "space directions", "space origin") if is_nrrd else _TEXT_NUMBERS
    for name in names:
        words = re.sub(r"[(),]", " ", fields.get(name, "")).split()
        try:
            numbers = [float(word) for word in words if word.lower() != "none"]
        except ValueError:
            numbers = [math.nan]
        if name in ("spacings", "elementspacing"):
            _check_spacing(numbers)
        elif not all(map(math.isfinite, numbers)):
            raise Refusal(f"has a value in {name!r} that is not a number; correct its header")


def _bits(fields: dict[str, str], *, is_nrrd: bool) -> int:
    """Return the bits per voxel by the name of the type; 0 if unknown."""
    name = fields.get("type" if is_nrrd else "elementtype", "").lower().replace("met_", "")
    if "char" in name or name in ("int8", "uint8", "int8_t", "uint8_t", "signed char"):
        return 8
    if "short" in name or "16" in name:
        return 16
    if "double" in name or "64" in name or "longlong" in name:
        return 64
    return 32 if "float" in name or "int" in name or "32" in name else 0


# Voxels


def _pixels(path: Path) -> VolumePixels:
    with _guarded(path):
        sitk = require("SimpleITK", extra="volumes")
        reader = _opened(path)
        header = _geometry(reader)
        is_nifti = volume_suffix(path) in (".nii", ".nii.gz")
        array = _nifti_voxels(path) if is_nifti else sitk.GetArrayFromImage(reader.Execute())
        array = array.reshape(array.shape[-3:] if array.ndim > 2 else (1, *array.shape))
        if array.dtype == np.float64:
            with np.errstate(over="ignore"):  # values that overflow become infinite
                array = array.astype(np.float32)
        outside = _outside(array)
        pixels = _interpreted(header.oriented(array))
        if outside is not None and pixels.content == "hu":
            array[outside] = min(array.min(), _AIR - pixels.offset)
        return pixels


def _outside(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Find voxels outside the field of view, and give them the least value in place.

    Many volumes, such as resampled ones, have NaN where nothing was measured; where a logarithm or
    a division made them, -inf.
    """
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    if count := int(np.count_nonzero(np.isposinf(array))):
        raise Refusal(f"has {count} infinite voxels; replace them by 3071, the end of the CT scale")
    outside: npt.NDArray[np.bool_] = ~np.isfinite(array)
    if outside.all():
        raise Refusal("has no voxel that is a number (all are NaN); export it again")
    array[outside] = array[~outside].min()
    _log_outside()
    return outside


@functools.cache  # once per process, since a dataset contains many such files
def _log_outside() -> None:
    _LOG.warning(
        "NaN voxels of volume files are read as air outside the field of view (logged once)"
    )


def _interpreted(array: npt.NDArray[Any]) -> VolumePixels:
    """Distinguish Hounsfield units, windowed gray values and masks, by the range of values.

    Values with a minimum below 0 and a range of more than 50 are Hounsfield units, unless they are
    recognized as Hounsfield units with an offset and almost no voxel but the padding is as low as
    air. Values from 0 to 255 are gray values of a window, or a mask if there are at most 16
    different whole numbers. Larger values are Hounsfield units with an offset if
    :func:`covidct.datasets.gray.as_hounsfield` recognizes them. Other values, such as standardized
    ones, have an unknown unit and are scaled over the range of the volume.
    """
    least, most = float(array.min()), float(array.max())
    n, height, width = (max(1, length // 128) for length in array.shape)
    sample = array[::n, ::height, ::width]
    has_air = np.mean((sample < -400) & (sample > least)) > _LEAST_AIR
    if least < 0 and most - least > _LEAST_SPAN and (has_air or as_hounsfield(sample) is None):
        return VolumePixels(array, "hu", 0.0)
    if most > 255 and (units := as_hounsfield(sample)) is not None:
        offsets = np.unique(units - sample.astype(np.float32))
        if len(offsets) > 1:  # signed values that were saved as unsigned ones
            return VolumePixels(array.astype(np.uint16).view(np.int16), "hu", 0.0)
        return VolumePixels(array, "hu", float(offsets[0]))
    if least >= 0 and most <= 255:
        values = np.unique(sample)
        if len(values) <= _MAX_LABELS and bool((values == np.rint(values)).all()):
            return VolumePixels(array, "mask", 0.0)
        return VolumePixels(array, "gray", 0.0, 1.0 if most > 1 else 255.0)
    return VolumePixels(array, "gray", -least, 255.0 / max(most - least, 1e-30))


class BoundedCache:
    """Cache of values computed from files, of limited total size.

    Only one value is computed at a time, so that threads that need the same file wait for it, and
    memory is limited to `max_bytes` and one value. A value above the limit is kept until another
    file is read.

    Parameters
    ----------
    max_bytes : int
        Maximum size of the cached values, in bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[tuple[str, int, int], tuple[Any, int]] = OrderedDict()

    def get(self, path: Path, compute: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """Return the value of a file; compute it if it is not cached or the file has changed."""
        try:
            status = path.stat()
        except OSError as error:
            raise InvalidFileError(
                f"{str(path)!r} cannot be read ({error.strerror}); check the path"
            ) from None
        key = (os.fspath(path.absolute()), status.st_size, status.st_mtime_ns)
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
            value = compute()
            self._values[key] = (value, size(value))
            while len(self._values) > 1 and self._bytes() > self._max_bytes:
                self._values.popitem(last=False)
            return value

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._values.clear()

    def _bytes(self) -> int:
        return sum(size for _, size in self._values.values())


#: Decoded volumes and opened multi-frame files.
CACHE = BoundedCache(_CACHE_BYTES)

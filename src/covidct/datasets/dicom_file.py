"""Safe reading of a DICOM file: its tags, its frames, and the reason if it is refused."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._extras import require
from .._files import placeholder_reason
from ..errors import InvalidFileError, InvalidSliceError
from ._decoding import MAX_BYTES, MAX_PIXELS, PARSER_ERRORS, STRICT, Refusal
from ._listing import is_dicom
from .gray import LUNG, Window, WindowChoice, as_hounsfield, as_window, luma, to_gray

__all__ = ["MAX_VOXELS", "DicomFile", "Refusal", "guarded"]

#: Largest number of pixels of a series that is held in memory, all slices together.
MAX_VOXELS = 2**29
# A deflated file is inflated when it is opened, and the ratio of deflate is up to 1032 to 1.
_MAX_DEFLATED = MAX_BYTES // 1032
# Beginnings of files without a preamble: the magic, or the meta information.
_WITHOUT_PREAMBLE = (b"DICM", b"\x02\x00\x00\x00", b"\x02\x00\x01\x00", b"\x02\x00\x02\x00")

_CT = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
)
_SCREENSHOT = (
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image Storage
    "1.2.840.10008.5.1.4.1.1.7.2",  # the same for several frames: gray
    "1.2.840.10008.5.1.4.1.1.7.4",  # and color
)
_INDEX = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
# Sequences in which enhanced (multi-frame) files store tags that other files have at the top level.
_MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
    "FrameType": "CTImageFrameTypeSequence",
    "VolumeBasedCalculationTechnique": "CTImageFrameTypeSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
}
_PALETTE = tuple(
    f"{color}PaletteColorLookupTable{part}"
    for color in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
)
_PIXEL_TAGS = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation"),
)
# Tags of the pixels of parametric maps, which have no PixelData.
_FLOATS = {(0x7FE0, 0x0008): "FloatPixelData", (0x7FE0, 0x0009): "DoubleFloatPixelData"}
# Tags that are read from a file; the patient's name, for example, is not read.
_TAGS = (
    *("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"),
    *(
        "ImageType",
        "SeriesDescription",
        "InstanceNumber",
        "SliceLocation",
        "AcquisitionNumber",
        "AcquisitionTime",
    ),
    *("TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "ConvolutionKernel"),
    "SliceThickness",
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", *_MACROS),
    *(*_PIXEL_TAGS, "NumberOfFrames", "PlanarConfiguration", "HighBit"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", *_PALETTE),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData", *_FLOATS.values()),
)
# Packages that pydicom needs to decode the compressions of CT, by the end of the UID.
_GDCM = "'covidct[dicom]'"
_DECODERS = {
    **dict.fromkeys(("50", "57", "70", "80", "81", "90", "91"), _GDCM),
    "51": "pylibjpeg pylibjpeg-libjpeg",  # GDCM does not decode 12 bits
    **dict.fromkeys(("201", "202", "203"), "pylibjpeg pylibjpeg-openjpeg"),
}
# Padding from this value in HU on, the end of 12 bits, is blackened, since it would look like bone.
# Below air it is black anyway; between both it is left as it is, since some scanners name a value
# as padding that occurs in the body.
_BRIGHT = 3071
# Value in HU that many scanners give to pixels outside the field of view.
_OUTSIDE = -2000


Gray = npt.NDArray[np.uint8]

_THREAD = threading.local()
# Loggers of pydicom. A filter does not apply to the loggers below its own.
_LOGGERS = ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils")


def _is_from_elsewhere(record: logging.LogRecord) -> bool:
    """Return True for a log record of pydicom unless this thread is reading a file here."""
    del record
    return not getattr(_THREAD, "is_reading", False)


def _parser_errors() -> tuple[type[BaseException], ...]:
    """Return the errors of parsers, including those of pydicom that derive from Exception only."""
    errors = require("pydicom", extra="dicom").errors
    return (*PARSER_ERRORS, errors.InvalidDicomError, errors.BytesLengthException)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Convert any error to an InvalidFileError that names the file and quotes nothing from it.

    The message of a parser may contain text from the file, such as the patient's name. Therefore,
    messages and tracebacks are not passed on, and records that pydicom logs in this thread are
    dropped.
    """
    expected = _parser_errors()  # which also imports pydicom
    # Added once and never removed, since it passes all records that are caused by other code.
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_from_elsewhere)
    _THREAD.is_reading = True
    try:
        with STRICT:
            yield
    except Refusal as refusal:
        failure = refusal
    except expected as error:
        system = error.strerror if isinstance(error, OSError) else None
        failure = Refusal(
            f"cannot be read ({system or type(error).__name__}); "
            "replace it by an intact copy or remove it"
        )
    else:
        return
    finally:
        _THREAD.is_reading = False
    kind = InvalidSliceError if failure.skippable else InvalidFileError
    raise kind(f"{str(path)!r} {failure}") from None


class DicomFile:
    """DICOM file with CT slices, or with pictures (secondary captures).

    Only the header is read at first; each frame is read from the file when it is requested.

    Parameters
    ----------
    path : Path
        The file. Its preamble and file meta information may be missing.

    Raises
    ------
    Refusal
        If the file is not DICOM, is too large, or lacks a required tag.
    """

    def __init__(self, path: Path) -> None:
        pydicom = require("pydicom", extra="dicom")
        if path.is_dir():
            raise Refusal("is a folder; use covidct.datasets.dicom.read_series")
        self.path = path
        self._size = path.stat().st_size
        if not path.is_file():
            raise Refusal("is not a regular file (but a device, pipe or socket); give a file")
        if self._size > MAX_BYTES:
            raise Refusal(
                f"has {self._size} bytes, more than the {MAX_BYTES} allowed; split the file"
            )
        with self._open() as file:
            if not is_dicom(file):
                reason = placeholder_reason(path)
                raise Refusal(reason or "is not a DICOM file; convert or remove it")
            syntax = self._transfer_syntax(file)
            self._inflated = bool(syntax and syntax.is_deflated)
            if self._inflated and self._size > _MAX_DEFLATED:
                raise Refusal(
                    f"has {self._size} bytes, more than the {_MAX_DEFLATED} allowed for "
                    f"{syntax.name}; inflate it"
                )
            file.seek(0)
            self._dataset = pydicom.dcmread(
                file,
                stop_before_pixels=not self._inflated,
                force=True,
                specific_tags=list(_TAGS),
            )
            # Position of the pixel element, if the pixels are not in the dataset.
            self._place = file.tell()
        if not syntax:  # only without meta information, which some exporters leave out
            syntax = self._guessed_syntax()
            self._dataset.file_meta.TransferSyntaxUID = syntax
        self.syntax = syntax

    def _open(self) -> BinaryIO:
        """Open the file, completed by the preamble if that is missing."""
        file = self.path.open("rb")
        head = file.read(132)
        file.seek(0)
        if head[128:] == b"DICM" or head[:4] not in _WITHOUT_PREAMBLE:
            return file
        magic = b"" if head[:4] == b"DICM" else b"DICM"
        with file:
            return io.BytesIO(bytes(128) + magic + file.read())

    def _guessed_syntax(self) -> Any:
        """Return the syntax, without compression, in which pydicom understood the tags."""
        uid = require("pydicom", extra="dicom").uid
        implicit, little = self._dataset.original_encoding
        if implicit:
            return uid.ImplicitVRLittleEndian
        return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian

    @staticmethod
    def _transfer_syntax(file: BinaryIO) -> Any:
        """Read the transfer syntax, since pydicom inflates a deflated file when it opens it."""
        pydicom = require("pydicom", extra="dicom")
        file.seek(128)
        if file.read(4) != b"DICM":
            return None
        meta = pydicom.filereader.read_dataset(
            file,
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=lambda tag, *_: tag >> 16 != 2,
        )
        if not meta.get("TransferSyntaxUID"):
            raise Refusal("lacks TransferSyntaxUID; save it with its DICOM header")
        return meta.TransferSyntaxUID

    # Tags

    def tag(self, keyword: str, *, frame: int = 0) -> Any:
        """Return the value of a tag, or None if it is missing or empty."""
        try:
            places = [self._dataset]
            if keyword in _MACROS:  # A frame's own value goes before that of all frames.
                frames = self._dataset.get("PerFrameFunctionalGroupsSequence")
                shared = self._dataset.get("SharedFunctionalGroupsSequence")
                groups = [*(frames[frame : frame + 1] if frames else ()), *(shared or ())]
                places = [macro for group in groups for macro in group.get(_MACROS[keyword]) or ()]
                places.append(self._dataset)
            values = (place.get(keyword) for place in places)
            return next((value for value in values if value not in (None, "")), None)
        except _parser_errors():
            raise Refusal(f"has a malformed {keyword}; export it again with valid tags") from None

    def needed(self, keyword: str, *, frame: int = 0) -> Any:
        """Return the value of a required tag."""
        value = self.tag(keyword, frame=frame)
        if value is None:
            raise Refusal(f"lacks {keyword} (missing or empty); export it again with all its tags")
        return value

    def numbers(self, keyword: str, n: int, *, frame: int = 0) -> npt.NDArray[np.float64]:
        """Return the value of a tag that must contain `n` finite numbers."""
        try:
            values = np.atleast_1d(np.array(self.needed(keyword, frame=frame), np.float64))
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.shape != (n,) or not np.isfinite(values).all():
            raise Refusal(f"needs {n} finite number{'s' * (n > 1)} in {keyword}; correct the tag")
        return values

    @property
    def frames(self) -> int:
        """Number of slices in the file."""
        if self.tag("NumberOfFrames") is None:
            return 1
        frames = int(self.numbers("NumberOfFrames", 1)[0]) or 1
        # A frame takes at least the 8 bytes of an item, or those of its pixels.
        if not 1 <= frames <= max(1, self._size if self._inflated else self._size // 8):
            raise Refusal(
                f"has a NumberOfFrames of {frames}, more than its {self._size} bytes can contain; "
                "correct the tag"
            )
        return frames

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a slice."""
        return int(self.numbers("Rows", 1)[0]), int(self.numbers("Columns", 1)[0])

    @property
    def patient(self) -> str | None:
        """Beginning of the SHA-256 of PatientID; None if the tag is missing."""
        identity = str(self.tag("PatientID") or "").strip()
        return hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else None

    @property
    def is_index(self) -> bool:
        """True for the index of a medium (DICOMDIR)."""
        return bool(self._dataset.file_meta.get("MediaStorageSOPClassUID") == _INDEX)

    def listed(self) -> list[tuple[str, ...]] | None:
        """Return the files that an index of a medium lists, each as parts of a path."""
        if not self.is_index:
            return None
        pydicom = require("pydicom", extra="dicom")
        with self._open() as file:
            index = pydicom.dcmread(file, specific_tags=["DirectoryRecordSequence"], force=True)
        found = []
        for record in index.get("DirectoryRecordSequence") or ():
            parts = record.get("ReferencedFileID") or ()
            if parts:
                found.append((parts,) if isinstance(parts, str) else tuple(map(str, parts)))
        return found

    def pixel_digest(self) -> str:
        """Return the SHA-256 of the stored pixels, in their compressed form."""
        if self._inflated:
            return hashlib.sha256(self.needed("PixelData")).hexdigest()
        digest = hashlib.sha256()
        with self._open() as file:
            options: dict[str, Any] = {}
            left = self._seek_pixels(file, options)
            while left and (part := file.read(min(left, 1 << 20))):
                digest.update(part)
                left -= len(part)
        return digest.hexdigest()

    @property
    def is_screenshot(self) -> bool:
        """True for a secondary capture, whose gray values have no unit."""
        return self.tag("SOPClassUID") in _SCREENSHOT

    def require_ct(self) -> None:
        """Raise Refusal unless the file contains CT."""
        kind = self.needed("SOPClassUID")
        if kind not in _CT:
            # The name of a private class may be any text from the file.
            name = kind.name if kind.is_valid and not kind.is_private else "something"
            raise Refusal(f"contains {name}, not CT; give CT slices")

    # Pixels

    def image(self, index: int = 0, window: WindowChoice | Window = "lung") -> Image.Image:
        """Read one frame as a picture.

        Parameters
        ----------
        index : int, default=0
            Stored index of the frame.
        window : {"lung", "range", "file"}, tuple of (float, float) or Window, default="lung"
            As in :func:`covidct.datasets.gray.to_gray`.

        Returns
        -------
        PIL.Image.Image
            CT in mode "L"; secondary captures in mode "L" or "RGB".
        """
        if not self.is_screenshot:
            return Image.fromarray(self.frame(index, window))
        pixels = self._one(index)
        kind = self.needed("PhotometricInterpretation")
        if kind == "PALETTE COLOR":
            pydicom = require("pydicom", extra="dicom")
            pixels = pydicom.pixels.apply_color_lut(pixels, self._dataset)
        if pixels.ndim == 3 and pixels.dtype == np.uint8:
            return Image.fromarray(pixels)
        gray = to_gray(luma(pixels) if pixels.ndim == 3 else pixels, window)
        return Image.fromarray(255 - gray if kind == "MONOCHROME1" else gray)

    def frame(self, index: int = 0, window: WindowChoice | Window = "lung") -> Gray:
        """Read one CT slice through a window, decoding only that frame.

        Parameters
        ----------
        index : int, default=0
            Stored index of the frame.
        window : {"lung", "range", "file"}, tuple of (float, float) or Window, default="lung"
            As in :func:`covidct.datasets.gray.to_gray`.

        Returns
        -------
        ndarray of uint8 of shape (height, width)
            Gray values; inverted for MONOCHROME1.
        """
        self._require_gray_ct()
        return self._shown(self._one(index), index, window)

    def gray(self, window: WindowChoice | Window = "lung") -> Iterator[Gray]:
        """Read all CT slices through a window, in stored order; see :meth:`frame`."""
        self._require_gray_ct()
        for index, stored in enumerate(self._stored(None)):
            yield self._shown(stored, index, window)

    def hu(self, index: int = 0) -> npt.NDArray[np.float32] | None:
        """Read one CT slice in Hounsfield units, decoding only that frame.

        Parameters
        ----------
        index : int, default=0
            Stored index of the frame.

        Returns
        -------
        ndarray of float32 of shape (height, width) or None
            Values, with padding at the value of air or below (-2000 HU if it was stored as bright
            as bone). None if the unit of the values is unknown.
        """
        self._require_gray_ct()
        values, known = self._rescaled(self._one(index), index)
        return values if known else as_hounsfield(values)

    def _require_gray_ct(self) -> None:
        self.require_ct()
        if self.needed("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
            raise Refusal(
                "contains a CT slice in color, which has no Hounsfield units; export the original"
            )

    def _shown(self, stored: npt.NDArray[Any], index: int, window: WindowChoice | Window) -> Gray:
        window = as_window(window)
        if window == "file":
            window = self._own_window(index)
        if isinstance(window, Window) and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
            # A slice has a few thousand different values, each of which is looked up in a table.
            low, high = int(stored.min()), int(stored.max())
            values, known = self._rescaled(np.arange(low, high + 1).astype(stored.dtype), index)
            if known:
                table = to_gray(values, window, hounsfield=True)
                return self._displayed(table[stored.astype(np.intp) - low])
        values, known = self._rescaled(stored, index)
        return self._displayed(to_gray(values, window, hounsfield=known or None))

    def _displayed(self, gray: Gray) -> Gray:
        return 255 - gray if self.tag("PhotometricInterpretation") == "MONOCHROME1" else gray

    def _rescaled(self, stored: npt.NDArray[Any], index: int) -> tuple[npt.NDArray[Any], bool]:
        """Apply the modality transform; return also True if the result is in Hounsfield units.

        A lookup table, or a RescaleType other than HU ("US" is unspecified), leaves the unit to be
        recognized by the values: many scanners label Hounsfield units as US. So do unsigned values
        that are stored as they are, since air is negative in Hounsfield units: they are windowed
        already (8 bits), or their RescaleIntercept was lost.
        """
        if self.tag("ModalityLUTSequence") is not None:
            pydicom = require("pydicom", extra="dicom")
            try:
                table = pydicom.pixels.apply_modality_lut(stored, self._dataset)
            except PARSER_ERRORS:
                raise Refusal(
                    "has a malformed ModalityLUTSequence; export it again with valid tags"
                ) from None
            return table, False
        slope = float(self.numbers("RescaleSlope", 1, frame=index)[0])
        intercept = float(self.numbers("RescaleIntercept", 1, frame=index)[0])
        if slope == 0:
            raise Refusal("has a RescaleSlope of 0, which leaves no values; export it again")
        if stored.dtype.kind == "u" and (slope, intercept) == (1, 0):
            return stored, False
        with np.errstate(over="ignore", invalid="ignore"):  # a slope may be absurd
            values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        padding = self._bright_padding(stored, slope, intercept)
        if padding is not None:
            values[padding] = _OUTSIDE
        return values, self.tag("RescaleType", frame=index) in (None, "HU")

    def _bright_padding(
        self, stored: npt.NDArray[Any], slope: float, intercept: float
    ) -> npt.NDArray[np.bool_] | None:
        """Mark pixels outside the field of view (PixelPaddingValue) if they look like bone."""
        if self.tag("PixelPaddingValue") is None:
            return None
        limits = [
            int(self.numbers(keyword, 1)[0])
            for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
            if self.tag(keyword) is not None
        ]
        if stored.dtype.kind == "i":  # -2000 is often written as the unsigned 63536
            bits = 8 * stored.dtype.itemsize
            limits = [
                limit - (1 << bits) if limit >> (bits - 1) == 1 else limit for limit in limits
            ]
        low, high = min(limits), max(limits)
        if min(low * slope, high * slope) + intercept < _BRIGHT:
            return None
        return (stored >= low) & (stored <= high)

    def _own_window(self, frame: int) -> Window:
        try:
            level, width = (
                float(np.ravel(self.needed(keyword, frame=frame))[0])
                for keyword in ("WindowCenter", "WindowWidth")
            )
        except (TypeError, ValueError):
            level = width = np.nan
        shape = str(self.tag("VOILUTFunction", frame=frame) or LUNG.shape)
        window = Window(level, width, shape)
        if not window.is_valid:
            raise Refusal(
                "has a display window (WindowCenter, WindowWidth) that DICOM does not allow; "
                'choose "lung" or your own'
            )
        return window

    def _stored(self, indices: list[int] | None) -> Iterator[npt.NDArray[Any]]:
        """Yield the stored values of some frames or all, (H, W) or, in color, (H, W, 3)."""
        pydicom = require("pydicom", extra="dicom")
        self._check_pixel_tags()
        for index in indices or ():
            if not 0 <= index < self.frames:
                raise Refusal(f"has {self.frames} frames; there is no frame {index}")
        try:
            decoder = pydicom.pixels.get_decoder(self.syntax)
        except NotImplementedError:
            raise Refusal(
                f"is compressed as {self.syntax.name} ({self.syntax}), which is not decoded; "
                "export it without compression"
            ) from None
        try:
            yield from self._frames(decoder, indices)
        except RuntimeError:  # of which NotImplementedError is one: no plug-in could decode them
            if decoder.is_available:
                raise Refusal(
                    f"cannot be decoded from {self.syntax.name} ({self.syntax}), although a "
                    "decoder is installed; replace it by an intact copy or remove it"
                ) from None
            package = _DECODERS.get(self.syntax.rpartition(".")[2], _GDCM)
            raise Refusal(
                f"is compressed as {self.syntax.name} ({self.syntax}), for which a decoder is "
                f"missing: pip install {package}",
                skippable=False,
            ) from None
        except (ValueError, EOFError, StopIteration):
            raise Refusal(
                "has pixels that are cut off, or that its tags describe wrongly; "
                "replace it by an intact copy or remove it"
            ) from None

    def _check_pixel_tags(self) -> None:
        """Check the tags of the pixels and the size of a frame before decoding."""
        if kind := self._float_pixels():
            raise Refusal(
                f"contains {kind}, not the whole numbers of CT; save them as PixelData of 16 bits "
                "with RescaleSlope and RescaleIntercept, or the series as NIfTI"
            )
        for keyword in _PIXEL_TAGS:
            if keyword == "PhotometricInterpretation":
                self.needed(keyword)
            else:
                self.numbers(keyword, 1)
        height, width = self.shape
        samples = int(self.numbers("SamplesPerPixel", 1)[0])
        if not 0 < height * width * samples <= MAX_PIXELS:
            raise Refusal(
                f"has {self.frames} frames of {height} x {width} pixels; "
                f"1 to {MAX_PIXELS} pixels are allowed in a frame"
            )

    def _float_pixels(self) -> str | None:
        """Return the name of the element if the pixels are floating-point numbers."""
        if self._inflated:
            return next((keyword for keyword in _FLOATS.values() if keyword in self._dataset), None)
        with self._open() as file:
            file.seek(self._place)
            head = file.read(4)
        order: Literal["little", "big"] = "little" if self.syntax.is_little_endian else "big"
        return _FLOATS.get((int.from_bytes(head[:2], order), int.from_bytes(head[2:], order)))

    def _used_bits(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Clear the bits that do not belong to the values, such as those of old overlays.

        Only native and run-length encoded data can have such bits. Shifting left and back also
        extends the sign of signed values.
        """
        used, allocated = (int(self.needed(name)) for name in ("BitsStored", "BitsAllocated"))
        if used >= allocated or stored.dtype.kind not in "iu":
            return stored
        high = int(self.numbers("HighBit", 1)[0]) if self.tag("HighBit") is not None else used - 1
        if not used - 1 <= high < allocated:
            high = used - 1
        return stored << (allocated - 1 - high) >> (allocated - used)

    def _frames(self, decoder: Any, indices: Iterable[int] | None) -> Iterator[npt.NDArray[Any]]:
        pydicom = require("pydicom", extra="dicom")
        options = pydicom.pixels.as_pixel_options(self._dataset, number_of_frames=self.frames)
        raw = not self.syntax.is_encapsulated or self.syntax == pydicom.uid.RLELossless
        if raw:
            options["correct_unused_bits"] = False  # done here, since pydicom ignores HighBit
        with self._open() as file:
            source = self._dataset
            if self._inflated:
                self.needed("PixelData")
            else:
                self._seek_pixels(file, options)
                source = file
            for stored, _ in decoder.iter_array(source, indices=indices, **options):
                yield self._used_bits(stored) if raw else stored

    def _one(self, index: int) -> npt.NDArray[Any]:
        for stored in self._stored([index]):
            return stored
        raise Refusal("has pixels that are cut off; replace it by an intact copy or remove it")

    def _seek_pixels(self, file: BinaryIO, options: dict[str, Any]) -> int:
        """Move to the first byte of the pixels; return their number of bytes, after a check."""
        file.seek(self._place)
        order: Literal["little", "big"] = "little" if self.syntax.is_little_endian else "big"
        head = file.read(8)
        group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))
        if (group, element) != (0x7FE0, 0x0010):
            raise Refusal("lacks PixelData; export it again with all its tags")
        if self.syntax.is_implicit_VR:
            length = int.from_bytes(head[4:], order)
        else:
            options["pixel_vr"] = head[4:6].decode("ascii", "replace")
            length = int.from_bytes(file.read(4), order)
        options["pixel_keyword"] = "PixelData"
        start = file.tell()
        available = file.seek(0, io.SEEK_END) - start
        file.seek(start)
        is_open = length == 0xFFFFFFFF  # ends with a mark, as only compressed pixels do
        if self.syntax.is_encapsulated and is_open:
            return available
        if self.syntax.is_encapsulated or is_open:
            stated, found = ("a", "no") if self.syntax.is_encapsulated else ("no", "a")
            raise Refusal(
                f"has pixels with {found} compression, while its TransferSyntaxUID states {stated} "
                f"compression ({self.syntax.name}); correct the tag or export it again"
            )
        height, width = self.shape
        samples, bits = (int(self.needed(name)) for name in ("SamplesPerPixel", "BitsAllocated"))
        if self.tag("PhotometricInterpretation") == "YBR_FULL_422":
            samples = 2
        needed = (height * width * samples * bits * self.frames + 7) // 8
        if min(length, available) < needed:
            raise Refusal(
                f"has pixels that are cut off ({min(length, available)} bytes of {needed}); "
                "replace it by an intact copy or remove it"
            )
        return min(length, available)

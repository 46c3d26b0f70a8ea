"""One DICOM file, opened with care: its tags, its frames, and why it is refused."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._extras import require
from ..errors import InvalidFileError
from ._decoding import MAX_BYTES, PARSER_ERRORS, STRICT
from .gray import LUNG, Window, WindowChoice, to_gray

__all__ = ["MAX_VOXELS", "DicomFile", "Refusal", "guarded"]

#: The most pixels that a file or a series may have, all slices together.
MAX_VOXELS = 2**29
# A deflated file is inflated as it is opened, and deflate packs up to 1032 to 1.
_MAX_DEFLATED = MAX_BYTES // 1032

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
# Where enhanced (multi-frame) files keep what others have at their top.
_MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
    "FrameType": "CTImageFrameTypeSequence",
    "VolumeBasedCalculationTechnique": "CTImageFrameTypeSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
}
# All that is read of a file: the patient's name, for one, is not.
_TAGS = (
    *("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"),
    *("ImageType", "SeriesDescription", "InstanceNumber", "AcquisitionNumber", "AcquisitionTime"),
    *("TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "ConvolutionKernel"),
    "SliceThickness",
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", *_MACROS),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
)
# What pydicom needs to decode the compressions that CTs come in, by the end of the UID.
_DECODERS = {
    **dict.fromkeys(("50", "51", "57", "70"), "pylibjpeg pylibjpeg-libjpeg"),
    **dict.fromkeys(("80", "81"), "pyjpegls"),
    **dict.fromkeys(("90", "91", "201", "202", "203"), "pylibjpeg pylibjpeg-openjpeg"),
}


_THREAD = threading.local()


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Tell whether something else than this module made pydicom log."""
    del record
    return not getattr(_THREAD, "is_reading", False)


class Refusal(Exception):
    """Why a file is not accepted, and what to do about it."""


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what goes wrong into an InvalidFileError that names the file, and quotes none of it.

    The words of a parser may contain those of the file, such as the patient's name: neither they
    nor the traceback they came with are passed on, and what this thread makes pydicom log is not.
    """
    pydicom = require("pydicom", extra="dicom")
    # Added once and left there, since it lets everything pass that is none of ours.
    logging.getLogger("pydicom").addFilter(_is_not_ours)
    _THREAD.is_reading = True
    try:
        with STRICT:
            yield
    except Refusal as refusal:
        reason = str(refusal)
    except pydicom.errors.InvalidDicomError:
        reason = "is no DICOM file ('DICM' is missing at byte 128); convert or remove it"
    except (*PARSER_ERRORS, pydicom.errors.BytesLengthException) as error:
        system = error.strerror if isinstance(error, OSError) else None
        reason = f"cannot be read ({system or type(error).__name__}); "
        reason += "replace it by an intact copy or remove it"
    else:
        return
    finally:
        _THREAD.is_reading = False
    raise InvalidFileError(f"{str(path)!r} {reason}") from None


class DicomFile:
    """A file with CT slices, or with a screenshot.

    Parameters
    ----------
    path
        The file.
    header_only
        Whether to leave the pixels aside.

    Raises
    ------
    Refusal
        If the file is too large, or lacks a tag without which nothing can be told of it.
    """

    def __init__(self, path: Path, *, header_only: bool = False) -> None:
        pydicom = require("pydicom", extra="dicom")
        self.path = path
        if path.is_dir():
            raise Refusal("is a folder; use covidct.datasets.dicom.read_series")
        self.syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
        if not self.syntax:
            raise Refusal("lacks TransferSyntaxUID; save it with its DICOM header")
        limit = _MAX_DEFLATED if self.syntax.is_deflated else MAX_BYTES
        if path.stat().st_size > limit:
            raise Refusal(
                f"has {path.stat().st_size} bytes, more than the {limit} allowed for "
                f"{self.syntax.name}; split or inflate it"
            )
        self._dataset = pydicom.dcmread(
            path, stop_before_pixels=header_only, specific_tags=list(_TAGS)
        )

    # Tags

    def tag(self, keyword: str, *, frame: int = 0) -> Any:
        """Value of a tag, None where it is missing or empty."""
        places = [self._dataset]
        if keyword in _MACROS:  # What is said of the frame goes before what is said of all.
            frames = self._dataset.get("PerFrameFunctionalGroupsSequence")
            shared = self._dataset.get("SharedFunctionalGroupsSequence")
            groups = [*(frames[frame : frame + 1] if frames else ()), *(shared or ())]
            places = [macro for group in groups for macro in group.get(_MACROS[keyword]) or ()]
            places.append(self._dataset)
        values = (place.get(keyword) for place in places)
        return next((value for value in values if value not in (None, "")), None)

    def needed(self, keyword: str, *, frame: int = 0) -> Any:
        """Value of a tag that must be there."""
        value = self.tag(keyword, frame=frame)
        if value is None:
            raise Refusal(f"lacks {keyword}; export it again with all its tags")
        return value

    def numbers(self, keyword: str, n: int, *, frame: int = 0) -> npt.NDArray[np.float64]:
        """Value of a tag that must hold ``n`` finite numbers."""
        values = np.atleast_1d(np.array(self.needed(keyword, frame=frame), np.float64))
        if values.shape != (n,) or not np.isfinite(values).all():
            raise Refusal(f"needs {n} finite numbers in {keyword}")
        return values

    @property
    def frames(self) -> int:
        """How many slices the file holds."""
        return int(self.tag("NumberOfFrames") or 1)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a slice."""
        return int(self.needed("Rows")), int(self.needed("Columns"))

    @property
    def patient(self) -> str | None:
        """Start of the SHA-256 of PatientID."""
        identity = str(self.tag("PatientID") or "").strip()
        return hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else None

    @property
    def is_index(self) -> bool:
        """Whether it lists the files of a medium (DICOMDIR)."""
        return bool(self._dataset.file_meta.get("MediaStorageSOPClassUID") == _INDEX)

    def listed(self) -> list[tuple[str, ...]] | None:
        """Return the files that an index of a medium lists, each as parts of a path."""
        if not self.is_index:
            return None
        pydicom = require("pydicom", extra="dicom")
        index = pydicom.dcmread(self.path, specific_tags=["DirectoryRecordSequence"])
        found = []
        for record in index.get("DirectoryRecordSequence") or ():
            parts = record.get("ReferencedFileID") or ()
            if parts:
                found.append((parts,) if isinstance(parts, str) else tuple(map(str, parts)))
        return found

    def pixel_digest(self) -> str:
        """Return the SHA-256 of the stored pixels, as they are compressed."""
        return hashlib.sha256(self.needed("PixelData")).hexdigest()

    @property
    def is_screenshot(self) -> bool:
        """Whether gray values mean nothing but gray."""
        return self.tag("SOPClassUID") in _SCREENSHOT

    def require_ct(self) -> None:
        """Refuse what is not CT."""
        kind = self.needed("SOPClassUID")
        if kind not in _CT:
            # The name of a private class would be any text in the file.
            name = kind.name if kind.is_valid and not kind.is_private else "something"
            raise Refusal(f"holds {name}, not CT; give CT slices")

    # Pixels

    def screenshot(self, frame: int = 0) -> Image.Image:
        """Return the picture as it is stored: gray, or RGB."""
        pixels = next(islice(self._decoded(), frame, None))
        kind = self.needed("PhotometricInterpretation")
        depths = (np.uint8, np.uint16) if pixels.ndim == 2 else (np.uint8,)
        if kind == "PALETTE COLOR" or pixels.dtype not in depths:
            raise Refusal(
                f"is a screenshot with a palette, or of type {pixels.dtype}; save it as a PNG"
            )
        if kind == "MONOCHROME1":
            pixels = (2 ** int(self.needed("BitsStored")) - 1 - pixels).astype(pixels.dtype)
        return Image.fromarray(pixels)

    def gray(self, window: WindowChoice | Window) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield each CT slice through a window, or through that of the file."""
        self.require_ct()
        kind = self.needed("PhotometricInterpretation")
        if kind not in ("MONOCHROME1", "MONOCHROME2"):
            raise Refusal(
                "holds a CT slice in color, which has no Hounsfield units; export the original"
            )
        for frame, stored in enumerate(self._decoded()):
            slope = self.numbers("RescaleSlope", 1, frame=frame)
            intercept = self.numbers("RescaleIntercept", 1, frame=frame)
            own = self._own_window(frame) if window == "file" else None
            gray = to_gray(stored * slope + intercept, window, hounsfield=True, own=own)
            yield 255 - gray if kind == "MONOCHROME1" else gray

    def hu(self, frame: int = 0) -> npt.NDArray[np.float32]:
        """Return a CT slice in Hounsfield units."""
        self.require_ct()
        slope = self.numbers("RescaleSlope", 1, frame=frame)
        intercept = self.numbers("RescaleIntercept", 1, frame=frame)
        stored = next(islice(self._decoded(), frame, None))
        return (stored * slope + intercept).astype(np.float32)

    def _own_window(self, frame: int) -> Window:
        level, width = (
            float(np.ravel(self.needed(keyword, frame=frame))[0])
            for keyword in ("WindowCenter", "WindowWidth")
        )
        shape = str(self.tag("VOILUTFunction", frame=frame) or LUNG.shape)
        window = Window(level, width, shape)
        if not window.is_valid:
            raise Refusal(
                'has a display window that DICOM does not allow; choose "lung" or your own'
            )
        return window

    def _decoded(self) -> Iterator[npt.NDArray[Any]]:
        """Yield the stored values of each frame, (H, W) or, in color, (H, W, 3)."""
        pydicom = require("pydicom", extra="dicom")
        height, width = self.shape
        samples = int(self.tag("SamplesPerPixel") or 1)
        voxels = height * width * samples * self.frames
        if not 0 < voxels <= MAX_VOXELS:
            raise Refusal(
                f"has {self.frames} frames of {height} x {width} pixels; "
                f"1 to {MAX_VOXELS} pixels are allowed in all"
            )
        self.needed("PixelData")
        try:
            yield from pydicom.pixels.iter_pixels(self._dataset)
        except RuntimeError:  # of which NotImplementedError is one: no plug-in could decode them
            package = _DECODERS.get(self.syntax.rpartition(".")[2], "python-gdcm")
            raise Refusal(
                f"cannot be decoded from {self.syntax.name} ({self.syntax}); if it is intact, "
                f"a decoder is missing: pip install {package}"
            ) from None
        except ValueError:
            raise Refusal(
                "has pixels that are cut off, or that its tags describe wrongly; "
                "replace it by an intact copy or remove it"
            ) from None

"""A file that nobody vouches for becomes a decoded image, or an error that names it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InvalidFileError
from ._decoding import MAX_BYTES, PARSER_ERRORS, STRICT
from ._listing import is_dicom

__all__ = ["MAX_BYTES", "MAX_PIXELS", "image_format", "read_image"]

#: The most pixels that an image may have: a slice has a few hundred thousand.
MAX_PIXELS = 100_000_000

# What pictures come in. PIL would also try parsers that run other programs (EPS) or are obscure.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")


def read_image(path: Path | str) -> Image.Image:
    """Read one slice from a file that may be broken or hostile.

    The format is told by the content, whatever the name ends in: PNG, JPEG, WebP, TIFF, BMP, GIF,
    PPM, or DICOM (which needs pydicom). A rotation noted in the file (EXIF) is applied. Everything
    is decoded at once, so the file is closed and nothing fails later.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    PIL.Image.Image
        The decoded image in the mode in which it is stored.

    Raises
    ------
    InvalidFileError
        If the file is missing, empty, truncated, damaged, too large (:data:`MAX_PIXELS`,
        :data:`MAX_BYTES`), in another format, or holds several frames. The message names the file
        and the fix.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from covidct.datasets.reading import read_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "slice.png")
    ...     Image.new("L", (349, 253)).save(path)
    ...     read_image(path).size
    (349, 253)
    """
    path = Path(path)
    try:
        _check_file(path)
        with path.open("rb") as file:
            if not is_dicom(file):
                return _decoded(file)
    except _Refusal as refusal:
        raise _invalid(path, str(refusal)) from None
    except PARSER_ERRORS as error:
        raise _invalid(path, _reason(error)) from error

    from .dicom import read_slice  # here, since pydicom is optional

    return read_slice(path)


def image_format(path: Path) -> str:
    """Name the format of a file that :func:`read_image` reads: ``"PNG"``, ``"DICOM"``, ...

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    str
        As PIL names it; ``"none"`` for what is no such file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from covidct.datasets.reading import image_format
    >>> image_format(Path("nowhere.png"))
    'none'
    """
    try:
        with path.open("rb") as file, STRICT:
            if is_dicom(file):
                return "DICOM"
            return Image.open(file, formats=_FORMATS).format or "none"
    except PARSER_ERRORS:
        return "none"


class _Refusal(Exception):
    """Why a file is not accepted, and what to do about it."""


def _invalid(path: Path, reason: str) -> InvalidFileError:
    return InvalidFileError(f"{str(path)!r} {reason}")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        formats = ", ".join((*_FORMATS, "DICOM"))
        return f"is no intact image in a format that is read here ({formats}); convert or remove it"
    if isinstance(error, Image.DecompressionBombError):
        return f"has too many pixels ({error}); save a smaller image"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be opened ({error.strerror}); check the path and its permissions"
    detail = str(error) or type(error).__name__
    return f"cannot be decoded ({detail}); replace it by an intact copy or remove it"


def _check_file(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise _Refusal("is a directory, not an image; give the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise _Refusal("is no regular file (but a device, pipe or socket); give an image file")
    if status.st_size == 0:
        raise _Refusal("is empty (0 bytes); fetch it again or remove it")
    if status.st_size > MAX_BYTES:
        raise _Refusal(
            f"has {status.st_size} bytes, more than the {MAX_BYTES} allowed; save a smaller image"
        )


def _decoded(file: BinaryIO) -> Image.Image:
    with STRICT:
        image = Image.open(file, formats=_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise _Refusal(
                f"has {image.width} x {image.height} pixels, more than the {MAX_PIXELS} allowed; "
                "save a smaller image"
            )
        if getattr(image, "is_animated", False):
            raise _Refusal(
                "holds several frames; save the one slice that is meant as an image of its own"
            )
        return ImageOps.exif_transpose(image)  # decodes, and lets go of the file

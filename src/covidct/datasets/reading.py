"""Reading of one image from an untrusted file."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from ..errors import InvalidFileError, InvalidSliceError
from ._decoding import MAX_BYTES, MAX_PIXELS, PARSER_ERRORS, STRICT, Refusal, Samples
from ._listing import is_dicom, volume_suffix
from ._samples import deep_samples
from ._tiff import full_page
from ._unreadable import unreadable_reason
from .gray import DEEP_MODES, WindowChoice, as_window, luma, over_black, to_gray, to_grayscale

__all__ = ["MAX_BYTES", "MAX_PIXELS", "image_format", "read_image"]

# Formats of pictures. By default, PIL would also use parsers that run other programs (EPS) or are
# rarely used.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_TRANSPARENT = "is transparent everywhere (alpha 0), so that nothing is seen; save it without alpha"
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path | str, *, window: WindowChoice = "lung") -> Image.Image:
    """Read one slice from a file that may be damaged or malicious.

    The format is recognized by the content, not by the suffix: PNG, JPEG, WebP, TIFF, BMP, GIF,
    PPM, or DICOM (with or without preamble; needs pydicom). The orientation in the EXIF data is
    applied; invalid EXIF data are ignored. Previews that cameras and scanners add to JPEG and TIFF
    files are ignored. The file is closed when the function returns.

    Parameters
    ----------
    path : str or path-like
        The file.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window through which Hounsfield units are shown, as in
        :func:`covidct.datasets.gray.to_gray`. It applies to CT in DICOM files, and to pictures of
        more than 8 bits whose values are recognized as Hounsfield units.

    Returns
    -------
    PIL.Image.Image
        Pictures of up to 8 bits have the mode in which they are stored. CT slices in DICOM files,
        and pictures of more bits, are converted to mode "L", see :mod:`covidct.datasets.gray`;
        ``info["stored_bits"]`` of the latter is the number of stored bits.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file is missing, empty, truncated, damaged, too large (:data:`MAX_PIXELS`,
        :data:`MAX_BYTES`), in another format, or completely transparent, or contains several
        frames. The message contains the path, the reason and advice.
    ValueError
        If `window` is not one of these.

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
    as_window(window)
    path = Path(path)
    try:
        _check_file(path)
        with path.open("rb") as file:
            if not is_dicom(file):
                return _decoded(file, window)
    except Refusal as refusal:
        raise _invalid(path, refusal) from None
    except PARSER_ERRORS as error:
        raise _invalid(path, Refusal(_reason(error, path))) from error

    from .dicom import read_slice  # imported here, since pydicom is optional

    return read_slice(path, window=window)


def image_format(path: Path) -> str:
    """Return the name of the format of a file that :func:`read_image` reads.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        ``"DICOM"``, or the name of the format in PIL, such as ``"PNG"``; ``"none"`` for other
        files.

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
            if file.read(4) in _TIFF_MAGIC:
                return "TIFF"  # PIL cannot read all of those that are read here
            file.seek(0)
            return Image.open(file, formats=_FORMATS).format or "none"
    except PARSER_ERRORS:
        return "none"


def _invalid(path: Path, refusal: Refusal) -> InvalidFileError:
    kind = InvalidSliceError if refusal.skippable else InvalidFileError
    return kind(f"{str(path)!r} {refusal}")


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        if volume_suffix(path):
            return (
                "is a volume file; find its slices with covidct.datasets.find_slices and read them "
                "with covidct.datasets.read_frame"
            )
        return unreadable_reason(path, (*_FORMATS, "DICOM"))
    if isinstance(error, Image.DecompressionBombError):
        return f"has too many pixels ({error}); save a smaller image"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be opened ({error.strerror}); check the path and its permissions"
    detail = str(error) or type(error).__name__
    return f"cannot be decoded ({detail}); replace it by an intact copy or remove it"


def _check_file(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise Refusal("is a directory, not an image; give the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise Refusal("is not a regular file (but a device, pipe or socket); give an image file")
    if status.st_size == 0:
        raise Refusal("is empty (0 bytes); fetch it again or remove it")
    if status.st_size > MAX_BYTES:
        raise Refusal(
            f"has {status.st_size} bytes, more than the {MAX_BYTES} allowed; save a smaller image"
        )


def _decoded(file: BinaryIO, window: WindowChoice) -> Image.Image:
    with STRICT:
        is_tiff = file.read(4) in _TIFF_MAGIC
        file.seek(0)
        if is_tiff:
            return _tiff(file, window)
        image = Image.open(file, formats=_FORMATS)
        _check_size(image.size)
        if getattr(image, "is_animated", False):
            if not _adds_previews_only(image):
                raise Refusal("contains several frames; save one slice as an image of its own")
            file.seek(0)
            image = Image.open(file, formats=_FORMATS)
        samples = deep_samples(image, file)
        if samples is None:
            return _upright(image, window)
        return _shown(samples._replace(orientation=_orientation(image)), window)


def _tiff(file: BinaryIO, window: WindowChoice) -> Image.Image:
    number, page = full_page(file)
    _check_size(page.size)
    if page.is_deep:
        return _shown(page.samples(), window)
    file.seek(0)
    try:
        image = Image.open(file, formats=("TIFF",))
        image.seek(number)
    except UnidentifiedImageError:
        raise Refusal(
            f"is a {page.description}, which is not read here; save it as a PNG of 8 or 16 bits"
        ) from None
    _check_size(image.size)
    image.info.pop("xmp", None)  # if invalid, load() fails; the orientation is in a tag
    return _upright(image, window)


def _check_size(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise Refusal(
            f"has {size[0]} x {size[1]} pixels, more than the {MAX_PIXELS} allowed; "
            "save a smaller image"
        )


def _adds_previews_only(image: Image.Image) -> bool:
    """Return True if all further pictures in a JPEG are smaller, such as previews and gain maps.

    Pictures of one size are a stereo pair or a burst. The image cannot be used after the call.
    """
    if image.format != "MPO":
        return False
    pixels = image.width * image.height
    for frame in range(1, min(getattr(image, "n_frames", 1), 100)):
        try:
            image.seek(frame)
        except PARSER_ERRORS:  # previews that were lost when the file was copied
            return True
        if image.width * image.height >= pixels:
            return False
    return True


def _upright(image: Image.Image, window: WindowChoice) -> Image.Image:
    """Decode an image, and apply the orientation in its EXIF data."""
    image.load()
    if image.mode in ("LA", "PA", "RGBA") and image.getchannel("A").getextrema()[1] == 0:
        raise Refusal(_TRANSPARENT)
    method = _UPRIGHT.get(_orientation(image))
    plain = to_grayscale(image, window=window) if image.mode in DEEP_MODES else image.copy()
    turned = plain if method is None else plain.transpose(method)
    if image.mode in DEEP_MODES:
        turned.info["stored_bits"] = 16 if image.mode.startswith("I;16") else 32
    for key in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
        turned.info.pop(key, None)
    return turned


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except PARSER_ERRORS:
        return 1
    return value if isinstance(value, int) else 1


def _shown(samples: Samples, window: WindowChoice) -> Image.Image:
    """Convert samples of more than 8 bits to 8-bit gray."""
    values = samples.values if samples.values.ndim == 2 else luma(samples.values)
    if samples.alpha is None:
        gray = to_gray(values, window)
    elif not samples.alpha.any():
        raise Refusal(_TRANSPARENT)
    else:
        gray = over_black(values, samples.alpha, window)
    image = Image.fromarray(gray)
    method = _UPRIGHT.get(samples.orientation)
    turned = image if method is None else image.transpose(method)
    turned.info["stored_bits"] = 8 * samples.values.dtype.itemsize
    return turned

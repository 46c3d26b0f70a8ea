"""Conversion of stored values to 8-bit gray.

The input of networks is 8-bit gray pictures, but files contain Hounsfield units (DICOM, NIfTI and
many 16-bit PNG and TIFF files), raw detector values with an offset, or floats. :func:`to_gray`
converts all of them by the same rules, in this order:

1. **8-bit pictures** (uint8, or deeper samples with an 8-bit picture: values of 0 to 255 with
   a maximum of at least 128, or only multiples of 257 or 256 up to full scale) are windowed
   already and are not changed.
2. **Hounsfield units** go through the window. They are known from the file's tags (DICOM), or
   recognized by their values (:func:`as_hounsfield`), plain or with one of the usual offsets.
3. **Anything else** has an unknown unit. It is scaled over its robust range: from the smallest to
   the largest value, but at most a quarter of the distance between the 1 % and the 99 % quantiles
   beyond these, so that a few pixels of metal or padding do not reduce the contrast of the slice.

NaN becomes black, as do -inf and padding; +inf becomes white.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = [
    "LUNG",
    "Window",
    "WindowChoice",
    "as_hounsfield",
    "as_window",
    "luma",
    "over_black",
    "to_gray",
    "to_grayscale",
]

_logger = logging.getLogger(__name__)

Values = npt.NDArray[np.float32]
Gray = npt.NDArray[np.uint8]

_SHAPES: dict[str, Callable[[Values, float, float], Values]] = {
    # Equation C.11.2.1.2.1; a window of width 1 is a threshold.
    "LINEAR": lambda x, center, width: (x - (center - 0.5)) / max(width - 1, 1e-6) + 0.5,
    "LINEAR_EXACT": lambda x, center, width: (x - center) / width + 0.5,  # C.11.2.1.3.2
    "SIGMOID": lambda x, center, width: 1 / (1 + np.exp(-4 * (x - center) / width)),  # C.11.2.1.3.1
}


class Window(NamedTuple):
    """Display window in Hounsfield units (DICOM PS3.3, C.11.2.1).

    Attributes
    ----------
    level : float
        Center of the window.
    width : float
        Distance from black to white.
    shape : {"LINEAR", "LINEAR_EXACT", "SIGMOID"}, default="LINEAR"
        VOI LUT function of the DICOM standard.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.datasets.gray import Window
    >>> Window(-600, 1500).show(np.array([-1350.0, -600.0, 40.0, 3000.0]))
    array([  0, 128, 236, 255], dtype=uint8)
    """

    level: float
    width: float
    shape: str = "LINEAR"

    @property
    def is_valid(self) -> bool:
        """True if DICOM allows the window: a known shape, finite values and a sufficient width."""
        least = 1 if self.shape == "LINEAR" else np.nextafter(0, 1)
        finite = bool(np.isfinite(self.level) and np.isfinite(self.width))
        return self.shape in _SHAPES and finite and bool(self.width >= least)

    def show(self, hu: npt.ArrayLike) -> Gray:
        """Map Hounsfield units to gray values, 0 (black) to 255 (white); NaN becomes 0.

        Parameters
        ----------
        hu : array-like
            Hounsfield units.

        Returns
        -------
        ndarray of uint8
            Gray values, of the same shape.
        """
        with np.errstate(over="ignore"):
            part = _SHAPES[self.shape](np.asarray(hu, np.float32), self.level, self.width)
            return _as_uint8(part * 255)


#: The usual window for lungs.
LUNG = Window(-600, 1500)

#: Choice of the gray scale: the lung window (level -600, width 1500), the robust range of the
#: values of each slice, the first display window stored in the file, or (level, width) in HU.
WindowChoice = Literal["lung", "range", "file"] | tuple[float, float]


def as_window(choice: WindowChoice | Window) -> Window | Literal["range", "file"]:
    """Validate the choice of a window.

    Parameters
    ----------
    choice : {"lung", "range", "file"}, (float, float) or Window
        As in :func:`to_gray`.

    Returns
    -------
    Window, "range" or "file"
        The window, or the words ``"range"`` and ``"file"`` unchanged.

    Raises
    ------
    ValueError
        If `choice` is neither one of the words above nor two numbers that DICOM allows.

    Examples
    --------
    >>> from covidct.datasets.gray import as_window
    >>> as_window("lung")
    Window(level=-600, width=1500, shape='LINEAR')
    >>> as_window((40, 400))
    Window(level=40.0, width=400.0, shape='LINEAR')
    """
    if choice == "range" or choice == "file":
        return choice
    if choice == "lung":
        return LUNG
    if isinstance(choice, Window) and choice.is_valid:
        return choice
    if isinstance(choice, tuple | list) and len(choice) == 2:
        with contextlib.suppress(TypeError, ValueError):
            window = Window(float(choice[0]), float(choice[1]))
            if window.is_valid:
                return window
    raise ValueError(
        "window must be 'lung', 'range', 'file', or a finite (level, width) in HU with a width of "
        f"at least 1; got {choice!r}"
    )


def to_gray(
    values: npt.ArrayLike,
    window: WindowChoice | Window = "lung",
    *,
    hounsfield: bool | None = None,
    own: Window | None = None,
) -> Gray:
    """Convert stored values to 8-bit gray, by the rules in the docstring of this module.

    Parameters
    ----------
    values : array-like
        Numbers of any real type and shape: a slice, or a volume whose values share one unit.
    window : {"lung", "range", "file"}, tuple of (float, float) or Window, default="lung"
        Display window of Hounsfield units: ``"lung"`` is level -600, width 1500; ``"range"`` the
        robust range of the values; ``"file"`` the window `own`, or ``"range"`` without one; or
        (level, width) in Hounsfield units. Values in other units are always shown over their robust
        range.
    hounsfield : bool or None, default=None
        True if the values are Hounsfield units, False if they are not. None: they are recognized by
        :func:`as_hounsfield`, which is logged once per process.
    own : Window or None, default=None
        Display window stored in the file.

    Returns
    -------
    ndarray of uint8
        Gray values in the shape of `values`.

    Raises
    ------
    ValueError
        If `window` is not one of these.
    TypeError
        If `values` are not real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.datasets.gray import to_gray
    >>> to_gray(np.array([-1350, -600, 40, 3000]), hounsfield=True)
    array([  0, 128, 236, 255], dtype=uint8)
    >>> to_gray(np.array([0, 128, 255], np.uint8))
    array([  0, 128, 255], dtype=uint8)
    """
    array = np.asarray(values)
    chosen = as_window(window)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"values must be real numbers, got dtype {array.dtype}")
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if hounsfield:
        units: Values | None = _as_float32(array)
    elif array.dtype == np.uint8:
        return array.copy()
    else:
        units = as_hounsfield(array) if hounsfield is None else None
    if units is None:
        return _unknown(array)
    if chosen == "file":
        chosen = own or "range"
    if chosen == "range":
        # Values below air are padding of any value, often a quarter of a slice.
        return _stretched(np.maximum(units, -1024))
    return chosen.show(units)


# Offsets with which Hounsfield units are commonly stored: none; 1024, for unsigned values of most
# scanners; and 32768, for 16-bit PNG files such as those of DeepLesion.
_OFFSETS = (0, 1024, 32768)


def as_hounsfield(values: npt.ArrayLike) -> Values | None:
    """Recognize Hounsfield units of a chest CT by their values.

    Each of the usual offsets is tried: none, 1024 and 32768, and signed values that were saved as
    unsigned 16-bit ones. Values minus the offset are recognized as Hounsfield units if

    * at least 95 % are from -1500 to 800 HU, or equal to the smallest value (padding);
    * at least 2 %, and a tenth of all values up to -400 HU, are above the smallest value:
      air around the body and in the lung. Bone windows clip nearly all of it to one value;
    * at least 2 % are from -250 to 250 HU: soft tissue;
    * at least 0.5 % are above 20 HU: muscle, blood and bone. A windowed picture with 10 bits, which
      ends at 1023 (that is, -1 HU with an offset of 1024), fails here; one with more bits fails the
      first condition, since its soft tissue lies higher.

    Windowed pictures of 11 bits, which are rare, are distinguished only if they show a lung window.

    The shares are taken over at most 65,536 values, evenly spaced. Fewer than 64 finite values, and
    8-bit values, are never recognized.

    Parameters
    ----------
    values : array-like
        Stored values of a slice or a volume.

    Returns
    -------
    ndarray of float32 or None
        Hounsfield units in the shape of `values`; None if they are not recognized.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.datasets.gray import as_hounsfield
    >>> stored = np.repeat(np.array([24, 174, 1064, 1724], np.uint16), 100)  # HU + 1024
    >>> np.unique(as_hounsfield(stored))
    array([-1000.,  -850.,    40.,   700.], dtype=float32)
    >>> as_hounsfield(stored * 10) is None
    True
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        return None
    sample = array.ravel()[:: (array.size // 65536) | 1]  # odd, so that all columns take part
    sample = sample[np.isfinite(sample)]
    if sample.size < 64:
        return None
    for offset in _OFFSETS:
        if _is_chest(sample.astype(np.float64) - offset):
            _log_recognized(array.dtype.name, f"Hounsfield units + {offset}".removesuffix(" + 0"))
            return _as_float32(array) - np.float32(offset)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2 and _is_chest(_as_signed(sample)):
        _log_recognized(array.dtype.name, "signed Hounsfield units saved as unsigned")
        return _as_signed(array).astype(np.float32)
    return None


def _as_signed(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Undo the reinterpretation of 16-bit signed values as unsigned ones, in any byte order."""
    return array.astype(np.uint16).view(np.int16).astype(np.float64)


def _as_float32(array: npt.NDArray[Any]) -> Values:
    with np.errstate(over="ignore"):  # a double beyond the range of floats becomes infinite
        return array.astype(np.float32)


def _is_chest(hu: npt.NDArray[np.float64]) -> bool:
    least = hu.min()
    air = np.mean(hu <= -400)
    uneven_air = np.mean((hu <= -400) & (hu > least))
    return bool(
        np.mean((hu >= -1500) & (hu <= 800) | (hu == least)) >= 0.95
        and uneven_air >= max(0.02, air / 10)
        and np.mean(np.abs(hu) <= 250) >= 0.02
        and np.mean(hu > 20) >= 0.005
    )


@functools.cache  # once per process, since a dataset contains many thousands of such files
def _log_recognized(dtype: str, unit: str) -> None:
    _logger.warning(
        "%s values were recognized as %s and are shown through the display window (logged once)",
        dtype,
        unit,
    )


@functools.cache
def _log_unknown(dtype: str) -> None:
    _logger.warning(
        "%s values of an unknown unit are scaled over the robust range of each slice (logged once)",
        dtype,
    )


def _unknown(array: npt.NDArray[Any]) -> Gray:
    """Convert values that are not Hounsfield units: an 8-bit picture, or another unit."""
    picture = _eight_bit(array)
    if picture is not None:
        return picture
    _log_unknown(array.dtype.name)
    return _stretched(array)


def _eight_bit(array: npt.NDArray[Any]) -> Gray | None:
    """Return an 8-bit picture that is stored in deeper samples, or None."""
    finite = array[np.isfinite(array)]
    if not finite.size or finite.min() < 0 or finite.max() < 128:
        return None
    highest = finite.max()
    if highest <= 255:
        return _as_uint8(array)
    if array.dtype.kind == "u":
        for factor in (257, 256):  # as PNG and most programs widen bytes, and shifted by 8 bits
            if 128 * factor <= highest <= 255 * factor and not (array % factor).any():
                return (array // factor).astype(np.uint8)
    return None


def _stretched(array: npt.NDArray[Any]) -> Gray:
    """Scale values over their robust range (rule 3 of the module)."""
    values = array.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return _as_uint8(values)
    largest = np.abs(finite).max()
    if largest > 1e150:  # so that no difference overflows
        values, finite = values / largest, finite / largest
    k = finite.size // 100
    finite = np.partition(finite, sorted({0, k, finite.size - 1 - k, finite.size - 1}))
    low, low_quantile = finite[0], finite[k]
    high, high_quantile = finite[-1], finite[-1 - k]
    margin = (high_quantile - low_quantile) / 4
    if margin > 0:
        low, high = max(low, low_quantile - margin), min(high, high_quantile + margin)
    if high == low:
        return _as_uint8(np.where(np.isfinite(values), -np.inf, values))
    return _as_uint8((values - low) / (high - low) * 255)


def _as_uint8(levels: npt.NDArray[Any]) -> Gray:
    gray: Gray = np.rint(np.nan_to_num(levels.clip(0, 255))).astype(np.uint8)
    return gray


def to_grayscale(image: Image.Image, *, window: WindowChoice = "lung") -> Image.Image:
    """Convert a picture of any mode to 8-bit gray.

    ======================  ========================================================================
    mode                    becomes
    ======================  ========================================================================
    L                       a copy
    1                       0 and 255
    RGB, P, HSV, CMYK,      luma, ``0.299 R + 0.587 G + 0.114 B`` (ITU-R BT.601, as in PIL); that of
    RGBX, YCbCr             YCbCr is its own Y
    LAB                     luma of its sRGB color
    with transparency       laid over black first: an alpha channel, a transparent palette entry, or
                            a color that stands for transparent
    I;16 (all orders), I,   as :func:`covidct.datasets.gray.to_gray` shows such values: Hounsfield
    F                       units through the window, others over their robust range; NaN, and the
                            value that stands for transparent, become 0
    ======================  ========================================================================

    Parameters
    ----------
    image : PIL.Image.Image
        Picture of any mode.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Display window of Hounsfield units in a deep mode, as in
        :func:`~covidct.datasets.gray.to_gray`.

    Returns
    -------
    PIL.Image.Image
        A new picture in mode ``"L"``, of the same size.

    Raises
    ------
    ValueError
        If `window` is not one of these.

    Examples
    --------
    >>> from PIL import Image
    >>> from covidct import to_grayscale
    >>> to_grayscale(Image.new("RGBA", (1, 1), (255, 255, 255, 128))).getpixel((0, 0))
    128
    """
    as_window(window)
    if image.mode in DEEP_MODES:
        values = np.asarray(image)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            return Image.fromarray(over_black(values, values != transparent, window))
        return Image.fromarray(to_gray(values, window))
    if image.mode in _DETOURS:
        image = image.convert(_DETOURS[image.mode])
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("L")


#: Modes of PIL with more than 8 bits a pixel, which PIL itself would clip at 255.
DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
# Modes that PIL cannot convert directly to "L" or "RGBA", and a mode in between.
_DETOURS = {"LAB": "RGB", "La": "LA"}


def over_black(
    values: npt.NDArray[Any], alpha: npt.NDArray[Any], window: WindowChoice | Window
) -> Gray:
    """Convert stored values with an opacity to 8-bit gray over black.

    Hidden values do not influence the range or the unit of the visible ones.

    Parameters
    ----------
    values : ndarray
        Numbers of any real type and shape.
    alpha : ndarray
        Opacity from 0 to 1, or False and True, in the shape of `values`.
    window : {"lung", "range", "file"}, tuple of (float, float) or Window
        As in :func:`to_gray`.

    Returns
    -------
    ndarray of uint8
        Gray values in the shape of `values`.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.datasets.gray import over_black
    >>> over_black(np.array([0, 200, 255], np.uint8), np.array([1, 0.5, 0]), "lung")
    array([  0, 100,   0], dtype=uint8)
    """
    gray = np.zeros(values.shape, np.uint8)
    seen = alpha > 0
    if seen.any():
        gray[seen] = to_gray(values[seen], window)
    return _as_uint8(gray * alpha.astype(np.float32))


def luma(color: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert color to gray with the weights of ITU-R BT.601, like PIL for 8 bits.

    Equal channels keep their value exactly.

    Parameters
    ----------
    color : ndarray of shape (..., 3)
        Red, green and blue, of any real type.

    Returns
    -------
    ndarray of shape (...)
        Gray values, of the type of `color` for integers of up to 32 bits, otherwise float64.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.datasets.gray import luma
    >>> luma(np.array([[1000, 1000, 1000], [1000, 0, 0]], np.uint16))
    array([1000,  299], dtype=uint16)
    """
    if color.dtype.kind in "iu" and color.dtype.itemsize < 8:
        weights = np.array([19595, 38470, 7471])  # PIL's, of 2**16
        weighted: npt.NDArray[Any] = (color.astype(np.int64) @ weights + 0x8000) >> 16
        return weighted.astype(color.dtype)
    red, green, blue = (color[..., channel].astype(np.float64) for channel in range(3))
    return green + 0.299 * (red - green) + 0.114 * (blue - green)

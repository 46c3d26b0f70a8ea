"""Measurements of image files that do not depend on the disease."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from ..datasets._parallel import map_in_threads
from ..datasets.ct_dataset import CTDataset
from ..datasets.gray import to_grayscale
from ..datasets.reading import image_format

__all__ = ["CANVAS", "SliceMeasurements", "measure_slices"]

#: Height and width in pixels of the gray canvases on which slices are compared.
CANVAS = 64

# Smallest difference between the channels of a colored pixel, of 255. JPEG tints gray by much less,
# while arrows, labels and color bars have nearly pure colors.
_COLORED_FROM = 64
# Bits per channel of PIL's modes; modes that are not listed have 8.
_BIT_DEPTHS = {"1": 1, "I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16, "I": 32, "F": 32}


@dataclass(frozen=True)
class SliceMeasurements:
    """Measurements of n_slices slices.

    Attributes
    ----------
    digests : ndarray of str, shape (n_slices,)
        SHA-256 of size and gray pixels. It is equal for slices with the same pixels, even if their
        files differ.
    canvases : ndarray of uint8, shape (n_slices, 64, 64)
        Slices in gray, resized to a square.
    formats : ndarray of str, shape (n_slices,)
        File format by content, such as ``"PNG"``, ``"JPEG"`` or ``"DICOM"``; ``"none"`` for slices
        that are not files.
    modes : ndarray of str, shape (n_slices,)
        Mode of the PIL image, such as ``"L"``, ``"RGB"`` or ``"RGBA"``.
    sizes : ndarray of int64, shape (n_slices, 2)
        Height and width in pixels.
    bit_depths : ndarray of int64, shape (n_slices,)
        Bits per channel.
    colored : ndarray of float64, shape (n_slices,)
        Share of colored pixels, in [0, 1].
    """

    digests: npt.NDArray[np.str_]
    canvases: npt.NDArray[np.uint8]
    formats: npt.NDArray[np.str_]
    modes: npt.NDArray[np.str_]
    sizes: npt.NDArray[np.int64]
    bit_depths: npt.NDArray[np.int64]
    colored: npt.NDArray[np.float64]

    @property
    def borders(self) -> npt.NDArray[np.float64]:
        """Mean gray level (0 to 255) of the outermost 1/64 of each slice, shape (n_slices,)."""
        levels: npt.NDArray[np.float64] = self.canvases[:, _FRAME].mean(axis=1)
        return levels


class _Slice(NamedTuple):
    digest: str
    canvas: npt.NDArray[np.uint8]
    file_format: str
    mode: str
    size: tuple[int, int]
    bit_depth: int
    colored: float


def measure_slices(dataset: CTDataset) -> SliceMeasurements:
    """Read each slice once and measure it, in parallel threads.

    Parameters
    ----------
    dataset : CTDataset
        Dataset to measure.

    Returns
    -------
    SliceMeasurements
        Measurements in the order of the dataset.

    Raises
    ------
    InvalidFileError
        If a slice cannot be read; the message names its file.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.measurements import measure_slices
    >>> measurements = measure_slices(covidct.load_dataset("phantom", n=4, seed=0))
    >>> measurements.canvases.shape, set(measurements.modes.tolist())
    ((4, 64, 64), {'L'})
    """

    def measure(index: int) -> _Slice:
        return _measure(dataset.read(index), dataset.paths[index])

    slices = map_in_threads(measure, range(len(dataset)), description="Reading slices")
    columns: list[Any] = [np.asarray(column) for column in zip(*slices, strict=True)]
    return SliceMeasurements(*columns)


def _measure(image: Image.Image, path: Path) -> _Slice:
    gray = to_grayscale(image)
    shape = (gray.height, gray.width)
    return _Slice(
        digest=hashlib.sha256(repr(shape).encode() + gray.tobytes()).hexdigest(),
        # Of all filters, the box filter is the least sensitive to shifts and noise.
        canvas=np.asarray(gray.resize((CANVAS, CANVAS), Image.Resampling.BOX)),
        file_format=image_format(path),
        mode=image.mode,
        size=shape,
        bit_depth=image.info.get("stored_bits", _BIT_DEPTHS.get(image.mode, 8)),
        colored=_colored_share(image),
    )


def _colored_share(image: Image.Image) -> float:
    if len(image.getbands()) < 3 and image.mode != "P":
        return 0.0
    red, green, blue = image.convert("RGB").split()
    highest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    lowest = ImageChops.darker(ImageChops.darker(red, green), blue)
    histogram = ImageChops.difference(highest, lowest).histogram()
    return sum(histogram[_COLORED_FROM:]) / (image.width * image.height)


def _frame() -> npt.NDArray[np.bool_]:
    mask = np.ones((CANVAS, CANVAS), dtype=np.bool_)
    mask[1:-1, 1:-1] = False
    return mask


_FRAME = _frame()

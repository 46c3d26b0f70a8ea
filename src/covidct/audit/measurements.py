"""One pass over the images: all that the audit needs to know of each slice."""

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

#: Side of the square gray canvases that slices are compared on, in pixels.
CANVAS = 64

# A pixel is colored where its channels lie this far apart, of 255: JPEG tints gray by far less,
# while arrows, labels and color bars in a figure are nearly pure colors.
_COLORED_FROM = 64
# Bits per channel of PIL's modes; every mode that is not named has 8.
_BIT_DEPTHS = {"1": 1, "I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16, "I": 32, "F": 32}


@dataclass(frozen=True)
class SliceMeasurements:
    """What is known of N slices without looking for disease.

    Attributes
    ----------
    digests : ndarray of str, shape (N,)
        SHA-256 of size and gray pixels: equal where two slices show the same, pixel by pixel,
        whatever their files contain.
    canvases : ndarray of uint8, shape (N, 64, 64)
        The slices in gray, stretched onto a square.
    formats : ndarray of str, shape (N,)
        ``"PNG"``, ``"JPEG"``, ``"DICOM"``, ... by content; ``"none"`` for what is not a file.
    modes : ndarray of str, shape (N,)
        How PIL stores the pixels: ``"L"``, ``"RGB"``, ``"RGBA"``, ...
    sizes : ndarray of int64, shape (N, 2)
        Height and width in pixels.
    bit_depths : ndarray of int64, shape (N,)
        Bits per channel.
    colored : ndarray of float64, shape (N,)
        Share of pixels with a burned-in color, in [0, 1].
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
        """(N,) mean gray level, 0 to 255, of the outermost 1/64 of each slice."""
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
    """Read every slice once, in threads.

    Parameters
    ----------
    dataset
        The slices.

    Returns
    -------
    SliceMeasurements
        In the order of the dataset.

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

    def look(index: int) -> _Slice:
        return _look(dataset.read(index), dataset.paths[index])

    slices = map_in_threads(look, range(len(dataset)), description="Looking at slices")
    columns: list[Any] = [np.asarray(column) for column in zip(*slices, strict=True)]
    return SliceMeasurements(*columns)


def _look(image: Image.Image, path: Path) -> _Slice:
    gray = to_grayscale(image)
    shape = (gray.height, gray.width)
    return _Slice(
        digest=hashlib.sha256(repr(shape).encode() + gray.tobytes()).hexdigest(),
        # The mean over a box: of all filters the one that a shifted or noisy copy disturbs least.
        canvas=np.asarray(gray.resize((CANVAS, CANVAS), Image.Resampling.BOX)),
        file_format=image_format(path),
        mode=image.mode,
        size=shape,
        bit_depth=_BIT_DEPTHS.get(image.mode, 8),
        colored=_share_of_color(image),
    )


def _share_of_color(image: Image.Image) -> float:
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

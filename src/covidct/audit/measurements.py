"""Measurements of image files that do not depend on the disease."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from ..datasets._cache import remembered_arrays
from ..datasets._parallel import each_in_threads
from ..datasets.canvases import canvas_folder, keep_canvases
from ..datasets.ct_dataset import CTDataset
from ..datasets.gray import to_grayscale
from ..datasets.reading import image_format

__all__ = ["CANVAS", "SliceMeasurements", "content_box", "measure_slices"]

#: Height and width in pixels of the gray canvases on which slices are compared.
CANVAS = 64

# Name and version of all measurements, to be raised if the same slices give different ones.
_RULE = "measurements 1"
# Smallest difference between the channels of a colored pixel, of 255. JPEG tints gray by much less,
# while arrows, labels and color bars have nearly pure colors.
_COLORED_FROM = 64
# Largest variation of a margin in gray levels (due to JPEG), largest share of pixels that differ
# more (due to dust), and smallest number of rows and columns that must remain.
_MARGIN_LEVELS, _MARGIN_NOISE, _LEAST_CONTENT = 16, 0.02, 16
# Largest variation of each of the two values of a mask in gray levels (due to JPEG).
_LEVELS_OF_MASKS = 8
# Number of slices whose borders are read at once.
_BLOCK = 4096
# Bits per channel of PIL's modes; modes that are not listed have 8.
_BIT_DEPTHS = {"1": 1, "I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16, "I": 32, "F": 32}


@dataclass(frozen=True)
class SliceMeasurements:
    """Measurements of n_slices slices.

    Attributes
    ----------
    digests : ndarray of str of shape (n_slices,)
        SHA-256 of size and gray pixels. It is equal for slices with the same pixels, even if their
        files differ.
    canvases : ndarray of uint8 of shape (n_slices, 64, 64)
        Slices in gray, resized to a square.
    formats : ndarray of str of shape (n_slices,)
        File format by content, such as ``"PNG"``, ``"JPEG"`` or ``"DICOM"``; ``"none"`` for slices
        that are not files.
    modes : ndarray of str of shape (n_slices,)
        Mode of the PIL image, such as ``"L"``, ``"RGB"`` or ``"RGBA"``.
    sizes : ndarray of int64 of shape (n_slices, 2)
        Height and width in pixels.
    bit_depths : ndarray of int64 of shape (n_slices,)
        Bits per channel.
    colored : ndarray of float64 of shape (n_slices,)
        Share of colored pixels, in [0, 1].
    trimmed : ndarray of uint8 of shape (n_slices, 64, 64)
        Slices in gray without uniform margins, resized to a square.
    two_valued : ndarray of bool of shape (n_slices,)
        True if at least 99 % of the pixels are within 8 gray levels of the darkest or the brightest
        pixel, and 0.1 % of each, as in a segmentation mask.
    """

    digests: npt.NDArray[np.str_]
    canvases: npt.NDArray[np.uint8]
    formats: npt.NDArray[np.str_]
    modes: npt.NDArray[np.str_]
    sizes: npt.NDArray[np.int64]
    bit_depths: npt.NDArray[np.int64]
    colored: npt.NDArray[np.float64]
    trimmed: npt.NDArray[np.uint8]
    two_valued: npt.NDArray[np.bool_]

    @property
    def borders(self) -> npt.NDArray[np.float64]:
        """Mean gray level (0 to 255) of the outermost 1/64 of each slice, shape (n_slices,)."""
        blocks = [self.canvases[i : i + _BLOCK] for i in range(0, len(self.canvases), _BLOCK)]
        levels: npt.NDArray[np.float64] = np.concatenate(
            [block[:, _FRAME].mean(axis=1) for block in blocks]
        )
        return levels


class _Facts(NamedTuple):
    """Measurements of one slice, except its canvases, with the names of `SliceMeasurements`."""

    digests: str
    formats: str
    modes: str
    sizes: tuple[int, int]
    bit_depths: int
    colored: float
    two_valued: bool


def measure_slices(dataset: CTDataset) -> SliceMeasurements:
    """Read each slice once and measure it, in parallel threads.

    The measurements are cached by the dataset's content, and the canvases are mapped from a file in
    the cache, so that a few hundred bytes of memory are needed per slice.

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
    OSError
        If the cache cannot be written, or its disk does not have enough free space.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.measurements import measure_slices
    >>> measurements = measure_slices(covidct.load_dataset("phantom", n=4, seed=0))
    >>> measurements.canvases.shape, set(measurements.modes.tolist())
    ((4, 64, 64), {'L'})
    """
    facts: list[_Facts] = []

    def measure(index: int) -> tuple[_Facts, npt.NDArray[np.uint8]]:
        return _measure(dataset.read(index), dataset.paths[index])

    def stacks() -> Iterator[npt.NDArray[np.uint8]]:
        facts.clear()
        with closing(each_in_threads(measure, range(len(dataset)))) as results:
            for of_slice, stack in results:
                facts.append(of_slice)
                yield stack

    def compute() -> dict[str, npt.NDArray[Any]]:
        while len(facts) < len(dataset):
            with suppress(NotADirectoryError):  # keep_canvases raises an error with advice
                path.unlink(missing_ok=True)  # canvases without the other measurements
            keep_canvases(path, shape, stacks)
        columns = map(np.asarray, zip(*facts, strict=True))
        return dict(zip(_Facts._fields, columns, strict=True))

    content, shape = dataset.content_hash(), (len(dataset), 2 * CANVAS, CANVAS)
    digest = hashlib.sha256(f"{_RULE}\0{content}".encode()).hexdigest()
    path = canvas_folder() / f"{2 * CANVAS}x{CANVAS}-audit-{digest}.npy"
    columns = remembered_arrays(_RULE, content, compute)
    kept = keep_canvases(path, shape, stacks)
    return SliceMeasurements(canvases=kept[:, :CANVAS], trimmed=kept[:, CANVAS:], **columns)


def _measure(image: Image.Image, path: Path) -> tuple[_Facts, npt.NDArray[np.uint8]]:
    """Measure a slice; return also its canvas and its trimmed canvas, one above the other."""
    gray = to_grayscale(image)
    shape = (gray.height, gray.width)
    # Of all filters, the box filter is the least sensitive to shifts and noise.
    canvas = np.asarray(gray.resize((CANVAS, CANVAS), Image.Resampling.BOX))
    box = content_box(np.asarray(gray))
    trimmed = canvas
    if box != (0, 0, gray.width, gray.height):
        trimmed = np.asarray(gray.resize((CANVAS, CANVAS), Image.Resampling.BOX, box))
    facts = _Facts(
        digests=hashlib.sha256(repr(shape).encode() + gray.tobytes()).hexdigest(),
        formats=image_format(path),
        modes=image.mode,
        sizes=shape,
        bit_depths=image.info.get("stored_bits", _BIT_DEPTHS.get(image.mode, 8)),
        colored=_colored_share(image),
        two_valued=_is_two_valued(gray),
    )
    return facts, np.concatenate([canvas, trimmed])


def content_box(gray: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Find the part of an image that remains without uniform margins.

    The gray level of the margin is the median of the outermost pixels. A row or column belongs to
    the margin if at most 2 % of its pixels differ from that level by more than 16. The search is
    repeated twice, for margins inside margins. Air around the body counts as a margin, too.

    Parameters
    ----------
    gray : ndarray of uint8 of shape (height, width)
        Gray image.

    Returns
    -------
    tuple of (int, int, int, int)
        Left, upper, right and lower edge, as in PIL. At least 16 x 16 pixels remain.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.measurements import content_box
    >>> content_box(np.pad(np.full((30, 40), 200, np.uint8), ((5, 6), (7, 8)), constant_values=9))
    (7, 5, 47, 35)
    """
    top, bottom, left, right = 0, gray.shape[0], 0, gray.shape[1]
    for _ in range(3):
        part = gray[top:bottom, left:right]
        sides = (part[0], part[-1], part[:, 0], part[:, -1])
        level = int(np.median(np.concatenate(sides)))
        if not any(_differing(side, level) <= _MARGIN_NOISE for side in sides):
            break
        low, high = max(level - _MARGIN_LEVELS, 0), min(level + _MARGIN_LEVELS, 255)
        content = (part < low) | (part > high)
        rows = np.flatnonzero(content.mean(axis=1) > _MARGIN_NOISE)
        columns = np.flatnonzero(content.mean(axis=0) > _MARGIN_NOISE)
        if not len(rows) or not len(columns):
            break
        if min(np.ptp(rows), np.ptp(columns)) < _LEAST_CONTENT:
            break
        top, bottom = top + int(rows[0]), top + int(rows[-1]) + 1
        left, right = left + int(columns[0]), left + int(columns[-1]) + 1
    return left, top, right, bottom


def _differing(side: npt.NDArray[np.uint8], level: int) -> float:
    return float(np.mean(np.abs(side.astype(np.int16) - level) > _MARGIN_LEVELS))


def _is_two_valued(gray: Image.Image) -> bool:
    counts = np.asarray(gray.histogram())
    low, high = np.flatnonzero(counts)[[0, -1]]
    if high - low <= 2 * _LEVELS_OF_MASKS:
        return False
    dark = counts[low : low + _LEVELS_OF_MASKS + 1].sum() / counts.sum()
    bright = counts[high - _LEVELS_OF_MASKS : high + 1].sum() / counts.sum()
    return bool(dark + bright >= 0.99 and min(dark, bright) >= 0.001)


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

"""Search for the slices of a CT volume that show lung, by a fixed rule on air inside the body.

Each slice is averaged over blocks of about 2.5 mm. The body is the largest part denser than -300
HU, including everything that it encloses. Pieces of air (below -500 HU) inside it are lung, unless
more than a fifth of a piece is free gas (below -930 HU), as in the windpipe and the bowel; for a
piece of more than 60 square centimeters, four fifths may be gas, as in lungs with emphysema. A
slice shows lung if such pieces, each of at least 2 square centimeters, have a total area of 2.5
square centimeters. These slices are divided into runs at gaps of more than 15 mm. All slices of the
run with the most lung are kept.

The rule does not depend on labels or other volumes, so that it is the same in training and
prediction.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..errors import InvalidFileError
from ._cache import remembered
from ._parallel import map_in_threads
from .frames import find_hu
from .slices import FoundVolume

__all__ = ["lung_area", "lung_run", "lung_slices"]

# To be raised if the rule changes, so that cached results of another version are not used.
_VERSION = 2

_BLOCK = 2.5  # mm
_DENSE, _AIR, _GAS = -300, -500, -930  # HU
_PIECE, _LARGE_PIECE, _LEAST = 2.0, 60.0, 2.5  # square centimeters
_GAS_SHARE, _GAS_SHARE_OF_LARGE = 0.2, 0.8
_GAP = 15.0  # mm
_USUAL_SPACING = 0.7  # mm
_NO_UNIT = -1.0  # area of a slice that is not in Hounsfield units


def lung_slices(
    volume: FoundVolume, *, on_error: Literal["raise", "skip"] = "raise"
) -> npt.NDArray[np.bool_]:
    """Find the slices of a volume that show lung.

    The result is cached until the files change.

    Parameters
    ----------
    volume : FoundVolume
        Volume, as returned by :func:`covidct.datasets.find_slices`.
    on_error : {"raise", "skip"}, default="raise"
        With ``"skip"``, a slice that cannot be read counts as a slice without lung.

    Returns
    -------
    ndarray of shape (n_slices,)
        True for slices that show lung. All True for volumes that are not in Hounsfield units, or
        for which the unit of most slices is unknown.

    Raises
    ------
    covidct.errors.InvalidFileError
        If a slice cannot be read and `on_error` is ``"raise"``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.lung import lung_slices
    >>> from covidct.datasets.slices import find_slices
    >>> one = get_testdata_file("dicomdirtests/98892001/CT5N/2062", download=False)
    >>> (volume,) = find_slices(Path(one).parent).volumes
    >>> lung_slices(volume)
    array([False, False, False, False, False])
    """
    if not volume.in_hu:
        return np.ones(len(volume), np.bool_)

    def area(index: int) -> float:
        try:
            hu = find_hu(volume.paths[index], volume.frames[index])
        except InvalidFileError:
            if on_error == "raise":
                raise
            return 0.0
        return _NO_UNIT if hu is None else lung_area(hu, volume.spacing)

    def areas() -> list[float]:
        return map_in_threads(area, range(len(volume)), description="finding lung")

    kind = f"lung {_VERSION} {on_error} {volume.frames}"
    found = np.array(remembered(kind, dict.fromkeys(volume.paths), areas))
    if np.mean(found == _NO_UNIT) > 0.5:
        return np.ones(len(volume), np.bool_)
    return lung_run(found, volume.positions)


def lung_area(hu: npt.NDArray[np.float32], spacing: tuple[float, float]) -> float:
    """Compute the area of lung on a slice, in square centimeters.

    Parameters
    ----------
    hu : ndarray of shape (height, width)
        Hounsfield units.
    spacing : tuple of (float, float)
        Distance of the centers of pixels in mm, vertically and horizontally; NaN means 0.7 mm.

    Returns
    -------
    float
        Total area of the pieces of air that are lung.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.datasets.lung import lung_area
    >>> hu = np.full((200, 200), -1000.0, np.float32)
    >>> hu[20:180, 20:180] = 40  # a body of 16 x 16 cm
    >>> hu[60:140, 40:90] = -850  # and one lung of 8 x 5 cm
    >>> lung_area(hu, (1.0, 1.0))
    40.0
    """
    down, across = (length if length > 0 else _USUAL_SPACING for length in spacing)
    rows, columns = max(1, round(_BLOCK / down)), max(1, round(_BLOCK / across))
    height, width = hu.shape[0] // rows, hu.shape[1] // columns
    blocks = hu[: height * rows, : width * columns].reshape(height, rows, width, columns)
    mean = blocks.mean((1, 3))
    unit = down * rows * across * columns / 100
    parts, count = ndimage.label(mean > _DENSE)
    if count == 0:
        return 0.0
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    body = ndimage.binary_fill_holes(parts == largest)
    pieces, count = ndimage.label(body & (mean < _AIR))
    sizes = np.bincount(pieces.ravel())[1:]
    gas = np.bincount(pieces[mean < _GAS], minlength=count + 1)[1:] / sizes
    areas = sizes * unit
    allowed = np.where(areas > _LARGE_PIECE, _GAS_SHARE_OF_LARGE, _GAS_SHARE)
    return float(areas[(areas >= _PIECE) & (gas <= allowed)].sum())


def lung_run(
    areas: npt.NDArray[np.float64], positions: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Find the slices that show lung from the area of lung on each slice.

    Parameters
    ----------
    areas : ndarray of shape (n_slices,)
        Area of lung in square centimeters, from the feet upwards.
    positions : ndarray of shape (n_slices,)
        Positions in mm; if some are NaN, the distance of slices is assumed to be 5 mm.

    Returns
    -------
    ndarray of shape (n_slices,)
        True from the first to the last slice of the run with the most lung.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.datasets.lung import lung_run
    >>> lung_run(np.array([3.0, 0, 0, 0, 40, 90, 0, 60]), np.arange(8) * 6.0).tolist()
    [False, False, False, False, True, True, True, True]
    """
    shown = np.zeros(len(areas), np.bool_)
    found = np.flatnonzero(areas >= _LEAST)
    if not len(found):
        return shown
    along = positions if np.isfinite(positions).all() else 5.0 * np.arange(len(areas))
    gap = max(_GAP, 1.5 * float(np.median(np.diff(along)))) if len(along) > 1 else _GAP
    runs = np.split(found, np.flatnonzero(np.diff(along[found]) > gap) + 1)
    best = max(runs, key=lambda run: float(areas[run].sum()))
    shown[best[0] : best[-1] + 1] = True
    return shown

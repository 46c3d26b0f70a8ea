"""What fitted folds make of new slices, one by one or as a volume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Prediction", "VolumePrediction"]


class Prediction(NamedTuple):
    """What the folds of a run make of one slice.

    Attributes
    ----------
    path
        The file, as it was given or found.
    probability
        Of COVID-19: the mean over the folds. NaN where the file could not be read.
    spread
        Sample standard deviation over the folds.
    doubts
        Why the slice looks unlike those that the networks were fitted to, that it is one of them,
        or why it could not be read; empty where nothing speaks against the probability.
    canvas
        (H, W) uint8: what the networks saw. None where the file could not be read.
    size
        (height, width) of the image.
    """

    path: str
    probability: float
    spread: float
    doubts: tuple[str, ...]
    canvas: npt.NDArray[np.uint8] | None
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class VolumePrediction:
    """What the folds of a run make of one examination.

    Attributes
    ----------
    path
        The series, as it was given.
    slices
        From the feet upwards where they are axial.
    positions : (N,) float array
        Where each lies along the normal of the slices, in mm, ascending.
    pixels : (N, H, W) uint8 array
        The slices, in the display window.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.prediction import Prediction, VolumePrediction
    >>> pixels = np.zeros((3, 8, 8), np.uint8)
    >>> each = (Prediction("", p, 0.0, (), None, (8, 8)) for p in (0.1, 0.9, 0.3))
    >>> VolumePrediction("series", tuple(each), np.arange(3.0), pixels).probability
    0.9
    """

    path: str
    slices: tuple[Prediction, ...]
    positions: npt.NDArray[np.float64]
    pixels: npt.NDArray[np.uint8] = field(repr=False)

    @property
    def probability(self) -> float:
        """Of COVID-19, for the volume: the mean of the highest third of its slices.

        Slices above, below and beside the disease show nothing, so that the mean of all measures
        the length of the scan as much as the disease; the maximum rests on one slice, and rises
        with the number of slices even in the healthy. Like any such rule this one is not
        calibrated: a threshold for it must be found on volumes whose diagnosis is known.
        """
        each = np.sort([prediction.probability for prediction in self.slices])
        return float(each[-max(1, round(len(each) / 3)) :].mean())

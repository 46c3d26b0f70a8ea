"""Whether a new slice looks like those that a network was fitted to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances_argmin_min

from .._files import atomic_path
from ..errors import InvalidFileError

__all__ = ["TrainingReference", "coordinates", "gray_levels", "layout", "seen_by_any"]

Array = npt.NDArray[np.float64]
_QUANTILE = 0.99
# Kinds of few coordinates, whose training slices are kept to look for the nearest. Features are
# many, and what a network makes of a photograph may lie in the middle of its slices.
_KEPT = ("gray", "layout")
_MOST_KEPT = 2000
_LAYOUT = (12, 16)
# Coordinates of each kind but the features, whose number is the network's.
_SIZES = {"gray": 9, "layout": _LAYOUT[0] * _LAYOUT[1]}
# How near in layout a slice lies to itself: on COVID19-CT, SARS-CoV-2 CT and phantoms, these also
# with all outside a circle black, within 0.08 where it was saved anew as JPEG or with noise, within
# 0.25 where it was halved in size. Slices of other patients begin at 0.31, other sources at 0.42.
_SAME = 0.25
# Fields that are (nearly) the same in all slices, such as padding, must not weigh more than others.
_LEAST_SD = 0.05


@dataclass(frozen=True)
class TrainingReference:
    """What the slices of a fold look like, and how far from them a slice may lie.

    Slices are compared in the penultimate features, in the gray levels of the canvas, and in its
    layout, coordinate by coordinate in standard deviations of the training slices. In features the
    distance is that from their mean; in the other two, from the nearest of them: slices are of
    several kinds, and between two kinds nothing need lie. The limit of each is the 99 % quantile
    over the fold's test slices, which the network has not seen either; one slice in a hundred of
    the same source exceeds it, and more where the fold parts slices of one patient.

    Attributes
    ----------
    mean, sd
        For each kind of coordinates, (D,).
    limit
        For each kind, the largest usual distance.
    kept
        For the kinds whose distance is that from the nearest slice, (M, D): training slices, at
        most 2,000, in standard deviations from the mean. Runs of earlier versions have none.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.out_of_distribution import TrainingReference
    >>> rng = np.random.default_rng(0)
    >>> def draw(n, shift=0):
    ...     return {"features": rng.normal(shift, 1, (n, 8)), "gray": rng.normal(0, 1, (n, 3))}
    >>> reference = TrainingReference.fit(draw(200), draw(200))
    >>> reference.unusual(draw(1, shift=9))["features"].tolist()
    [True]
    """

    mean: dict[str, Array]
    sd: dict[str, Array]
    limit: dict[str, float]
    kept: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def fit(cls, train: Mapping[str, Array], test: Mapping[str, Array]) -> Self:
        """Describe the training slices by mean and deviation, and set limits on the test slices.

        Parameters
        ----------
        train, test
            For each kind of coordinates, (N, D).

        Returns
        -------
        TrainingReference
            The description.
        """
        mean = {kind: values.mean(axis=0) for kind, values in train.items()}
        # A coordinate that never changed would make every slice that changes it infinitely far.
        sd = {kind: values.std(axis=0) + 1e-3 for kind, values in train.items()}
        kept = {
            kind: ((_some(train[kind]) - mean[kind]) / sd[kind]).astype(np.float32)
            for kind in _KEPT
            if kind in train
        }
        unlimited = cls(mean, sd, dict.fromkeys(train, np.inf), kept)
        distances = {kind: unlimited.distance(kind, test[kind]) for kind in train}
        limit = {kind: float(np.quantile(distances[kind], _QUANTILE)) for kind in train}
        return cls(mean, sd, limit, kept)

    def distance(self, kind: str, coordinates: npt.NDArray[np.floating]) -> Array:
        """Measure how far slices lie from the training slices.

        Parameters
        ----------
        kind
            One of the kinds that the reference was fitted to, such as ``"features"``.
        coordinates
            (N, D).

        Returns
        -------
        ndarray of float64, shape (N,)
            Root mean square over the D, in standard deviations: from the mean, or from the nearest
            training slice where slices were kept.
        """
        z = (coordinates - self.mean[kind]) / self.sd[kind]
        if kind in self.kept:
            nearest = cdist(z, self.kept[kind]).min(axis=1)
            return np.asarray(nearest / np.sqrt(z.shape[1]))
        return np.asarray(np.sqrt((z**2).mean(axis=1)))

    def unusual(self, slices: Mapping[str, Array]) -> dict[str, npt.NDArray[np.bool_]]:
        """Tell which slices lie beyond the limit.

        Parameters
        ----------
        slices
            For each kind of coordinates, (N, D).

        Returns
        -------
        dict
            For each kind, (N,) of bool.
        """
        return {kind: self.distance(kind, slices[kind]) > self.limit[kind] for kind in self.limit}

    def seen(self, layouts: Array) -> npt.NDArray[np.bool_] | None:
        """Tell which slices are training slices.

        Parameters
        ----------
        layouts
            (N, 192), of :func:`layout`.

        Returns
        -------
        ndarray of bool, shape (N,), or None
            True also for a slice that was saved anew, in another format or half the size; False
            for one that was not kept of more than 2,000. None for runs of earlier versions, which
            kept none.

        Examples
        --------
        >>> import covidct
        >>> from covidct.datasets.canvases import make_canvases
        >>> from covidct.runs.out_of_distribution import TrainingReference, layout
        >>> slices = covidct.load_dataset("phantom", n=6, seed=0, slices_per_patient=1)
        >>> layouts = layout(make_canvases(slices, (96, 128)))
        >>> reference = TrainingReference.fit({"layout": layouts[:4]}, {"layout": layouts[4:]})
        >>> reference.seen(layouts).tolist()
        [True, True, True, True, False, False]
        """
        if "layout" not in self.kept:
            return None
        mean, sd = self.mean["layout"], self.sd["layout"]
        kept = self.kept["layout"] * sd + mean
        scale = np.maximum(sd, _LEAST_SD) * np.sqrt(len(sd))
        nearest = pairwise_distances_argmin_min(layouts / scale, kept / scale)[1]
        return np.asarray(nearest <= _SAME)

    def save(self, path: Path) -> None:
        """Write the reference as safetensors.

        Parameters
        ----------
        path
            The file.
        """
        arrays: dict[str, npt.NDArray[np.floating]] = {
            f"{kind}.{part}": np.asarray(getattr(self, part)[kind], dtype=np.float64)
            for kind in self.limit
            for part in ("mean", "sd", "limit")
        }
        arrays |= {f"{kind}.kept": values for kind, values in self.kept.items()}
        with atomic_path(path, failures=(SafetensorError,)) as temporary:
            save_file(arrays, temporary)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a reference.

        Parameters
        ----------
        path
            A file that :meth:`save` wrote.

        Returns
        -------
        TrainingReference
            The reference.

        Raises
        ------
        InvalidFileError
            If the file is missing or damaged.
        """
        try:
            arrays = load_file(path)
            kinds = [name.removesuffix(".mean") for name in arrays if name.endswith(".mean")]
            mean, sd = (
                {kind: arrays[f"{kind}.{part}"] for kind in kinds} for part in ("mean", "sd")
            )
            limit = {kind: float(arrays[f"{kind}.limit"]) for kind in kinds}
            kept = {kind: arrays[f"{kind}.kept"] for kind in kinds if f"{kind}.kept" in arrays}
            _check_arrays(mean, sd, kept, limit)
            return cls(mean, sd, limit, kept)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InvalidFileError(
                f"{str(path)!r} cannot be read: {error}; remove 'predictions.csv' beside it and "
                "start the run again, which fits the fold anew"
            ) from error


def seen_by_any(
    references: Iterable[TrainingReference], layouts: Array
) -> npt.NDArray[np.bool_] | None:
    """Tell which slices (N, 192) any fold was trained on; None where a fold kept none."""
    seen = [reference.seen(layouts) for reference in references]
    known = [flags for flags in seen if flags is not None]
    return np.any(known, axis=0) if len(known) == len(seen) else None


def coordinates(canvases: npt.NDArray[np.uint8]) -> dict[str, Array]:
    """Return the descriptors of (N, H, W) canvases, all but the features; (N, D) each."""
    return {"gray": gray_levels(canvases), "layout": layout(canvases)}


def layout(canvases: npt.NDArray[np.uint8]) -> Array:
    """Describe (N, H, W) canvases by the mean gray of 12 x 16 fields, (N, 192) in [0, 1]."""
    fields = [
        np.asarray(Image.fromarray(canvas).resize(_LAYOUT[::-1], Image.Resampling.BOX), np.float64)
        for canvas in canvases
    ]
    return np.reshape(fields, (-1, _LAYOUT[0] * _LAYOUT[1])) / 255


def gray_levels(canvases: npt.NDArray[np.uint8]) -> Array:
    """Describe (N, H, W) canvases by deciles of their gray levels, (N, 9) in [0, 1].

    Those of :func:`numpy.quantile`, out of counts: no canvas is sorted, which took longer than
    all else that is done with a slice but to decode it and to run the network.
    """
    ranks = np.linspace(0.1, 0.9, 9) * (math.prod(canvases.shape[1:]) - 1)
    below, share = np.divmod(ranks, 1)
    deciles = np.empty((len(canvases), 9))
    for row, canvas in zip(deciles, canvases, strict=True):
        counted = np.cumsum(np.bincount(canvas.ravel(), minlength=256))
        low, high = (counted.searchsorted(rank, side="right") for rank in (below, below + 1))
        row[:] = low + share * (high - low)
    return deciles / 255


def _check_arrays(
    mean: Mapping[str, Array],
    sd: Mapping[str, Array],
    kept: Mapping[str, npt.NDArray[np.float32]],
    limit: Mapping[str, float],
) -> None:
    """Refuse numbers that do not go together: they would fail elsewhere, or answer wrongly."""
    for kind in mean:
        size = _SIZES.get(kind, mean[kind].size)
        rows = kept.get(kind, np.empty((0, size)))
        if not mean[kind].shape == sd[kind].shape == (size,) == rows.shape[1:]:
            raise ValueError(f"the arrays of {kind!r} have other shapes than they must")
        if not all(np.isfinite(part).all() for part in (mean[kind], sd[kind], rows, limit[kind])):
            raise ValueError(f"the arrays of {kind!r} have NaN or infinite values")


def _some(values: Array) -> Array:
    """Draw the training slices to keep."""
    if len(values) <= _MOST_KEPT:
        return values
    return values[np.random.default_rng(0).choice(len(values), _MOST_KEPT, replace=False)]

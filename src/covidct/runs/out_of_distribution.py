"""Detection of new slices that are unlike the training slices of a network."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

__all__ = ["TrainingReference", "descriptors", "gray_levels", "layout", "seen_by_any"]

Array = npt.NDArray[np.float64]
Block = Mapping[str, npt.NDArray[np.floating]]
Descriptors = Block | Iterable[Block]
# Quantile of the distances of test slices that is the limit: one test slice in a hundred exceeds
# it.
_QUANTILE = 0.99
# Descriptors of few dimensions, with the distance to the nearest training slice, so that training
# slices are stored. Features have many dimensions, and those of a photograph may lie between those
# of slices.
_KEPT = ("gray", "layout")
_MOST_KEPT = 2000
_LAYOUT = (12, 16)
# Dimensions of each descriptor; those of the features depend on the network.
_SIZES = {"gray": 9, "layout": _LAYOUT[0] * _LAYOUT[1]}
# Largest distance in layout between two copies of a slice. Measured on COVID19-CT, SARS-CoV-2 CT
# and phantoms, also with everything outside a circle blackened: copies saved as JPEG or with noise
# are within 0.08, copies of half the size within 0.25; slices of other patients start at 0.31,
# slices of other sources at 0.42.
_SAME = 0.25
# Smallest standard deviation of a tile in the search for copies: tiles that are nearly equal in all
# slices, such as padding, must not dominate the distance.
_LEAST_SD = 0.05


@dataclass(frozen=True)
class TrainingReference:
    """Statistics of the training slices of a fold, and limits for new slices.

    Slices are compared by three descriptors: the network's penultimate features, the deciles of the
    gray levels, and the layout (:func:`layout`). Distances are root mean squares over the
    dimensions, in standard deviations of the training slices: from their mean for the features, and
    from the nearest training slice for gray levels and layout, whose distributions have several
    separate modes. The limit of a descriptor is the 99 % quantile over the test slices of the fold,
    which were not used for training either. Therefore, about one in a hundred slices of the same
    source exceeds it, and more if the split separates slices of one patient.

    Parameters
    ----------
    mean, sd : dict of str to ndarray of shape (n_dimensions,)
        Mean and standard deviation of the training slices, by descriptor: ``"features"``,
        ``"gray"``, ``"layout"``.
    limit : dict of str to float
        Largest usual distance, by descriptor.
    kept : dict of str to ndarray of float32 of shape (n_kept, n_dimensions)
        Standardized training slices, at most 2,000, for ``"gray"`` and ``"layout"``.

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
    kept: dict[str, npt.NDArray[np.float32]]

    @classmethod
    def fit(cls, train: Descriptors, test: Descriptors) -> Self:
        """Compute the statistics of training slices, and the limits from test slices.

        Parameters
        ----------
        train, test : dict of str to ndarray of shape (n_slices, n_dimensions), or iterable of dict
            Descriptors of the training and test slices of a fold, or blocks of them. Blocks need
            not be in memory at the same time: each iterable is consumed once, `train` first.

        Returns
        -------
        TrainingReference
            The statistics and limits.
        """
        moments: defaultdict[str, _Moments] = defaultdict(_Moments)
        sample = _Sample(_MOST_KEPT)
        for block in _blocks(train):
            for kind, values in block.items():
                moments[kind].add(values)
            sample.add({kind: block[kind] for kind in _KEPT if kind in block})
        mean = {kind: of_kind.mean for kind, of_kind in moments.items()}
        # The constant keeps distances finite in a dimension that is equal in all training slices.
        sd = {kind: of_kind.sd + 1e-3 for kind, of_kind in moments.items()}
        kept = {
            kind: ((rows - mean[kind]) / sd[kind]).astype(np.float32)
            for kind, rows in sample.rows.items()
        }
        unlimited = cls(mean, sd, dict.fromkeys(mean, np.inf), kept)
        distances: defaultdict[str, list[Array]] = defaultdict(list)
        for block in _blocks(test):
            for kind in mean:
                distances[kind].append(unlimited.distance(kind, block[kind]))
        limit = {
            kind: float(np.quantile(np.concatenate(distances[kind]), _QUANTILE)) for kind in mean
        }
        return cls(mean, sd, limit, kept)

    def distance(self, kind: str, values: npt.NDArray[np.floating]) -> Array:
        """Compute the distance of slices from the training slices by one descriptor.

        Parameters
        ----------
        kind : {"features", "gray", "layout"}
            Descriptor.
        values : ndarray of shape (n_slices, n_dimensions)
            Values of the descriptor.

        Returns
        -------
        ndarray of float64 of shape (n_slices,)
            Root mean square over the dimensions, in standard deviations.
        """
        z = (values - self.mean[kind]) / self.sd[kind]
        if kind in self.kept:
            nearest = cdist(z, self.kept[kind]).min(axis=1)
            return np.asarray(nearest / np.sqrt(z.shape[1]))
        return np.asarray(np.sqrt((z**2).mean(axis=1)))

    def unusual(self, slices: Mapping[str, Array]) -> dict[str, npt.NDArray[np.bool_]]:
        """Find slices whose distance exceeds the limit.

        Parameters
        ----------
        slices : dict of str to ndarray of shape (n_slices, n_dimensions)
            Values of each descriptor.

        Returns
        -------
        dict of str to ndarray of bool of shape (n_slices,)
            True where the limit is exceeded, by descriptor.
        """
        return {kind: self.distance(kind, slices[kind]) > self.limit[kind] for kind in self.limit}

    @property
    def has_thumbnails(self) -> bool:
        """True if layouts of training slices, images of 12 x 16 pixels, are stored."""
        return "layout" in self.kept

    def without_thumbnails(self) -> Self:
        """Return a copy without the layouts of training slices.

        Returns
        -------
        TrainingReference
            Reference that cannot recognize training slices.
        """
        parts = (self.mean, self.sd, self.limit, self.kept)
        return type(self)(*({k: v for k, v in p.items() if k != "layout"} for p in parts))  # type: ignore[arg-type]  # the values keep their types

    def seen(self, layouts: Array) -> npt.NDArray[np.bool_]:
        """Find slices that are training slices, or copies of them.

        Copies in another format, or of half the size, are recognized. If there are more than 2,000
        training slices, a random sample of 2,000 is known.

        Parameters
        ----------
        layouts : ndarray of float64 of shape (n_slices, 192)
            Layouts of the slices, see :func:`layout`.

        Returns
        -------
        ndarray of bool of shape (n_slices,)
            True for training slices; False for all slices if there are no thumbnails.

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
        if not self.has_thumbnails:
            return np.zeros(len(layouts), bool)
        mean, sd = self.mean["layout"], self.sd["layout"]
        kept = self.kept["layout"] * sd + mean
        scale = np.maximum(sd, _LEAST_SD) * np.sqrt(len(sd))
        nearest = pairwise_distances_argmin_min(layouts / scale, kept / scale)[1]
        return np.asarray(nearest <= _SAME)

    def save(self, path: Path) -> None:
        """Write the reference to a safetensors file.

        Parameters
        ----------
        path : Path
            File to write.
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
        path : Path
            File written by :meth:`save`.

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
            kept = {kind: arrays[f"{kind}.kept"] for kind in kinds if kind in _KEPT}
            _check_arrays(mean, sd, kept, limit)
            return cls(mean, sd, limit, kept)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InvalidFileError(
                f"{str(path)!r} cannot be read: {error}; remove 'predictions.csv' in its folder "
                "and start the run again, which trains this fold again"
            ) from error


def seen_by_any(references: Iterable[TrainingReference], layouts: Array) -> npt.NDArray[np.bool_]:
    """Find slices that any of several networks was trained on.

    Parameters
    ----------
    references : iterable of TrainingReference
        References of the networks.
    layouts : ndarray of float64 of shape (n_slices, 192)
        Layouts of the slices, see :func:`layout`.

    Returns
    -------
    ndarray of bool of shape (n_slices,)
        True for training slices, see :meth:`TrainingReference.seen`.
    """
    seen = [reference.seen(layouts) for reference in references]
    return np.asarray(np.any(seen, axis=0))


def descriptors(canvases: npt.NDArray[np.uint8]) -> dict[str, Array]:
    """Compute the descriptors of a `TrainingReference` that need no network.

    Parameters
    ----------
    canvases : ndarray of uint8 of shape (n_slices, height, width)
        Canvases.

    Returns
    -------
    dict of str to ndarray of float64 of shape (n_slices, n_dimensions)
        ``"gray"`` by :func:`gray_levels` and ``"layout"`` by :func:`layout`.
    """
    return {"gray": gray_levels(canvases), "layout": layout(canvases)}


def layout(canvases: npt.NDArray[np.uint8]) -> Array:
    """Compute the mean gray level in each tile of a 12 x 16 grid.

    Parameters
    ----------
    canvases : ndarray of uint8 of shape (n_slices, height, width)
        Canvases.

    Returns
    -------
    ndarray of float64 of shape (n_slices, 192)
        Mean gray levels in [0, 1].
    """
    tiles = [
        np.asarray(Image.fromarray(canvas).resize(_LAYOUT[::-1], Image.Resampling.BOX), np.float64)
        for canvas in canvases
    ]
    return np.reshape(tiles, (-1, _SIZES["layout"])) / 255


def gray_levels(canvases: npt.NDArray[np.uint8]) -> Array:
    """Compute the deciles of the gray levels.

    The values equal those of :func:`numpy.quantile` with linear interpolation. They are read off
    the cumulative histogram, since sorting the pixels took longer than anything but decoding the
    slice and running the network.

    Parameters
    ----------
    canvases : ndarray of uint8 of shape (n_slices, height, width)
        Canvases.

    Returns
    -------
    ndarray of float64 of shape (n_slices, 9)
        Deciles in [0, 1].
    """
    ranks = np.linspace(0.1, 0.9, 9) * (math.prod(canvases.shape[1:]) - 1)
    below, share = np.divmod(ranks, 1)
    deciles = np.empty((len(canvases), _SIZES["gray"]))
    for row, canvas in zip(deciles, canvases, strict=True):
        counts = np.cumsum(np.bincount(canvas.ravel(), minlength=256))
        low, high = (counts.searchsorted(rank, side="right") for rank in (below, below + 1))
        row[:] = low + share * (high - low)
    return deciles / 255


def _check_arrays(
    mean: Mapping[str, Array],
    sd: Mapping[str, Array],
    kept: Mapping[str, npt.NDArray[np.float32]],
    limit: Mapping[str, float],
) -> None:
    """Raise ValueError for arrays that would fail later, or give wrong answers."""
    for kind in mean:
        size = _SIZES.get(kind, mean[kind].size)
        rows = kept.get(kind, np.empty((0, size)))
        if not mean[kind].shape == sd[kind].shape == (size,) == rows.shape[1:]:
            raise ValueError(f"the arrays of {kind!r} do not have the expected shapes")
        if not all(np.isfinite(part).all() for part in (mean[kind], sd[kind], rows, limit[kind])):
            raise ValueError(f"the arrays of {kind!r} contain NaN or infinite values")


def _blocks(slices: Descriptors) -> Iterable[Block]:
    return (slices,) if isinstance(slices, Mapping) else slices


class _Moments:
    """Mean and standard deviation of rows that arrive in blocks.

    Blocks are combined by the formula of Chan, Golub and LeVeque, "Algorithms for computing the
    sample variance" (1983), which does not lose digits as the sum of squares does.
    """

    def __init__(self) -> None:
        self._count = 0
        self.mean: Array = np.zeros(())
        self._squares: Array = np.zeros(())

    def add(self, rows: npt.NDArray[np.floating]) -> None:
        """Add a block of shape (n_rows, n_dimensions)."""
        mean = rows.mean(axis=0, dtype=np.float64)
        difference = mean - self.mean
        total = self._count + len(rows)
        self.mean = self.mean + difference * (len(rows) / total)
        self._squares = (
            self._squares
            + ((rows - mean) ** 2).sum(axis=0)
            + difference**2 * (self._count * len(rows) / total)
        )
        self._count = total

    @property
    def sd(self) -> Array:
        """Standard deviation of all rows, of shape (n_dimensions,)."""
        return np.asarray(np.sqrt(self._squares / self._count))


class _Sample:
    """Random slices out of those that arrive in blocks, the same at every call.

    Each slice gets a random number, and those with the smallest numbers are kept: a uniform sample
    that does not depend on the sizes of the blocks.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._generator = np.random.default_rng(0)
        self._keys: Array = np.empty(0)
        self.rows: dict[str, npt.NDArray[np.floating]] = {}

    def add(self, block: Block) -> None:
        """Add a block of rows by descriptor, each of shape (n_slices, n_dimensions)."""
        if not block:
            return
        length = len(next(iter(block.values())))
        keys = np.concatenate([self._keys, self._generator.random(length)])
        chosen = np.sort(np.argsort(keys, kind="stable")[: self._size])
        self._keys = keys[chosen]
        self.rows = {
            kind: np.concatenate([self.rows[kind], rows] if self.rows else [rows])[chosen]
            for kind, rows in block.items()
        }

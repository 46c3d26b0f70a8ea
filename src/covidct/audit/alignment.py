"""Similarity of slices after an affine alignment.

If a copy of a slice was cropped, shifted or rotated a little, the edges of copy and original do not
coincide any more. An affine map that aligns them is found by the inverse compositional algorithm of
Baker and Matthews [1]_, a Gauss-Newton method: the gradients and the Hessian belong to the fixed
canvas and are computed once per slice, so that a step costs one resampling and six products per
pair. It starts on blurred canvases of 16 x 16 pixels, where a shift of a tenth of the canvas is
small, and drops the pairs that remain different; the other pairs are refined at 32 x 32 pixels. The
similarity is then the correlation of the edges at 64 x 64 pixels, over the part that both canvases
show.

References
----------
.. [1] Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", International Journal
   of Computer Vision 56, 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["aligned_similarities", "chunks", "edge_strengths", "standardize"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# Number of pairs processed at once: few enough for the processor's cache.
_PAIRS = 512
# Number of pairs whose slices are prepared at once, which limits the memory.
_PAIRS_AT_ONCE = 4096
# Side of the canvas, blur in its pixels, and number of steps, of both stages.
_STAGES = ((16, 3.0, 5), (32, 2.0, 2))
# Gray correlation that a pair must reach in the first stage to be refined. Of copies with a crop of
# 2 % or a rotation by 3 degrees, at least 95 % reach it.
_PROMISING = 0.965
# Largest change of the entries of the matrix, and of the center as a share of the canvas.
_MAX_ROTATION, _MAX_SHIFT = 0.2, 0.125
# Share of the canvas at each edge that is not compared: rotated copies have filled corners there.
_MARGIN = 1 / 16
# Smallest share of the rest that both slices must show.
_LEAST_SHARED = 0.6


def aligned_similarities(
    fixed: npt.NDArray[np.uint8],
    moving: npt.NDArray[np.uint8],
    pairs: Ints,
    *,
    change: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] | None = None,
) -> Floats:
    """Compute the correlation of the edges in pairs of canvases, after an affine alignment.

    Parameters
    ----------
    fixed, moving : ndarray of uint8 of shape (n_slices, 64, 64)
        Gray canvases, in memory or mapped. Those in `moving` are moved.
    pairs : ndarray of int64 of shape (n_pairs, 2)
        Positions in `fixed` and in `moving`.
    change : callable, optional
        Function that changes canvases of `moving` before the comparison, for example mirrors them.

    Returns
    -------
    ndarray of float32 of shape (n_pairs,)
        Correlations in [-1, 1]; 0 for pairs that no small movement makes similar.

    Examples
    --------
    >>> import numpy as np
    >>> import covidct
    >>> from covidct.audit.alignment import aligned_similarities
    >>> image, _ = covidct.load_dataset("phantom", n=1, seed=0)[0]
    >>> canvases = np.stack([np.asarray(image.rotate(angle).resize((64, 64))) for angle in (0, 3)])
    >>> bool(aligned_similarities(canvases, canvases, np.array([[0, 1]]))[0] > 0.9)
    True
    """
    similarity = np.zeros(len(pairs), np.float32)
    if not len(pairs):
        return similarity
    for part in chunks(len(pairs), _PAIRS_AT_ONCE):
        # Restricted to the slices of these pairs, since gradients take 100 kB per slice.
        left, fixed_part = _used(fixed, pairs[part, 0])
        right, moving_part = _used(moving, pairs[part, 1])
        if change is not None:
            moving_part = change(moving_part)
        first = _Level(fixed_part, moving_part, *_STAGES[0][:2])
        maps, promising = [], []
        for few in chunks(len(left), _PAIRS):
            start = np.tile(_IDENTITY, (few.stop - few.start, 1, 1))
            found, correlation = first.refine(left[few], right[few], start, steps=_STAGES[0][2])
            maps.append(found)
            promising.append(correlation >= _PROMISING)
        chosen = np.flatnonzero(np.concatenate(promising))
        if not len(chosen):
            continue
        found = np.concatenate(maps)[chosen]
        left, fixed_part = _used(fixed_part, left[chosen])
        right, moving_part = _used(moving_part, right[chosen])
        second = _Level(fixed_part, moving_part, *_STAGES[1][:2])
        edges, edges_moving = edge_strengths(fixed_part), edge_strengths(moving_part)
        for few in chunks(len(left), _PAIRS):
            refined, _ = second.refine(left[few], right[few], found[few], steps=_STAGES[1][2])
            similarity[part.start + chosen[few]] = _compare(
                edges[left[few]], edges_moving, right[few], refined
            )
    return similarity


def _used(canvases: npt.NDArray[np.uint8], index: Ints) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """Return the canvases that an index uses, and the index among these."""
    used, positions = np.unique(index, return_inverse=True)
    return positions, canvases[used]


_IDENTITY = np.eye(2, 3, dtype=np.float32)
_RANGE = np.array([_MAX_ROTATION, _MAX_ROTATION, 2 * _MAX_SHIFT], np.float32)
_LOW, _HIGH = _IDENTITY - _RANGE, _IDENTITY + _RANGE


class _Level:
    """Blurred canvases of one size. Coordinates (y, x) are from -1 to 1 on every level."""

    def __init__(
        self,
        fixed: npt.NDArray[np.uint8],
        moving: npt.NDArray[np.uint8],
        side: int,
        blur: float,
    ) -> None:
        self.fixed = _shrink(fixed, side, blur)
        self.moving = _shrink(moving, side, blur)
        down, across = np.gradient(self.fixed, 2 / side, axis=(1, 2))
        inner = np.zeros((side, side), np.float32)
        inner[1:-1, 1:-1] = 1  # the gradient at the edges is one-sided
        y, x = _grid(side)[:2].reshape(2, side, side)
        terms = [down * y, down * x, down, across * y, across * x, across]
        steepest = (np.stack(terms, axis=1) * inner).reshape(len(fixed), 6, -1)
        hessian = steepest @ steepest.transpose(0, 2, 1)
        ridge = 1e-3 * np.trace(hessian, axis1=1, axis2=2)[:, None, None] / 6 + 1e-6
        # The product of this matrix and the error of a pair is the step of Gauss and Newton.
        self.solver = np.linalg.solve(hessian + ridge * np.eye(6, dtype=np.float32), steepest)
        self.solver = self.solver.astype(np.float32)
        self.fixed = self.fixed.reshape(len(fixed), -1)

    def refine(self, left: Ints, right: Ints, maps: Floats, *, steps: int) -> tuple[Floats, Floats]:
        """Improve affine maps; return them and the correlations before the last step."""
        fixed, solver = self.fixed[left], self.solver[left]
        inverse = np.tile(np.eye(3, dtype=np.float32), (len(left), 1, 1))
        for _ in range(steps):
            moved = _unit(_resample(self.moving, right, maps)[0])
            step = (solver @ (moved - fixed)[:, :, None]).reshape(-1, 2, 3)
            inverse[:, :2] = _IDENTITY + step
            maps = np.clip(maps @ np.linalg.inv(inverse), _LOW, _HIGH)
        return maps, np.einsum("ij,ij->i", moved, fixed)


def _compare(fixed: Floats, moving: Floats, right: Ints, maps: Floats) -> Floats:
    """Return the correlation of edges over the pixels that both canvases show."""
    moved, shown = _resample(moving, right, maps)
    side = moving.shape[1]
    y, x = _grid(side)[:2]
    weight = (shown & (np.maximum(abs(y), abs(x)) <= 1 - 2 * _MARGIN)).astype(np.float32)
    total = weight.sum(axis=1, keepdims=True)
    values = []
    for image in (fixed.reshape(len(fixed), -1), moved):
        mean = np.einsum("ij,ij->i", image, weight)[:, None] / np.maximum(total, 1)
        values.append((image - mean) * weight)
    first, second = values
    product = np.einsum("ij,ij->i", first, second)
    length = np.sqrt(np.einsum("ij,ij->i", first, first) * np.einsum("ij,ij->i", second, second))
    enough = total[:, 0] >= _LEAST_SHARED * (1 - 2 * _MARGIN) ** 2 * side**2
    correlation: Floats = np.divide(
        product, length, out=np.zeros_like(product), where=enough & (length > 1)
    )
    return correlation


def _resample(images: Floats, index: Ints, maps: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Sample images bilinearly at mapped coordinates; return also a mask of those in the image."""
    side = images.shape[1]
    coordinates = maps @ _grid(side)
    inside = np.max(np.abs(coordinates), axis=1) <= 1
    pixels = np.clip((coordinates + 1) * (side / 2) - 0.5, 0, side - 1.001)
    corner = pixels.astype(np.int32)
    down, across = (pixels - corner).transpose(1, 0, 2)
    flat = images.reshape(-1)
    start = index[:, None] * side**2 + corner[:, 0] * side + corner[:, 1]
    upper = flat[start]
    upper += across * (flat[start + 1] - upper)
    start += side
    lower = flat[start]
    lower += across * (flat[start + 1] - lower)
    upper += down * (lower - upper)
    return upper, inside


def _grid(side: int) -> Floats:
    """Return the centers of all pixels as homogeneous coordinates (y, x, 1), shape (3, side**2)."""
    centers = (np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1
    y, x = np.meshgrid(centers, centers, indexing="ij")
    return np.stack([y.ravel(), x.ravel(), np.ones(side**2, np.float32)])


def _shrink(canvases: npt.NDArray[np.uint8], side: int, blur: float) -> Floats:
    smooth = ndimage.gaussian_filter(canvases.astype(np.float32), (0, blur, blur))
    block = canvases.shape[1] // side
    return standardize(smooth.reshape(-1, side, block, side, block).mean(axis=(2, 4)))


def _unit(images: Floats) -> Floats:
    images -= images.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", images, images))[:, None]
    images /= np.maximum(length, 1e-6)
    return images


def edge_strengths(canvases: npt.NDArray[np.uint8]) -> Floats:
    """Compute the gradient magnitudes of canvases after a Gaussian filter of 1 pixel.

    Parameters
    ----------
    canvases : ndarray of uint8 of shape (n_slices, height, width)
        Gray canvases.

    Returns
    -------
    ndarray of float32 of shape (n_slices, height, width)

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.alignment import edge_strengths
    >>> edge_strengths(np.full((1, 4, 4), 9, np.uint8)).max().item()
    0.0
    """
    smooth = ndimage.gaussian_filter(canvases.astype(np.float32), (0, 1, 1))
    down, across = np.gradient(smooth, axis=(1, 2))
    strengths: Floats = np.hypot(down, across)
    return strengths


def standardize(images: npt.NDArray[Any]) -> Floats:
    """Remove brightness and contrast, so that the sum of a product is the Pearson correlation.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width)
        Gray images.

    Returns
    -------
    ndarray of float32 of shape (n_images, height, width)
        Images with mean 0 and Euclidean length 1; blank images are all 0.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.alignment import standardize
    >>> first, second, blank = standardize(np.array([[[0, 100]], [[50, 70]], [[9, 9]]]))
    >>> bool(np.allclose(first, second)), blank.tolist()
    (True, [[0.0, 0.0]])
    """
    values = images.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.einsum("ijk,ijk->i", values, values))[:, None, None]
    # Due to rounding, the length of a blank image may be a few thousandths.
    values *= np.divide(1, length, out=np.zeros_like(length), where=length > 1)
    return values


def chunks(n: int, size: int) -> Iterator[slice]:
    """Split ``range(n)`` into consecutive Python slices, to limit the memory of a computation.

    Parameters
    ----------
    n : int
        Number of items.
    size : int
        Largest number of items in a slice.

    Returns
    -------
    iterator of slice

    Examples
    --------
    >>> from covidct.audit.alignment import chunks
    >>> list(chunks(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return (slice(start, min(start + size, n)) for start in range(0, n, size))

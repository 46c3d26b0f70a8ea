"""Painting of soft-edged shapes on a grid of pixels, in Hounsfield units.

Shapes are implicit functions: approximately the depth below their edge, negative outside. Per
pixel, only ``+ - * /``, ``sqrt``, minimum and maximum are computed, which are rounded in the same
way on all processors (IEEE 754): the same seed gives the same picture everywhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["FloatImage", "Painting", "join", "smooth_step", "texture"]

FloatImage = npt.NDArray[np.float32]
Coordinates = npt.NDArray[np.float64]
Point = tuple[float, float]
Window = tuple[slice, slice]

CORNER = 0.3  # bulge of a squircle beyond its ellipse


class Painting:
    """Pixels with their coordinates in a smoothly warped plane.

    Parameters
    ----------
    size : tuple of (int, int)
        Height and width in pixels.
    scale : float
        Pixels per unit of length.
    shift : tuple of (float, float)
        Position of the center of the picture.
    tilt : float
        Small rotation in radians.
    warp : ndarray of shape (2, 3, 3)
        Weights of the polynomials that displace x and y.
    hu : float
        Value of the background in Hounsfield units.

    Attributes
    ----------
    x, y : (H, W) float32
        To the right, and down.
    hu : (H, W) float32
        Hounsfield units painted so far.

    Examples
    --------
    >>> import numpy as np
    >>> painting = Painting((5, 5), scale=2, shift=(0, 0), tilt=0, warp=np.zeros((2, 3, 3)), hu=0)
    >>> painting.paint_ellipse((0, 0), (1, 0.5), 100)
    >>> painting.hu[2].tolist()
    [50.0, 100.0, 100.0, 100.0, 50.0]
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        scale: float,
        shift: Point,
        tilt: float,
        warp: npt.NDArray[np.float64],
        hu: float,
    ) -> None:
        self.scale = scale
        row, column = (
            ((np.arange(n) - (n - 1) / 2) / scale + offset).astype(np.float32)
            for n, offset in zip(size, (shift[1], shift[0]), strict=True)
        )
        turn = np.float32(tilt)  # small: its sine is itself, its cosine 1
        self.x: FloatImage = _polynomial(warp[0], row, column) + (column + turn * row[:, None])
        self.y: FloatImage = _polynomial(warp[1], row, column) + (row[:, None] - turn * column)
        self._row, self._column = row, column
        self.hu: FloatImage = np.full(size, hu, np.float32)

    def near(self, center: Point, radii: Point, *, margin: float = 0.02) -> Window:
        """Return rows and columns of the box around an upright shape, clipped to the picture."""
        x, y = center
        i, j = self._nearest(y, self._row), self._nearest(x, self._column)
        # As in to_pixels, without the cost of arrays of one number.
        x -= float(self.x[i, j]) - float(self._column[j])
        y -= float(self.y[i, j]) - float(self._row[i])
        rows = self._span(y, radii[1] + margin, self._row)
        return rows, self._span(x, radii[0] + margin, self._column)

    def _nearest(self, at: float, axis: FloatImage) -> int:
        return min(max(int((at - float(axis[0])) * self.scale), 0), len(axis) - 1)

    def _span(self, at: float, reach: float, axis: FloatImage) -> slice:
        low = int((at - reach - float(axis[0])) * self.scale - 1)
        high = int((at + reach - float(axis[0])) * self.scale + 3)
        return slice(min(max(low, 0), len(axis)), min(max(high, 0), len(axis)))

    def to_pixels(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return column and row of points, in fractions of a pixel, accurate to about a pixel."""
        height, width = self.hu.shape
        # One step towards the inverse of the warp, which is nearly constant over its own size.
        row = np.minimum(np.maximum((y - self._row[0]) * self.scale, 0), height - 1)
        column = np.minimum(np.maximum((x - self._column[0]) * self.scale, 0), width - 1)
        row, column = row.astype(np.intp), column.astype(np.intp)
        x = x - (self.x[row, column] - self._column[column])
        y = y - (self.y[row, column] - self._row[row])
        return (x - self._column[0]) * self.scale, (y - self._row[0]) * self.scale

    def ellipse(
        self, center: Point, radii: Point, *, angle: float = 0, window: Window = np.s_[:, :]
    ) -> FloatImage:
        """Return the depth below the edge of an ellipse, rotated by ``angle``."""
        u: FloatImage = self.x[window] - np.float32(center[0])
        v: FloatImage = self.y[window] - np.float32(center[1])
        if angle:
            cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            u, v = cos * u + sin * v, cos * v - sin * u
        u *= np.float32(1 / radii[0])
        v *= np.float32(1 / radii[1])
        u *= u
        v *= v
        u += v
        np.sqrt(u, out=u)
        np.subtract(1, u, out=u)
        u *= np.float32(min(radii))
        return u

    def squircle(self, center: Point, radii: Point) -> FloatImage:
        """Return the depth below the edge of an ellipse with fuller corners, like a thorax."""
        u = (self.x - np.float32(center[0])) * np.float32(1 / radii[0])
        v = (self.y - np.float32(center[1])) * np.float32(1 / radii[1])
        u *= u
        v *= v
        corner = np.minimum(u * v, 4)  # far outside, the root must stay real
        corner *= np.float32(CORNER)
        u += v
        u -= corner
        np.sqrt(u, out=u)
        np.subtract(1, u, out=u)
        u *= np.float32(min(radii))
        return u

    def coverage(self, depth: FloatImage) -> FloatImage:
        """Return the share of each pixel, 0 to 1, that is inside a shape."""
        part: FloatImage = depth * np.float32(self.scale)
        part += np.float32(0.5)
        return np.clip(part, 0, 1, out=part)

    def paint(
        self, depth: FloatImage, hu: float | FloatImage, *, window: Window = np.s_[:, :]
    ) -> None:
        """Fill a shape, with edges one pixel wide."""
        ground = self.hu[window]
        change = hu - ground
        change *= self.coverage(depth)
        ground += change

    def paint_ellipse(self, center: Point, radii: Point, hu: float) -> None:
        """Fill an ellipse; only its neighborhood is computed."""
        window = self.near(center, radii)
        self.paint(self.ellipse(center, radii, window=window), hu, window=window)


def smooth_step(value: FloatImage) -> FloatImage:
    """Return a smooth function of ``value`` from 0 to 1, without a kink."""
    value = np.clip(value, 0, 1)
    step: FloatImage = value * value * (3 - 2 * value)
    return step


def join(a: FloatImage, b: FloatImage, radius: float) -> FloatImage:
    """Return the union of two shapes, with a fillet of about ``radius`` (a smooth maximum)."""
    overlap: FloatImage = np.float32(radius) - np.abs(a - b)
    np.maximum(overlap, 0, out=overlap)
    overlap *= overlap
    overlap *= np.float32(0.25 / radius)
    overlap += np.maximum(a, b)
    return overlap


def texture(rng: np.random.Generator, shape: tuple[int, ...], *, cells: int) -> FloatImage:
    """Return smooth noise in [-1, 1] with about ``cells`` bumps across."""
    height, width = shape
    rows = max(2, round(cells * height / max(width, 1)))
    grid = rng.uniform(-1, 1, (rows + 1, cells + 1)).astype(np.float32)
    grid = np.ascontiguousarray(_stretch(np.ascontiguousarray(grid.T), width).T)
    return _stretch(grid, height)


def _stretch(grid: FloatImage, n: int) -> FloatImage:
    """Interpolate the first axis at ``n`` places."""
    at = np.arange(n) * ((len(grid) - 1) / max(n, 1))
    low = at.astype(np.intp)
    weight = smooth_step((at - low).astype(np.float32))[:, None]
    result: FloatImage = (grid[1:] - grid[:-1])[low]
    result *= weight
    result += grid[low]
    return result


def _polynomial(
    weights: npt.NDArray[np.float64], row: FloatImage, column: FloatImage
) -> FloatImage:
    """Sum weights[i, j] T_i(y) T_j(x) over Chebyshev polynomials of degrees 1 to 3."""
    total = np.zeros((len(row), len(column)), np.float32)
    down, across = ((t, 2 * t * t - 1, 4 * t * t * t - 3 * t) for t in (row * 0.9, column * 0.9))
    for t, (a, b, c) in zip(down, weights.astype(np.float32), strict=True):
        total += t[:, None] * (a * across[0] + b * across[1] + c * across[2])
    return total

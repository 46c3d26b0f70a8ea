"""Vessels of the lungs in an axial slice: lines within its plane, and dots across it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .painting import FloatImage, Painting

__all__ = ["draw_vessels"]

Points = npt.NDArray[np.float64]  # (N, 3): x, y, radius

# Numbers per lung.
GENERATIONS, ROOTS, DOTS = 4, 5, 110


def draw_vessels(painting: Painting, lung: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Draw the vessels of both lungs.

    Parameters
    ----------
    painting : Painting
        Grid of the picture.
    lung : ndarray of float32 of shape (height, width)
        Depth below the pleura.
    rng : numpy.random.Generator
        Random generator.

    Returns
    -------
    ndarray of float32 of shape (height, width)
        Share of each pixel, 0 to 1, that is vessel. It fades in the outermost centimeter, where
        vessels are too fine to be seen.
    """
    points = np.concatenate([_trees(rng, 1 / painting.scale), _dots(rng)])
    column, row = painting.to_pixels(points[:, 0], points[:, 1])
    radius = points[:, 2] * painting.scale
    # The nearest pixel must be lung, and far enough from the border for any disc.
    left, top = np.rint(column), np.rint(row)
    height, width = painting.hu.shape
    reach = int(np.ceil(radius.max() + 0.5))
    kept = (left >= reach) & (left < width - reach) & (top >= reach) & (top < height - reach)
    at = np.where(kept, top * width + left, 0).astype(np.intp)
    kept &= lung.ravel()[at] > 0
    canvas = np.zeros(painting.hu.shape, np.float32)
    offset = np.stack([left - column, top - row], -1).astype(np.float32)
    thick = radius > 1.5
    for part in (kept & thick, kept & ~thick):
        _stamp(canvas, at[part], offset[part], radius[part].astype(np.float32))
    canvas *= np.clip(lung * np.float32(14), 0, 1)
    return canvas


def _trees(rng: np.random.Generator, step: float) -> Points:
    """Return the vessels of both lungs that start at the hila, generation by generation."""
    side = np.repeat([-1, 1], ROOTS)
    tip = np.column_stack([0.17 * side, np.full(2 * ROOTS, 0.02)])
    tip += rng.uniform(-0.04, 0.04, tip.shape)
    heading = np.tile(np.linspace(-1.25, 1.25, ROOTS), 2) + rng.uniform(-0.25, 0.25, 2 * ROOTS)
    radius, length, visible = 0.019, 0.2, 0.85
    grown = []
    for _ in range(GENERATIONS):
        n = max(2, round(length / step))
        bend = rng.uniform(-0.7, 0.7, (len(tip), 1)) * np.linspace(0, 1, n)
        angle = heading[:, None] + bend
        path = np.stack([side[:, None] * np.cos(angle), np.sin(angle)], -1)
        path = tip[:, None] + step * np.cumsum(path, axis=1)
        taper = np.broadcast_to(radius * np.linspace(1, 0.7, n), path.shape[:2])
        seen = rng.uniform(size=len(tip)) < visible  # the others leave the slice
        grown.append(np.concatenate([path, taper[..., None]], -1)[seen].reshape(-1, 3))
        fork = rng.uniform(0.2, 0.65, (len(tip), 2)) * [-1, 1]
        heading = (angle[:, -1:] + fork).ravel()
        tip, side = np.repeat(path[:, -1], 2, axis=0), np.repeat(side, 2)
        radius, length, visible = 0.62 * radius, 0.78 * length, 0.45
    return np.concatenate(grown)


def _dots(rng: np.random.Generator) -> Points:
    """Return the cross sections of vessels, coarse ones near the hila and fine ones everywhere."""
    place = rng.uniform([-0.9, -0.65], [0.9, 0.65], (2 * DOTS, 2))
    away = np.abs(np.abs(place[:, 0]) - 0.2) + np.abs(place[:, 1])
    radius = np.maximum(0.017 - 0.02 * away, 0.004) * rng.uniform(0.7, 1.4, len(place))
    return np.column_stack([place, radius])


def _stamp(
    canvas: FloatImage, at: npt.NDArray[np.intp], offset: FloatImage, radius: FloatImage
) -> None:
    """Draw a disc at each point; where discs overlap, the brightest value is kept."""
    if not len(at):
        return
    reach = int(np.ceil(radius.max() + 0.5))
    around = np.arange(-reach, reach + 1)
    x = around.astype(np.float32)[None, None, :] + offset[:, 0, None, None]
    y = around.astype(np.float32)[None, :, None] + offset[:, 1, None, None]
    radius = radius[:, None, None]
    cover = np.clip(radius + np.float32(0.5) - np.sqrt(x * x + y * y), 0, 1)
    cover *= np.minimum(np.float32(1.5) * radius, 1)  # finer than a pixel: fainter, not absent
    pixel = at[:, None, None] + (around[:, None] * canvas.shape[1] + around)
    np.maximum.at(canvas.reshape(-1), pixel.ravel(), cover.ravel())

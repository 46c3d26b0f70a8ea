"""The branching vessels of the lungs in an axial slice: lines where they run in it, else dots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .chest import Chest

__all__ = ["draw_vessels"]

Points = npt.NDArray[np.float64]  # (N, 3): x, y, radius

GENERATIONS = 4
ROOTS = 5  # per lung
DOTS = 90  # per lung: vessels that cross the slice


def draw_vessels(chest: Chest) -> npt.NDArray[np.float32]:
    """Draw the vessels of both lungs.

    Parameters
    ----------
    chest
        Gives the pixel grid, the depth below the pleura and the random generator.

    Returns
    -------
    (H, W) float32 array
        Part of each pixel, 0 to 1, that is vessel. It fades in the outermost centimetre, where
        vessels are too fine to be seen.
    """
    rng = chest.rng
    step = 0.7 / chest.scale
    points = np.concatenate([_tree(rng, side, step) for side in (-1, 1)] + [_dots(rng)])
    thick = points[:, 2] * chest.scale > 1.4
    canvas = np.zeros(chest.hu.shape, np.float32)
    for part in (points[thick], points[~thick]):
        _stamp(canvas, chest, part)
    canvas *= np.clip(chest.lung * np.float32(14), 0, 1)
    return canvas


def _tree(rng: np.random.Generator, side: int, step: float) -> Points:
    """Grow the vessels of one lung from its hilum; all branches of a generation at once."""
    tip = np.tile([side * 0.2, 0.0], (ROOTS, 1)) + rng.uniform(-0.04, 0.04, (ROOTS, 2))
    heading = np.linspace(-1.25, 1.25, ROOTS) + rng.uniform(-0.2, 0.2, ROOTS)
    radius, length = 0.021, 0.2
    grown = []
    for _ in range(GENERATIONS):
        n = max(2, round(length / step))
        bends = rng.uniform(-1, 1, (len(tip), 1)) * np.linspace(0, 0.7, n)
        angle = heading[:, None] + bends
        path = np.cumsum(np.stack([side * np.cos(angle), np.sin(angle)], -1) * step, axis=1)
        path += tip[:, None]
        taper = np.broadcast_to(radius * np.linspace(1, 0.75, n), path.shape[:2])
        seen = rng.uniform(size=len(tip)) < 0.62  # the others leave the slice
        grown.append(np.concatenate([path, taper[..., None]], -1)[seen].reshape(-1, 3))
        fork = rng.uniform(0.25, 0.6, (len(tip), 2)) * [-1, 1]
        heading = (angle[:, -1:] + fork).ravel()
        tip = np.repeat(path[:, -1], 2, axis=0)
        radius, length = 0.68 * radius, 0.78 * length
    return np.concatenate(grown)


def _dots(rng: np.random.Generator) -> Points:
    place = rng.uniform([-0.85, -0.6], [0.85, 0.6], (2 * DOTS, 2))
    away = np.abs(np.abs(place[:, 0]) - 0.2) + np.abs(place[:, 1])
    radius = np.clip(0.024 - 0.02 * away, 0.006, None) * rng.uniform(0.7, 1.2, len(place))
    return np.column_stack([place, radius])


def _stamp(canvas: npt.NDArray[np.float32], chest: Chest, points: Points) -> None:
    """Draw a disc at each point, the brightest winning where they overlap."""
    height, width = canvas.shape
    column, row = chest.to_pixels(points[:, 0], points[:, 1])
    radius = points[:, 2] * chest.scale
    reach = int(np.ceil(radius.max(initial=0) + 0.5))
    inside = (column >= reach) & (column < width - 1 - reach)
    inside &= (row >= reach) & (row < height - 1 - reach)
    column, row, radius = (
        part[inside].astype(np.float32)[:, None] for part in (column, row, radius)
    )
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    dy, dx = (part.ravel()[None] for part in np.meshgrid(offset, offset, indexing="ij"))
    left, top = np.rint(column), np.rint(row)
    x, y = left - column + dx, top - row + dy
    cover = np.clip(radius + np.float32(0.5) - np.sqrt(x * x + y * y), 0, 1)
    # A vessel thinner than a pixel is fainter, not absent.
    cover *= np.minimum(2 * radius, 1)
    at = ((top + dy) * width + left + dx).astype(np.intp)
    np.maximum.at(canvas.reshape(-1), at, cover)

"""Disease painted onto a procedural chest: that of COVID-19, and what else a chest CT may show.

Each painter takes the slice and a generator, changes ``chest.hu`` in place, and returns the mask
of what it painted, (H, W) bool.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from .chest import AIR, MUSCLE, Chest, FloatImage, smooth_step, texture

__all__ = ["OTHER_FINDINGS", "ground_glass"]

Mask = npt.NDArray[np.bool_]
Painter = Callable[[Chest, np.random.Generator], Mask]


def ground_glass(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint hazy opacities along the pleura, mostly posterior and in both lungs.

    Ground glass veils the lung but not its vessels; half of the opacities have a consolidated
    core (Radiological Society of North America, typical appearance of COVID-19, 2020).
    """
    mask = np.zeros(chest.hu.shape, np.bool_)
    side = rng.choice((-1, 1))
    for _ in range(rng.integers(3, 7)):
        center = _point_in_lung(chest, rng, side, below=(0.02, 0.09), posterior=0.6)
        along, deep = rng.uniform(0.13, 0.26), rng.uniform(0.08, 0.14)
        shape = _veil(chest, rng, center, (along, deep))
        density = rng.uniform(0.55, 0.8)
        core = rng.uniform(0.3, 0.55) * (rng.uniform() < 0.5)
        mask |= _blend(chest, density * smooth_step(shape * 2.2), rng.uniform(-420, -280))
        if core:
            _blend(chest, smooth_step((shape - np.float32(1 - core)) * 3), -60)
        side = -side if rng.uniform() < 0.8 else side
    return mask


def normal(chest: Chest, rng: np.random.Generator) -> Mask:
    """Leave the chest healthy."""
    del rng
    return np.zeros(chest.hu.shape, np.bool_)


def nodules(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint one to four round, solid, sharp-edged nodules."""
    mask = np.zeros(chest.hu.shape, np.bool_)
    for _ in range(rng.integers(1, 5)):
        center = _point_in_lung(chest, rng, rng.choice((-1, 1)), below=(0.06, 0.5))
        radius = rng.uniform(0.035, 0.1)
        depth = chest.ellipse(*center, radius, radius * rng.uniform(0.85, 1))
        depth += texture(rng, depth.shape, cells=30) * np.float32(0.006)
        mask |= _blend(chest, chest.coverage(depth), MUSCLE - 20)
    return mask


def consolidation(chest: Chest, rng: np.random.Generator) -> Mask:
    """Fill a part of one lobe up to a straight fissure, with air left in the bronchi."""
    center = _point_in_lung(chest, rng, rng.choice((-1, 1)), below=(0.12, 0.4))
    shape = chest.ellipse(*center, *rng.uniform(0.18, 0.3, 2))
    shape += texture(rng, shape.shape, cells=16) * np.float32(0.02)
    slope = rng.uniform(-0.6, 0.6)
    fissure = (
        chest.y
        - np.float32(center[1] - 0.06)
        - np.float32(slope) * (chest.x - np.float32(center[0]))
    )
    inside = chest.coverage(np.minimum(shape, fissure * rng.choice((-1, 1)) + np.float32(0.1)))
    mask = _blend(chest, inside * np.float32(0.95), MUSCLE - 30)
    bronchi = smooth_step(texture(rng, shape.shape, cells=40) * 4 - np.float32(2.2))
    _blend(chest, bronchi * inside * np.float32(0.7), AIR)
    return mask


def effusion(chest: Chest, rng: np.random.Generator) -> Mask:
    """Let fluid gather at the back of one or both sides, with a meniscus."""
    mask = np.zeros(chest.hu.shape, np.bool_)
    sides = ((-1,), (1,), (-1, 1))[rng.integers(3)]
    for side in sides:
        surface = chest.radii[1] * rng.uniform(0.45, 0.72)
        bowl = np.abs(chest.x - np.float32(side * 0.4))
        fluid = chest.y - np.float32(surface) + np.float32(0.9) * bowl * bowl
        fluid = np.where(chest.x * np.float32(side) > 0, fluid, np.float32(-1))
        mask |= _blend(chest, chest.coverage(fluid), 10)
    return mask


def emphysema(chest: Chest, rng: np.random.Generator) -> Mask:
    """Punch dark, thin-walled holes into the lungs."""
    mask = np.zeros(chest.hu.shape, np.bool_)
    for _ in range(rng.integers(18, 36)):
        center = _point_in_lung(chest, rng, rng.choice((-1, 1)), below=(0.03, 0.5))
        radius = rng.uniform(0.03, 0.075)
        near = chest.near(center, radius)
        x, y = chest.x[near] - np.float32(center[0]), chest.y[near] - np.float32(center[1])
        depth = np.float32(radius) - np.sqrt(x * x + y * y)
        hole = chest.coverage(depth) * chest.coverage(chest.lung[near])
        chest.hu[near] += hole * (np.float32(AIR + 10) - chest.hu[near])
        mask[near] |= hole > 0.5
    return mask


OTHER_FINDINGS: MappingProxyType[str, Painter] = MappingProxyType(
    {
        "normal": normal,
        "nodules": nodules,
        "consolidation": consolidation,
        "effusion": effusion,
        "emphysema": emphysema,
    }
)


def _blend(chest: Chest, weight: FloatImage, hu: float) -> Mask:
    """Mix lung with something denser, but never its vessels with something thinner."""
    weight = weight * chest.coverage(chest.lung)
    chest.hu += weight * (np.maximum(np.float32(hu), chest.vessels * MUSCLE) - chest.hu)
    mask: Mask = weight > 0.3
    return mask


def _veil(
    chest: Chest,
    rng: np.random.Generator,
    center: tuple[float, float],
    radii: tuple[float, float],
) -> FloatImage:
    """Return 1 at the center of a ragged lens that lies along the chest wall, 0 outside it."""
    normal = np.array([center[0] / chest.radii[0] ** 2, center[1] / chest.radii[1] ** 2])
    nx, ny = (normal / np.hypot(*normal)).astype(np.float32)
    x, y = chest.x - np.float32(center[0]), chest.y - np.float32(center[1])
    u = (nx * y - ny * x) * np.float32(1 / radii[0])
    v = (nx * x + ny * y) * np.float32(1 / radii[1])
    ragged = texture(rng, x.shape, cells=24) * np.float32(0.22)
    veil: FloatImage = np.clip(1 - np.sqrt(u * u + v * v) + ragged, 0, 1)
    return veil


def _point_in_lung(
    chest: Chest,
    rng: np.random.Generator,
    side: int,
    *,
    below: tuple[float, float],
    posterior: float = 0.0,
) -> tuple[float, float]:
    """Draw a point of one lung at a depth below the chest wall, perhaps in its posterior part."""
    depth = chest.cavity
    found = (depth > below[0]) & (depth < below[1]) & (chest.lung > 0.02)
    found &= chest.x * np.float32(side) > 0
    if rng.uniform() < posterior:
        found &= chest.y > np.float32(0.1)
    at = np.flatnonzero(found)
    pixel = at[int(rng.uniform() * len(at))]
    return float(chest.x.ravel()[pixel]), float(chest.y.ravel()[pixel])

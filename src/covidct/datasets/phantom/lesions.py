"""Diseases painted onto a procedural chest: COVID-19 and other findings.

Each painter takes the slice and a generator, changes ``chest.hu`` in place, and returns the mask of
the painted region, a boolean array of shape (height, width).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .chest import AIR, MUSCLE, Chest
from .painting import FloatImage, Point, Window, smooth_step, texture

__all__ = [
    "OTHER_FINDINGS",
    "consolidation",
    "effusion",
    "emphysema",
    "ground_glass",
    "nodules",
    "normal",
    "oedema",
]

Mask = npt.NDArray[np.bool_]
Painter = Callable[[Chest, np.random.Generator], Mask]

FLUID = 10  # HU


def ground_glass(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint hazy opacities along the pleura, mostly posterior and in both lungs.

    Ground glass covers the lung but not its vessels; some opacities have a consolidated core. This
    is the typical appearance of the RSNA expert consensus (Simpson et al. 2020).
    """
    mask = _nothing(chest)
    side = _either_side(rng)
    for _ in range(rng.integers(3, 6)):
        center = _point_in_lung(chest, rng, side, below=(0.015, 0.08), posterior=0.65)
        radii = rng.uniform(0.15, 0.29), rng.uniform(0.09, 0.16)
        window = chest.near(center, (max(radii) * 1.2,) * 2)
        veil = _veil(chest, rng, center, radii, window)
        hazy = rng.uniform(0.8, 0.97) * smooth_step(veil * np.float32(1.9))
        hazy *= 1 + np.float32(0.22) * texture(rng, veil.shape, cells=14)
        mask[window] |= _blend(chest, hazy, rng.uniform(-570, -440), window)
        if rng.uniform() < 0.4:
            core = smooth_step((veil - np.float32(rng.uniform(0.4, 0.6))) * 4)
            _blend(chest, np.float32(0.85) * core, -80, window)
        side = -side if rng.uniform() < 0.8 else side
    return mask


def normal(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint no finding."""
    del rng
    return _nothing(chest)


def nodules(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint one to four round, solid, sharp-edged nodules."""
    mask = _nothing(chest)
    for _ in range(rng.integers(1, 5)):
        center = _point_in_lung(chest, rng, _either_side(rng), below=(0.06, 0.5))
        radius = rng.uniform(0.035, 0.09)
        window = chest.near(center, (radius, radius))
        depth = chest.ellipse(center, (radius, radius * rng.uniform(0.85, 1)), window=window)
        depth += texture(rng, depth.shape, cells=6) * np.float32(0.1 * radius)
        mask[window] |= _blend(chest, chest.coverage(depth), MUSCLE, window)
    return mask


def consolidation(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint a consolidation of a part of one lobe, with a sharp fissure and air in the bronchi."""
    mask = _nothing(chest)
    center = _point_in_lung(chest, rng, _either_side(rng), below=(0.12, 0.4))
    radii = rng.uniform(0.18, 0.3), rng.uniform(0.16, 0.26)
    window = chest.near(center, radii, margin=0.06)
    shape = chest.ellipse(center, radii, window=window)
    shape += texture(rng, shape.shape, cells=7) * np.float32(0.04)
    fissure = chest.y[window] - np.float32(center[1])
    fissure -= np.float32(rng.uniform(-0.6, 0.6)) * (chest.x[window] - np.float32(center[0]))
    fissure *= _either_side(rng)
    inside = smooth_step(np.minimum(shape, fissure + np.float32(0.08)) * np.float32(25))
    mask[window] = _blend(chest, inside * np.float32(0.95), MUSCLE - 40, window)
    bronchi = smooth_step(texture(rng, shape.shape, cells=16) * 3 - np.float32(1.3))
    _blend(chest, bronchi * inside * np.float32(0.7), AIR + 100, window)
    return mask


def effusion(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint fluid at the back of one or both sides, with a meniscus."""
    mask = _nothing(chest)
    for side in ((-1,), (1,), (-1, 1))[rng.integers(3)]:
        surface = chest.radii[1] * rng.uniform(0.4, 0.65)
        bowl = np.abs(chest.x - np.float32(0.45 * side))
        fluid = chest.y - np.float32(surface) + bowl * bowl
        fluid = np.minimum(fluid, chest.x * np.float32(side))
        mask |= _blend(chest, chest.coverage(fluid), FLUID, np.s_[:, :])
    return mask


def oedema(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint ground glass around both hila but not in the periphery, which is not COVID-19."""
    mask = _nothing(chest)
    density = rng.uniform(-590, -450)
    for side in (-1, 1):
        center = (0.3 * side, rng.uniform(-0.05, 0.12))
        radii = rng.uniform(0.2, 0.28), rng.uniform(0.24, 0.36)
        window = chest.near(center, radii, margin=0.06)
        haze = chest.ellipse(center, radii, window=window) * np.float32(1 / min(radii))
        haze += texture(rng, haze.shape, cells=8) * np.float32(0.2)
        spared = smooth_step((chest.cavity[window] - np.float32(0.1)) * 12)
        haze = rng.uniform(0.75, 0.95) * smooth_step(haze * np.float32(1.9)) * spared
        mask[window] |= _blend(chest, haze, density, window)
    return mask


def emphysema(chest: Chest, rng: np.random.Generator) -> Mask:
    """Paint dark holes in the lungs and their vessels."""
    mask = _nothing(chest)
    for _ in range(rng.integers(20, 36)):
        center = _point_in_lung(chest, rng, _either_side(rng), below=(0.02, 0.5))
        radius = rng.uniform(0.03, 0.08)
        window = chest.near(center, (radius, radius))
        depth = chest.ellipse(center, (radius, radius * rng.uniform(0.7, 1)), window=window)
        depth = np.minimum(depth, chest.lung[window])
        wall = np.float32(0.01) - np.abs(depth)
        chest.paint(depth, AIR + 10, window=window)
        chest.hu[window] += chest.coverage(wall) * np.float32(90)
        mask[window] |= depth > 0
    return mask


#: Possible findings of a patient without COVID-19, with equal probabilities.
OTHER_FINDINGS: tuple[Painter, ...] = (
    normal,
    nodules,
    consolidation,
    effusion,
    oedema,
    emphysema,
)


def _nothing(chest: Chest) -> Mask:
    return np.zeros(chest.hu.shape, np.bool_)


def _either_side(rng: np.random.Generator) -> int:
    return 1 if rng.uniform() < 0.5 else -1


def _blend(chest: Chest, weight: FloatImage, hu: float, window: Window) -> Mask:
    """Blend a value into the lung, but not into its vessels; return the mask of its main part."""
    weight = weight * chest.coverage(chest.lung[window])
    mask: Mask = weight > 0.35
    weight *= 1 - chest.vessels[window]
    part = chest.hu[window]
    part += weight * (np.float32(hu) - part)
    return mask


def _veil(
    chest: Chest, rng: np.random.Generator, center: Point, radii: Point, window: Window
) -> FloatImage:
    """Return weights of a ragged lens along the chest wall, 1 at its center and 0 outside."""
    outwards = np.arctan2(center[1] / chest.radii[1] ** 2, center[0] / chest.radii[0] ** 2)
    lens = chest.ellipse(center, radii, angle=outwards + np.pi / 2, window=window)
    lens *= np.float32(1 / min(radii))
    lens += texture(rng, lens.shape, cells=8) * np.float32(0.22)
    veil: FloatImage = np.clip(lens, 0, 1, out=lens)
    return veil


def _point_in_lung(
    chest: Chest, rng: np.random.Generator, side: int, *, below: Point, posterior: float = 0.0
) -> Point:
    """Draw a pixel of one lung in a range of depths below the chest wall, or at the back."""
    found = (chest.cavity > below[0]) & (chest.cavity < below[1])
    found &= chest.lung > np.float32(0.012)
    found &= chest.x * np.float32(side) > 0
    if rng.uniform() < posterior:
        found &= chest.y > np.float32(0.1)
    at = np.flatnonzero(found)
    if not len(at):  # in a very small picture
        at = np.array([np.argmax(chest.lung)])
    pixel = at[int(rng.uniform() * len(at))]
    return float(chest.x.ravel()[pixel]), float(chest.y.ravel()[pixel])

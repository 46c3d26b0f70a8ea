"""A procedural axial slice through a healthy chest, in Hounsfield units.

Lengths are in units of half the chest's width (about 17 cm in an adult); x points to the left of
the patient (right in the picture), y to the back, as in radiological display. Shapes are implicit
functions, positive inside and about equal to the distance from the edge.

Per pixel only ``+ - * /``, ``sqrt``, ``minimum`` and ``maximum`` are computed, which IEEE 754
rounds alike everywhere: the pixels do not depend on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .vessels import draw_vessels

__all__ = ["Chest", "Patient", "smooth_step", "texture"]

FloatImage = npt.NDArray[np.float32]

AIR, LUNG, FAT, MUSCLE, SPONGY_BONE, BONE = -1000, -860, -95, 45, 220, 700


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What all slices of one patient share: build, scanner, display window, size of the picture."""

    width: int  # of the picture, in pixels
    height: int
    zoom: float  # half the picture's width over half the chest's
    depth: float  # of the chest, front to back over side to side
    fat: float
    wall: float
    heart: float
    tilt: float  # rotation in radians
    warp: npt.NDArray[np.float64] = field(repr=False)  # (2, 3, 3)
    lung: float  # HU
    level: float  # of the display window, HU
    window: float  # its width, HU
    blur: float
    noise: float  # standard deviation, HU
    table: float
    round_view: bool  # the scanner's circular field of view shows

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Patient:
        """Draw a patient, who is as likely to be of either class."""
        draw = rng.uniform
        width = round(draw(210, 400))
        return cls(
            width=width,
            height=round(width / draw(1.15, 1.5)),
            zoom=draw(0.9, 1.08),
            depth=draw(0.68, 0.8),
            fat=draw(0.02, 0.085),
            wall=draw(0.1, 0.135),
            heart=draw(0.88, 1.12),
            tilt=draw(-0.05, 0.05),
            warp=draw(-0.016, 0.016, (2, 3, 3)),
            lung=LUNG + draw(-40, 50),
            level=draw(-640, -480),
            window=draw(1250, 1600),
            blur=draw(0.25, 0.9),
            noise=draw(15, 45),
            table=draw(0.02, 0.14),
            round_view=bool(draw() < 0.15),
        )


class Chest:
    """One slice through a patient: pixel coordinates, tissue, and where the lungs lie.

    Parameters
    ----------
    patient
        Whose chest.
    level
        0 at the apex of the lungs, 1 at their base.
    rng
        Draws what differs from slice to slice.
    size
        (height, width) of the picture, instead of the patient's own.

    Attributes
    ----------
    hu : (H, W) float32
        Hounsfield units, without noise.
    x, y : (H, W) float32
        Where each pixel lies.
    cavity, lung : (H, W) float32
        Depth below the chest wall, and below the surface of the lung; negative outside.
    scale : float
        Pixels per unit of length.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> chest = Chest(Patient.draw(rng), 0.5, rng, size=(60, 80))
    >>> chest.hu.shape, bool(chest.hu[chest.lung > 0.02].mean() < -500)
    ((60, 80), True)
    """

    def __init__(
        self,
        patient: Patient,
        level: float,
        rng: np.random.Generator,
        *,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.patient, self.level, self.rng = patient, level, rng
        height, width = size or (patient.height, patient.width)
        # Wide enough and tall enough for most of the chest, whatever the shape of the picture.
        self.scale = min(width / 2, 0.97 * height / (2 * patient.depth)) / patient.zoom
        self._place_pixels(height, width)
        self.hu: FloatImage = np.full((height, width), AIR, np.float32)
        self._draw_body()
        self._shape_lungs()
        self._draw_mediastinum()
        self._draw_bones()
        self._draw_lungs()

    # Geometry

    def _place_pixels(self, height: int, width: int) -> None:
        shift = self.rng.uniform(-0.03, 0.03, 2)
        column = ((np.arange(width) - (width - 1) / 2) / self.scale + shift[0]).astype(np.float32)
        row = ((np.arange(height) - (height - 1) / 2) / self.scale + shift[1]).astype(np.float32)
        self._column, self._row = column, row
        turn = np.float32(self.patient.tilt)  # small: sin(t) = t, cos(t) = 1
        x, y = column[None, :], row[:, None]
        warp = self.patient.warp + self.rng.uniform(-0.006, 0.006, (2, 3, 3))
        self.x = x + turn * y + _polynomial(warp[0], column, row)
        self.y = y - turn * x + _polynomial(warp[1], column, row)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float) -> FloatImage:
        """Depth below the edge of an upright ellipse, over the whole picture."""
        u = (self.x - np.float32(cx)) * np.float32(1 / rx)
        v = (self.y - np.float32(cy)) * np.float32(1 / ry)
        depth: FloatImage = (1 - np.sqrt(u * u + v * v)) * np.float32(min(rx, ry))
        return depth

    def coverage(self, depth: FloatImage) -> FloatImage:
        """Part of each pixel, 0 to 1, that lies inside a shape."""
        part: FloatImage = np.clip(depth * np.float32(self.scale) + np.float32(0.5), 0, 1)
        return part

    def paint(self, depth: FloatImage, hu: float | FloatImage) -> None:
        """Fill a shape, with soft edges one pixel wide."""
        self.hu += self.coverage(depth) * (hu - self.hu)

    def paint_ellipse(
        self,
        center: tuple[float, float],
        radii: tuple[float, float],
        hu: float,
        *,
        angle: float = 0,
    ) -> None:
        """Fill a small ellipse that is turned by ``angle``; only its neighbourhood is computed."""
        window = self.near(center, max(radii))
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        x = self.x[window] - np.float32(center[0])
        y = self.y[window] - np.float32(center[1])
        u = (cos * x + sin * y) * np.float32(1 / radii[0])
        v = (cos * y - sin * x) * np.float32(1 / radii[1])
        part = self.hu[window]
        depth = (1 - np.sqrt(u * u + v * v)) * np.float32(min(radii))
        part += self.coverage(depth) * (np.float32(hu) - part)

    def near(self, center: tuple[float, float], radius: float) -> tuple[slice, slice]:
        """Rows and columns around a point; the margin allows for the warp and the tilt."""
        reach = radius + 0.12
        rows = np.searchsorted(self._row, [center[1] - reach, center[1] + reach])
        columns = np.searchsorted(self._column, [center[0] - reach, center[0] + reach])
        return slice(*rows.tolist()), slice(*columns.tolist())

    def to_pixels(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Column and row of points, in fractions of a pixel; tilt and warp are left out."""
        return (x - self._column[0]) * self.scale, (y - self._row[0]) * self.scale

    # Anatomy, from the outside in

    def _draw_body(self) -> None:
        patient = self.patient
        table = self.y - np.float32(0.09) * self.x * self.x - np.float32(patient.depth - 0.04)
        table -= np.float32(patient.table)
        self.paint(np.minimum(np.float32(0.012) - np.abs(table), 1.1 - np.abs(self.x)), -350)
        self._skin = self._squircle(0, 0, 1, patient.depth)
        self.paint(self._skin, -20)
        self.paint(self._skin - np.float32(0.012), FAT)
        self.paint(self._skin - np.float32(patient.fat), MUSCLE)

    def _squircle(self, cx: float, cy: float, rx: float, ry: float) -> FloatImage:
        """Halfway between an ellipse and a rounded rectangle, as a thorax is."""
        u = (self.x - np.float32(cx)) * np.float32(1 / rx)
        v = (self.y - np.float32(cy)) * np.float32(1 / ry)
        u, v = u * u, v * v
        radius = np.float32(0.5) * (np.sqrt(u + v) + np.sqrt(np.sqrt(u * u + v * v)))
        depth: FloatImage = (1 - radius) * np.float32(min(rx, ry))
        return depth

    def _shape_lungs(self) -> None:
        patient, level = self.patient, self.level
        apex = max(0.0, 0.4 - level)
        inset = patient.fat + patient.wall
        self.radii = (1 - inset - 0.04 - 0.6 * apex, patient.depth - inset - 0.5 * apex)
        self.cavity = self._squircle(0, -0.01 + 0.15 * apex, *self.radii)
        back = self.radii[1] - 0.01 + 0.15 * apex
        self.spine = (0.0, back - 0.1)
        swell = float(smooth_step(np.float32((level - 0.3) / 0.4))) * patient.heart
        self._parts = {  # center, radii
            "spine": (self.spine, (0.15, 0.16)),
            "band": ((0.0, -0.02), (0.12 + 0.03 * swell, 1.02 * self.radii[1])),
            "vessels": ((0.02, -0.12), (0.19 * patient.heart, 0.2)),
            "heart": ((0.13 * swell, -0.2), (0.1 + 0.3 * swell, 0.1 + 0.24 * swell)),
            "aorta": ((0.13, self.spine[1] - 0.14), (0.085, 0.085)),
        }
        self._middle = self.ellipse(*self._parts["spine"][0], *self._parts["spine"][1])
        for center, radii in list(self._parts.values())[1:]:
            self._middle = _join(self._middle, self.ellipse(*center, *radii), 0.06)
        if level > 0.7:  # the dome of the diaphragm, with the liver under it
            rise = (level - 0.7) * 1.1
            dome = self.ellipse(-0.38, -0.1, 0.12 + rise, 0.12 + 0.9 * rise)
            self._middle = _join(self._middle, dome, 0.05)
        self.lung = -_join(-self.cavity, self._middle, 0.03)

    def _draw_mediastinum(self) -> None:
        inside = np.minimum(self.cavity, self._middle)
        self.paint(inside, MUSCLE)
        for name in ("vessels", "heart"):
            center, (rx, ry) = self._parts[name]
            rim = self.ellipse(*center, rx, ry)
            self.paint(np.minimum(np.float32(0.02) - np.abs(rim), inside), FAT + 60)
        self.paint_ellipse(*self._parts["aorta"], MUSCLE + 15)
        for center, radius in self._airways():
            self.paint_ellipse(center, (radius + 0.014, radius + 0.014), MUSCLE)
            self.paint_ellipse(center, (radius, 0.95 * radius), AIR + 20)
        self.paint_ellipse((0.05, self.spine[1] - 0.2), (0.035, 0.025), MUSCLE)

    def _airways(self) -> list[tuple[tuple[float, float], float]]:
        """Trachea above its bifurcation, main bronchi below it."""
        if self.level < 0.42:
            return [((-0.01, 0.03), 0.062)]
        apart = 0.07 + 0.35 * (self.level - 0.42)
        size = max(0.022, 0.05 - 0.05 * (self.level - 0.42))
        return [((-apart, 0.05), size), ((apart, 0.07), size)]

    def _draw_bones(self) -> None:
        x, y = self.spine
        draw = self.rng.uniform
        self.bone((x, y + 0.01), (0.125, 0.1))
        for side in (-1, 1):
            self.bone((side * 0.15, y + 0.16), (0.1, 0.028), angle=side * 0.35)
            self.bone((side * 0.07, y + 0.13), (0.03, 0.06))
        self.bone((x, y + 0.24), (0.025, 0.085))
        self.paint_ellipse((x, y + 0.135), (0.05, 0.042), MUSCLE - 15)
        self.bone((0.0, -self.radii[1] - 0.045), (0.12, 0.03))
        rx, ry = self.radii[0] + 0.05, self.radii[1] + 0.05
        phase = draw(-0.15, 0.15)
        for side in (-1, 1):
            for at in (-1.05, -0.55, -0.1, 0.32, 0.75):
                angle = at + phase * side + draw(-0.07, 0.07)
                # A point of the squircle in direction ``angle``; ribs run along the wall.
                u, v = np.cos(angle), np.sin(angle)
                radius = 2 / (1 + (u**4 + v**4) ** 0.25)
                along = np.arctan2(v**3 / ry + v / ry, u**3 / rx + u / rx) + np.pi / 2
                center = (side * rx * radius * u, ry * radius * v)
                self.bone(center, (draw(0.07, 0.13), 0.026), angle=side * along)

    def bone(
        self, center: tuple[float, float], radii: tuple[float, float], *, angle: float = 0
    ) -> None:
        """Draw a bone: a dense rim around a spongy core."""
        self.paint_ellipse(center, radii, BONE, angle=angle)
        core = (radii[0] - 0.016, max(radii[1] - 0.016, 0.006))
        self.paint_ellipse(center, core, SPONGY_BONE, angle=angle)

    def _draw_lungs(self) -> None:
        patient = self.patient
        inside = self.coverage(self.lung)
        tissue = texture(self.rng, self.hu.shape, cells=9) * np.float32(28)
        tissue += np.float32(patient.lung) + np.float32(60) * self.y  # denser where it hangs
        fissure = self.y - np.float32(0.12) - np.float32(0.5 * (self.level - 0.5))
        fissure += np.float32(0.5) * (np.abs(self.x) - np.float32(0.45))
        tissue += np.float32(90) * np.clip(1 - np.abs(fissure) * np.float32(self.scale), 0, 1)
        self.hu += inside * (tissue - self.hu)
        self.vessels = draw_vessels(self) * inside
        self.hu += self.vessels * (np.float32(MUSCLE) - self.hu)


def smooth_step(value: FloatImage | np.float32) -> FloatImage:
    """Rise from 0 to 1 as ``value`` does, without a kink."""
    value = np.clip(value, 0, 1)
    return np.asarray(value * value * (3 - 2 * value), np.float32)


def texture(rng: np.random.Generator, shape: tuple[int, ...], *, cells: int) -> FloatImage:
    """Noise in [-1, 1] with about ``cells`` bumps across, smooth between them."""
    height, width = shape
    rows = max(2, round(cells * height / width))
    grid = rng.uniform(-1, 1, (rows + 1, cells + 1)).astype(np.float32)
    grid = _interpolate(grid, height)
    return np.ascontiguousarray(_interpolate(np.ascontiguousarray(grid.T), width).T)


def _interpolate(grid: FloatImage, n: int) -> FloatImage:
    """Stretch the first axis to ``n`` samples."""
    at = np.arange(n) * ((len(grid) - 1) / n)
    low = at.astype(np.intp)
    weight = smooth_step((at - low).astype(np.float32))[:, None]
    result: FloatImage = grid[low] + weight * (grid[low + 1] - grid[low])
    return result


def _polynomial(
    coefficients: npt.NDArray[np.float64], column: FloatImage, row: FloatImage
) -> FloatImage:
    """Sum of c[i, j] T_i(y) T_j(x) over Chebyshev polynomials of degree 1 to 3."""
    total = np.zeros((len(row), len(column)), np.float32)
    basis = [(t, 2 * t * t - 1, 4 * t * t * t - 3 * t) for t in (row * 0.9, column * 0.9)]
    for across, weights in zip(basis[0], coefficients.astype(np.float32), strict=True):
        along = sum(w * t for w, t in zip(weights, basis[1], strict=True))
        total += across[:, None] * along
    return total


def _join(a: FloatImage, b: FloatImage, radius: float) -> FloatImage:
    """Union of two shapes with a fillet of about ``radius`` (polynomial smooth maximum)."""
    overlap = np.maximum(np.float32(radius) - np.abs(a - b), 0)
    union: FloatImage = np.maximum(a, b) + overlap * overlap * np.float32(0.25 / radius)
    return union

"""Procedural axial slice through a healthy chest, in Hounsfield units.

Lengths are in units of half the width of the chest (about 17 cm in an adult). x points to the left
of the patient, which is on the right of the picture, and y to the back, as in radiology.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .painting import FloatImage, Painting, Point, join, texture
from .vessels import draw_vessels

__all__ = ["AIR", "MUSCLE", "Chest", "Patient"]

AIR, LUNG, FAT, MUSCLE, BONE = -1000, -870, -95, 45, 650
MARROW = 200


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Properties that all slices of a patient share: build, scanner, window, picture size."""

    width: int  # of the picture, in pixels
    height: int
    zoom: float  # half the picture's width over half the chest's
    depth: float  # of the chest, front to back over side to side
    fat: float  # thickness of the layer under the skin
    wall: float  # thickness of muscles and ribs
    heart: float
    narrow: float  # narrowing of the lungs towards the apex
    tilt: float
    warp: npt.NDArray[np.float64] = field(repr=False)
    lung: float  # HU
    sag: float  # by which the lung is denser at the back, HU per unit of length
    level: float  # center of the display window, HU
    window: float  # its width, HU
    sharpness: float
    noise: float  # standard deviation, HU
    table: float  # below the back
    blanket: float  # thickness
    wool: float  # HU of the blanket
    round_view: bool  # the scanner's circular field of view shows

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Patient:
        """Draw a patient, who may belong to either class."""
        draw = rng.uniform
        width = round(draw(210, 400))
        return cls(
            width=width,
            height=round(width / draw(1.15, 1.5)),
            zoom=draw(0.86, 1.1),
            depth=draw(0.66, 0.8),
            fat=draw(0.015, 0.06),
            wall=draw(0.075, 0.1),
            heart=draw(0.85, 1.12),
            narrow=draw(0.3, 0.6),
            tilt=draw(-0.05, 0.05),
            warp=draw(-0.016, 0.016, (2, 3, 3)),
            lung=LUNG + draw(-30, 50),
            sag=draw(20, 140),
            level=draw(-650, -450),
            window=draw(1150, 1750),
            sharpness=draw(0.1, 0.8),
            noise=draw(12, 40),
            table=draw(0.02, 0.14),
            blanket=draw(0, 0.1),
            wool=draw(-780, -420),
            round_view=bool(draw() < 0.15),
        )


class Chest(Painting):
    """Slice through a patient, without noise.

    Parameters
    ----------
    patient : Patient
        The patient.
    level : float
        Position along the body: 0 at the apex of the lungs, 1 at their base.
    rng : numpy.random.Generator
        Source of the differences between the slices of a patient.
    size : tuple of (int, int), optional
        Height and width of the picture. By default, those of the patient.

    Attributes
    ----------
    cavity : ndarray of float32 of shape (height, width)
        Depth below the chest wall.
    lung : ndarray of float32 of shape (height, width)
        Depth below the surface of the lungs; negative outside.
    vessels : ndarray of float32 of shape (height, width)
        Share of each pixel that is a vessel of the lung.
    radii : tuple of (float, float)
        Half the width and half the depth of the cavity.

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
        super().__init__(
            (height, width),
            # Most of the chest is in the picture, for any shape of the two.
            scale=min(width / 2, 0.97 * height / (2 * patient.depth)) / patient.zoom,
            shift=(rng.uniform(-0.03, 0.03), rng.uniform(-0.02, 0.04)),
            tilt=patient.tilt + rng.uniform(-0.01, 0.01),
            warp=patient.warp + rng.uniform(-0.006, 0.006, (2, 3, 3)),
            hu=AIR,
        )
        self._grain = texture(rng, self.hu.shape, cells=18)
        self._draw_body()
        self._shape_lungs()
        self._draw_mediastinum()
        self._draw_bones()
        self._draw_lungs()

    def _draw_body(self) -> None:
        patient = self.patient
        window = self.near((0, patient.depth + 0.1), (1.2, 0.2))
        x, y = self.x[window], self.y[window]
        table = y - np.float32(patient.depth - 0.04 + patient.table) - np.float32(0.09) * x * x
        self.paint(np.float32(0.012) - np.abs(table), -350, window=window)
        skin = self.squircle((0, 0), (1, patient.depth))
        folds = skin + np.float32(patient.blanket) * (1 + np.float32(0.4) * self._grain)
        self.paint(folds, patient.wool)
        self.paint(skin, -20)
        self.paint(skin - np.float32(0.014), FAT)
        # Fat runs between the muscles too.
        muscle = np.clip(self._grain * 60 + (MUSCLE - 15), FAT, MUSCLE)
        self.paint(skin - np.float32(patient.fat + 0.014), muscle)

    def _shape_lungs(self) -> None:
        patient, level = self.patient, self.level
        inset = patient.fat + patient.wall + patient.narrow * max(0.0, 0.4 - level)
        self.radii = (0.99 - inset, patient.depth - inset)
        self.cavity = self.squircle((0, -0.01), self.radii)
        self.spine = (0.0, self.radii[1] - 0.1)
        swell = min(max((level - 0.3) / 0.35, 0), 1) * patient.heart
        self._organs: list[tuple[Point, Point]] = [
            ((0.02, -0.14), (0.17 * patient.heart, 0.19)),
            ((0.13 * swell, -0.2), (0.1 + 0.27 * swell, 0.1 + 0.22 * swell)),
            ((0.12, self.spine[1] - 0.15), (0.075, 0.075)),  # the descending aorta
            ((side := 0.17, 0.03), (0.07, 0.09)),  # the hila
            ((-side, 0.0), (0.07, 0.09)),
        ]
        if level > 0.7:  # the dome of the diaphragm and the liver under it
            rise = 1.1 * (level - 0.7)
            self._organs.append(((-0.38, -0.12), (0.14 + rise, 0.1 + rise)))
        self._middle: FloatImage = np.full(self.hu.shape, -1, np.float32)
        frame: list[tuple[Point, Point]] = [
            (self.spine, (0.14, 0.15)),
            ((0.0, -0.02), (0.1 + 0.03 * swell, 1.03 * self.radii[1])),
        ]
        for center, radii in frame + self._organs:
            window = self.near(center, radii, margin=0.1)
            shape = self.ellipse(center, radii, window=window)
            self._middle[window] = join(self._middle[window], shape, 0.06)
        self.lung = -join(-self.cavity, self._middle, 0.03)

    def _draw_mediastinum(self) -> None:
        self.paint(np.minimum(self.cavity, self._middle), FAT + 70)
        for center, (rx, ry) in self._organs:
            self.paint_ellipse(center, (rx - 0.012, ry - 0.012), MUSCLE)
        for center, radius in self._airways():
            self.paint_ellipse(center, (radius + 0.014, radius + 0.014), MUSCLE)
            self.paint_ellipse(center, (radius, 0.95 * radius), AIR + 20)
        self.paint_ellipse((0.05, self.spine[1] - 0.2), (0.035, 0.025), MUSCLE)

    def _airways(self) -> list[tuple[Point, float]]:
        """Return center and radius of the trachea or, below its bifurcation, of both bronchi."""
        if self.level < 0.42:
            return [((-0.01, 0.05), 0.058)]
        apart = 0.07 + 0.3 * (self.level - 0.42)
        radius = 0.046 - 0.05 * (self.level - 0.42)
        return [((-apart, 0.06), radius), ((apart, 0.08), radius)]

    def _draw_bones(self) -> None:
        x, y = self.spine
        self._bone((x, y + 0.01), (0.115, 0.095))
        for side in (-1, 1):
            self._bone((side * 0.15, y + 0.15), (0.1, 0.026), angle=side * 0.35)
            self._bone((side * 0.065, y + 0.13), (0.028, 0.055))
        self._bone((x, y + 0.21), (0.024, 0.07))
        self.paint_ellipse((x, y + 0.13), (0.045, 0.038), MUSCLE - 15)
        self._bone((0.0, -self.radii[1] - 0.045), (0.12, 0.03))
        phase = self.rng.uniform(-0.2, 0.2)
        for side in (-1, 1):
            for at in (-1.05, -0.55, -0.1, 0.32, 0.75):
                self._rib(side, at + phase * side + self.rng.uniform(-0.07, 0.07))

    def _rib(self, side: int, at: float) -> None:
        """Draw a rib along the chest wall where it crosses the slice, ``at`` radians behind."""
        rx, ry = self.radii[0] + 0.045, self.radii[1] + 0.045
        u, v = np.cos(at), np.sin(at)
        radius = 1 / (0.65 + 0.35 * (u**4 + v**4) ** 0.25)
        along = np.arctan2(v / ry, u / rx) + np.pi / 2
        length = self.rng.uniform(0.06, 0.13)
        center = (side * rx * radius * u, ry * radius * v - 0.01)
        self._bone(center, (length, 0.026), angle=side * along)

    def _bone(self, center: Point, radii: Point, *, angle: float = 0) -> None:
        """Draw a dense rim around a spongy core."""
        window = self.near(center, (max(radii),) * 2)
        depth = self.ellipse(center, radii, angle=angle, window=window)
        core = self.coverage(depth - np.float32(0.014))
        self.paint(depth, BONE + core * (MARROW - BONE), window=window)

    def _draw_lungs(self) -> None:
        inside = self.coverage(self.lung)
        tissue = self._grain * 24
        tissue += np.float32(self.patient.sag) * self.y
        tissue += np.float32(self.patient.lung)
        self.hu += inside * (tissue - self.hu)
        self.vessels = draw_vessels(self, self.lung, self.rng) * inside
        self.hu += self.vessels * (MUSCLE - self.hu)

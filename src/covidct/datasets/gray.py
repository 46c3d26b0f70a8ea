"""Hounsfield units become gray values through a display window (DICOM PS3.3, C.11.2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["LUNG", "Window", "WindowChoice", "as_window"]

Values = npt.NDArray[np.float32]

_SHAPES: dict[str, Callable[[Values, float, float], Values]] = {
    # Equation C.11.2.1.2.1; a window of width 1 is a threshold.
    "LINEAR": lambda x, center, width: (x - (center - 0.5)) / max(width - 1, 1e-6) + 0.5,
    "LINEAR_EXACT": lambda x, center, width: (x - center) / width + 0.5,  # C.11.2.1.3.2
    "SIGMOID": lambda x, center, width: 1 / (1 + np.exp(-4 * (x - center) / width)),  # C.11.2.1.3.1
}


class Window(NamedTuple):
    """A display window, in Hounsfield units.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.datasets.gray import Window
    >>> Window(-600, 1500).show(np.array([-1350.0, -600.0, 40.0, 3000.0]))
    array([  0, 128, 236, 255], dtype=uint8)
    """

    level: float
    width: float
    shape: str = "LINEAR"

    @property
    def is_valid(self) -> bool:
        """Whether DICOM allows it: a known shape, finite, and wide enough."""
        least = 1 if self.shape == "LINEAR" else np.nextafter(0, 1)
        finite = bool(np.isfinite(self.level) and np.isfinite(self.width))
        return self.shape in _SHAPES and finite and bool(self.width >= least)

    def show(self, hu: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Map Hounsfield units to gray values, 0 (black) to 255 (white)."""
        part = _SHAPES[self.shape](np.asarray(hu, np.float32), self.level, self.width)
        gray: npt.NDArray[np.uint8] = np.rint(np.clip(part, 0, 1) * 255).astype(np.uint8)
        return gray


#: The usual window for lungs.
LUNG = Window(-600, 1500)

#: What readers of DICOM files take: the lung window, the one in the file, or (level, width).
WindowChoice = Literal["lung", "file"] | tuple[float, float]


def as_window(choice: WindowChoice) -> Window | None:
    """Return the window of a choice, None for that of the file.

    Raises
    ------
    ValueError
        If ``choice`` is neither a known word nor two numbers that DICOM allows.
    """
    if choice == "file":
        return None
    if choice == "lung":
        return LUNG
    if not isinstance(choice, str) and len(choice) == 2:
        window = Window(float(choice[0]), float(choice[1]))
        if window.is_valid:
            return window
    raise ValueError(
        "window must be 'lung', 'file', or a finite (level, width) in HU with a width of at "
        f"least 1; got {choice!r}"
    )

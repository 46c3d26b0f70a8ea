"""Colors that color-blind readers tell apart: the palette of Okabe and Ito (2008)."""

from __future__ import annotations

__all__ = ["BLACK", "BLUE", "GREEN", "ORANGE", "PURPLE", "SKY_BLUE", "VERMILLION"]

BLACK = "#000000"
BLUE = "#0072B2"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY_BLUE = "#56B4E9"
VERMILLION = "#D55E00"

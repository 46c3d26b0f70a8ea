"""How slices and their maps share a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from .._text import printable, shortened

_LONGEST_NAME = 24  # characters, which do not run into the neighbor's


def below_common_folder(paths: Sequence[str]) -> list[str]:
    """Leave out the folders that all paths begin with: two files ``slice-0.png`` stay apart."""
    parts = [PurePath(path).parts for path in paths]
    while all(len(each) > 1 for each in parts) and len({each[0] for each in parts}) == 1:
        parts = [each[1:] for each in parts]
    return ["/".join(each) for each in parts]


def heading(
    i: int,
    names: Sequence[str] | None,
    targets: Sequence[int] | None,
    probabilities: Sequence[float] | None,
    classes: tuple[str, str],
) -> str:
    """Write what stands above slice ``i``: of name, class and probability, those that are known."""
    lines = [shortened(printable(names[i]), _LONGEST_NAME)] if names is not None else []
    if targets is not None:
        lines.append(f"true class {classes[targets[i]]}")
    if probabilities is not None:
        lines.append(f"P({classes[1]}) = {probabilities[i]:.3f}")
    return "\n".join(lines)


def canvas_of(
    columns: int, blocks: int, pixels: Sequence[npt.NDArray[np.uint8]], *, lines: int
) -> tuple[Figure, GridSpec]:
    """Lay out, in inches, blocks of a heading, the slices and their maps, and a color bar."""
    width, bar, gap, below = 1.8, 0.12, 0.04, 0.3
    height = width * float(np.median([image.shape[0] / image.shape[1] for image in pixels]))
    widths = [width] * columns + [bar]
    heights = [0.08 + 0.15 * lines, height, height] * blocks
    across = sum(widths) + gap * columns + 0.65  # the bar's label
    down = sum(heights) + gap * (len(heights) - 1) + below
    figure = Figure(figsize=(across, down), dpi=200)
    grid = figure.add_gridspec(
        len(heights),
        len(widths),
        width_ratios=widths,
        height_ratios=heights,
        left=gap / across,
        right=1 - 0.65 / across,
        bottom=below / down,
        top=1.0,
        wspace=gap / float(np.mean(widths)),
        hspace=gap / float(np.mean(heights)),
    )
    return figure, grid

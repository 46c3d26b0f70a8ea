"""Common style of the figures of this package."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from itertools import cycle, islice
from textwrap import fill
from typing import Any

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .._colors import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION

INK, PALE = "#222222", "#8A8A8A"
BLUES = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#BBD9EC", BLUE])
_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK)
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DOTTED = (0, (1.5, 2.5))

_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "figure.dpi": 200,
    "savefig.facecolor": "auto",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # dollar signs in names do not start formulas
    "axes.facecolor": "white",
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.8,
    "grid.linestyle": "-",
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
}

# Decorator that applies the style while a figure is drawn. The style sets every parameter that a
# dark style of the user would change; otherwise, figures would mix both styles.
light_style = mpl.rc_context(_STYLE)


def check_not_empty(noun: str, values: Sized) -> None:
    """Raise ValueError if there is nothing to draw."""
    if not len(values):
        raise ValueError(f"this figure needs at least one {noun}, got 0")


def new_figure(width: float, height: float, *, alt: str) -> Figure:
    """Create an empty figure with its size in inches and its alternative text as label."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    figure = Figure(figsize=(width, height), layout=layout)
    figure.set_label(alt)
    return figure


def legend_below(figure: Figure, *, title: str | None = None) -> None:
    """Add a legend below the axes, where it covers no curve, with each label once."""
    labeled = [ax.get_legend_handles_labels() for ax in figure.axes]
    entries = {label: handle for ax in labeled for handle, label in zip(*ax, strict=True)}
    characters = int(14 * figure.get_figwidth())  # per line of the legend
    longest = max(1, min(max(map(len, entries)), characters - 8))
    figure.legend(
        entries.values(),
        [fill(label, longest) for label in entries],
        title=title,
        loc="outside lower center",
        ncols=max(1, characters // (longest + 8)),
    )


def line_styles(n: int) -> Iterable[tuple[str, str, str]]:
    """Yield color, line style and marker of each of n runs; no two differ by color alone."""
    return islice(zip(cycle(_COLORS), cycle(_LINES), cycle(_MARKERS), strict=False), n)

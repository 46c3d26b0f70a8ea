"""Tables of numbers as text, Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence

from ..errors import UnknownNameError

__all__ = ["percent", "percent_range", "render_table", "resampling"]

Rows = Sequence[Sequence[str]]


def render_table(header: Sequence[str], rows: Rows, *, style: str = "text") -> str:
    """Lay out a table.

    Parameters
    ----------
    header
        Names of the columns.
    rows
        Cells; the first of a row is its name.
    style
        ``"text"``, ``"markdown"``, ``"latex"`` (booktabs) or ``"csv"``.

    Returns
    -------
    str
        The table, without a newline at its end.

    Raises
    ------
    UnknownNameError
        If there is no such style.

    Examples
    --------
    >>> from covidct.evaluation.tables import render_table
    >>> print(render_table(["fold", "accuracy"], [["0", "91.2"]], style="markdown"))
    | fold | accuracy |
    | ---- | -------: |
    | 0    |     91.2 |
    """
    if style not in _STYLES:
        kind = "table style"
        raise UnknownNameError.among(kind, style, _STYLES)
    return _STYLES[style](header, rows)


def percent(fraction: float, sd: float | None = None) -> str:
    """Write a fraction in percent, with a standard deviation where it exists; NaN is a dash.

    Examples
    --------
    >>> from covidct.evaluation.tables import percent
    >>> percent(0.873, 0.032), percent(0.873, float("nan")), percent(float("nan"))
    ('87.3 ± 3.2', '87.3', '–')
    """
    if math.isnan(fraction):
        return "–"
    spread = "" if sd is None or math.isnan(sd) else f" ± {100 * sd:.1f}"
    return f"{100 * fraction:.1f}{spread}"


def percent_range(low: float, high: float) -> str:
    """Write both ends of an interval of fractions in percent; NaN is a dash.

    Examples
    --------
    >>> from covidct.evaluation.tables import percent_range
    >>> percent_range(0.841, 0.902), percent_range(float("nan"), float("nan"))
    ('84.1 to 90.2', '–')
    """
    return "–" if math.isnan(low) else f"{percent(low)} to {percent(high)}"


def resampling(unit: str, count: int) -> str:
    """Say what was drawn again for bootstrap intervals, or why there are none.

    Examples
    --------
    >>> from covidct.evaluation.tables import resampling
    >>> resampling("patient", 213), resampling("slice", 746)
    ('by drawing whole patients again', 'by drawing slices again')
    >>> resampling("patient", 1)
    'none, since there is one patient'
    """
    if count < 2:
        return f"none, since there is one {unit}"
    return f"by drawing {'' if unit == 'slice' else 'whole '}{unit}s again"


def _text(header: Sequence[str], rows: Rows) -> str:
    return "\n".join("  ".join(cells).rstrip() for cells in _aligned(header, rows))


def _markdown(header: Sequence[str], rows: Rows) -> str:
    first, *rest = ["| " + " | ".join(cells) + " |" for cells in _aligned(header, rows)]
    widths = [len(cell) for cell in _aligned(header, rows)[0]]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([first, "| " + " | ".join(rule) + " |", *rest])


def _latex(header: Sequence[str], rows: Rows) -> str:
    first, *rest = [
        " & ".join(cell.translate(_IN_LATEX) for cell in cells) + r" \\"
        for cells in [header, *rows]
    ]
    columns = "l" + "r" * (len(header) - 1)
    start = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", first, r"\midrule"]
    return "\n".join([*start, *rest, r"\bottomrule", r"\end{tabular}"])


def _csv(header: Sequence[str], rows: Rows) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().rstrip("\n")


def _aligned(header: Sequence[str], rows: Rows) -> list[list[str]]:
    """Pad the cells: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        [row[0].ljust(widths[0])]
        + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        for row in [header, *rows]
    ]


_IN_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "%&#_${}"} | {"±": r"$\pm$", "†": r"\dag{}", "–": "--"}
)
_STYLES: dict[str, Callable[[Sequence[str], Rows], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
}

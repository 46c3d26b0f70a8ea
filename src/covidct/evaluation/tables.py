"""Tables of results, rendered as text, Markdown, LaTeX, CSV or HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table", "percent", "percent_range"]


@dataclass(frozen=True)
class Table:
    """Table of text cells; the first cell of a row is its name.

    Parameters
    ----------
    header : sequence of str
        Column names.
    rows : sequence of sequence of str
        Body, with as many cells in each row as in the header.
    footer : sequence of sequence of str, default=()
        Summary rows, such as the mean over the body; a rule separates them in LaTeX.
    caption : str, default=""
        Title of the table.
    notes : sequence of str, default=()
        Sentences printed below the table.
    left_columns : int, default=1
        Number of leading columns that are aligned to the left; the other columns contain numbers.

    Raises
    ------
    ValueError
        If a row has more or fewer cells than the header.

    Examples
    --------
    >>> from covidct.evaluation import Table
    >>> table = Table(["fold", "accuracy"], [["0", "91.2"], ["1", "88.0"]])
    >>> print(table)
    fold  accuracy
    0         91.2
    1         88.0
    >>> print(table.render("csv"))
    fold,accuracy
    0,91.2
    1,88.0
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    footer: Sequence[Sequence[str]] = ()
    caption: str = ""
    notes: Sequence[str] = ()
    left_columns: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", tuple(self.header))
        object.__setattr__(self, "rows", tuple(map(tuple, self.rows)))
        object.__setattr__(self, "footer", tuple(map(tuple, self.footer)))
        object.__setattr__(self, "notes", tuple(self.notes))
        for row in (*self.rows, *self.footer):
            if len(row) != len(self.header):
                raise ValueError(f"a row of this table needs {len(self.header)} cells, got {row!r}")

    def render(self, style: str = "text") -> str:
        """Render the table as a string.

        Parameters
        ----------
        style : {"text", "markdown", "latex", "csv", "html"}, default="text"
            ``"latex"`` uses the booktabs package. ``"csv"`` leaves out caption and notes.

        Returns
        -------
        str
            Rendered table, without a newline at its end.

        Raises
        ------
        UnknownNameError
            If `style` is not one of the five.

        Examples
        --------
        >>> from covidct.evaluation import Table
        >>> print(Table(["fold", "accuracy"], [["0", "91.2"]]).render("markdown"))
        | fold | accuracy |
        | ---- | -------: |
        | 0    |     91.2 |
        """
        if style not in _STYLES:
            raise UnknownNameError.among("table style", style, _STYLES)
        return _STYLES[style](self)

    def to_frame(self) -> pd.DataFrame:
        """Return header, rows and footer as a DataFrame of strings.

        Returns
        -------
        pandas.DataFrame
            One row for each row of the body and the footer.
        """
        import pandas as pd

        return pd.DataFrame([*self.rows, *self.footer], columns=list(self.header))

    def __str__(self) -> str:
        return self.render()

    def _repr_html_(self) -> str:
        return self.render("html")

    def _text(self) -> str:
        lines = ("  ".join(cells).rstrip() for cells in self._aligned())
        return "\n".join([*filter(None, [self.caption]), *lines, *self.notes])

    def _markdown(self) -> str:
        header, *rows = self._aligned()
        left = self.left_columns
        rule = ["-" * len(cell) for cell in header[:left]]
        rule += ["-" * (len(cell) - 1) + ":" for cell in header[left:]]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])
        return "\n\n".join([*filter(None, [self.caption]), table, *self.notes])

    def _latex(self) -> str:
        left = self.left_columns
        lines = [
            rf"\begin{{tabular}}{{{'l' * left}{'r' * (len(self.header) - left)}}}",
            r"\toprule",
            _latex_row(self.header),
            r"\midrule",
            *map(_latex_row, self.rows),
            *([r"\midrule", *map(_latex_row, self.footer)] if self.footer else []),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        if not (self.caption or self.notes):
            return "\n".join(lines)
        caption = [rf"\caption{{{_escape_latex(self.caption)}}}"] if self.caption else []
        notes = [rf"\par\footnotesize {_escape_latex(note)}" for note in self.notes]
        return "\n".join(
            [r"\begin{table}", r"\centering", *caption, *lines, *notes, r"\end{table}"]
        )

    def _csv(self) -> str:
        return self.to_frame().to_csv(index=False, lineterminator="\n").rstrip("\n")

    def _html(self) -> str:
        from html import escape

        from .._display import paragraphs

        caption = f"<p><strong>{escape(self.caption)}</strong></p>\n" if self.caption else ""
        table = self.to_frame().to_html(index=False, border=0)
        return caption + table + paragraphs(self.notes)

    def _aligned(self) -> list[list[str]]:
        """Pad the cells of a column to one width: text to the left, numbers to the right.

        pandas aligns every column to the right and needs another package for Markdown.
        """
        lines = [self.header, *self.rows, *self.footer]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return [
            [
                cell.ljust(width) if k < self.left_columns else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            for cells in lines
        ]


_STYLES = {
    "text": Table._text,
    "markdown": Table._markdown,
    "latex": Table._latex,
    "csv": Table._csv,
    "html": Table._html,
}
_IN_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "%&#_${}"} | {"±": r"$\pm$", "†": r"\dag{}", "–": "--"}
)


def _escape_latex(text: str) -> str:
    return text.translate(_IN_LATEX)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escape_latex, cells)) + r" \\"


def percent(fraction: float, sd: float | None = None) -> str:
    """Format a fraction in percent with one decimal, optionally with its standard deviation.

    Parameters
    ----------
    fraction : float
        Value as a fraction, such as 0.873.
    sd : float or None, default=None
        Standard deviation as a fraction; left out if it is None or NaN.

    Returns
    -------
    str
        Formatted value; a dash if `fraction` is NaN.

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
    """Format both ends of an interval of fractions in percent.

    Parameters
    ----------
    low, high : float
        Ends of the interval as fractions.

    Returns
    -------
    str
        Formatted interval; a dash if `low` is NaN.

    Examples
    --------
    >>> from covidct.evaluation.tables import percent_range
    >>> percent_range(0.841, 0.902), percent_range(float("nan"), float("nan"))
    ('84.1 to 90.2', '–')
    """
    return "–" if math.isnan(low) else f"{percent(low)} to {percent(high)}"

"""Metrics of subgroups of the slices, such as labels, sources or scanners."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import UnknownNameError
from ..evaluation import intervals, metrics
from ..evaluation.intervals import MIN_GROUPS
from ..evaluation.metrics import METRICS
from ..evaluation.tables import Table, percent, percent_range
from .fold_predictions import FoldPredictions
from .subgroup_gaps import SUBGROUP_METRICS, Gap, Scored, compare, describe_gap, gap_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MOST_SUBGROUPS",
    "SubgroupMetrics",
    "describe_labels",
    "subgroup_count",
    "subgroup_frame",
    "subgroup_names",
    "subgroup_table",
]

#: Largest number of subgroups; columns of numbers with more values are divided at their quartiles.
MOST_SUBGROUPS = 50

_FEW_NUMBERS = 6  # different numbers that are subgroups of their own


def subgroup_names(
    values: pd.Series[Any] | npt.ArrayLike, name: str, *, count: int | None = None
) -> npt.NDArray[np.str_]:
    """Name the subgroup of each slice.

    Parameters
    ----------
    values : Series or array-like of shape (n_slices,)
        Values of a column. Missing values and empty texts are the subgroup ``"unknown"``. Numbers
        with more than six different values are divided at their quartiles.
    name : str
        Name of the column, for messages.
    count : int or None, default=None
        Required number of values.

    Returns
    -------
    ndarray of str of shape (n_slices,)
        Names of the subgroups.

    Raises
    ------
    ValueError
        If there are more than 50 subgroups, or `values` does not have `count` entries.

    Examples
    --------
    >>> from covidct.runs.subgroups import subgroup_names
    >>> subgroup_names(["GE", None, "Siemens", ""], "scanner").tolist()
    ['GE', 'unknown', 'Siemens', 'unknown']
    >>> sorted(set(subgroup_names(range(21, 61), "age").tolist()))
    ['21 to 30.75', '30.75 to 40.5', '40.5 to 50.25', '50.25 to 60']
    """
    import pandas as pd

    column = pd.Series(values).reset_index(drop=True)
    if count is not None and len(column) != count:
        raise ValueError(
            f"{name!r} has {len(column)} values for a dataset of {count} slices; give one per slice"
        )
    if _is_divided(column):
        cut, edges = pd.qcut(column, 4, labels=False, retbins=True, duplicates="drop")
        digits = 4
        while len({_decimal(edge, digits) for edge in edges}) < len(edges):
            digits += 1  # equal texts would merge different quarters
        ranges = [f"{_decimal(a, digits)} to {_decimal(b, digits)}" for a, b in pairwise(edges)]
        column = cut.map(lambda k: None if np.isnan(k) else ranges[int(k)])
    text = column.astype(object).where(column.notna(), "unknown").astype(str)
    names = text.where(text != "", "unknown").to_numpy(dtype=str)
    number = len(np.unique(names))
    if number > MOST_SUBGROUPS:
        raise ValueError(
            f"{name!r} has {number} different values, more than {MOST_SUBGROUPS} subgroups; merge "
            "some of them and pass one value per slice"
        )
    return names


def _decimal(value: float | np.floating[Any], digits: int) -> str:
    """Format a number with some significant digits, and without an exponent."""
    return np.format_float_positional(value, precision=digits, fractional=False, trim="-")


def subgroup_count(values: pd.Series[Any]) -> int:
    """Return the number of subgroups that :func:`subgroup_names` creates from a column."""
    number = int(values.nunique(dropna=False))
    return min(number, 4) if _is_divided(values) else number


def _is_divided(values: pd.Series[Any]) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(values) and values.nunique() > _FEW_NUMBERS)


def subgroup_frame(scored: Scored, names: npt.NDArray[np.str_], column: str) -> pd.DataFrame:
    """Compute the metrics of each subgroup with their intervals.

    Parameters
    ----------
    scored : Scored
        All predictions.
    names : ndarray of str of shape (n_predictions,)
        Subgroup of each prediction.
    column : str
        Name of the index of the result.

    Returns
    -------
    DataFrame
        One row per subgroup: the numbers of ``slices`` and ``groups``, and each metric with its
        ends ``"..._low"`` and ``"..._high"``.
    """
    import pandas as pd

    found = {str(name): _metrics_of(scored.part(names == name)) for name in np.unique(names)}
    return pd.DataFrame.from_dict(found, orient="index").rename_axis(index=column)


def _metrics_of(rows: Scored) -> dict[str, float]:
    parts = [rows.part(rows.folds == fold) for fold in np.unique(rows.folds)]
    means = metrics.summarize([metrics.score(p.targets, p.probabilities) for p in parts])
    ends = intervals.bootstrap(
        rows.targets,
        rows.probabilities,
        groups=rows.units,
        folds=rows.folds,
        names=SUBGROUP_METRICS,
    )
    found: dict[str, float] = {
        "slices": len(np.unique(rows.slices)),
        "groups": len(np.unique(rows.units)),
    }
    for name in SUBGROUP_METRICS:
        low, high = ends[name]
        found |= {name: means[name][0], f"{name}_low": low, f"{name}_high": high}
    return found


def subgroup_table(
    found: pd.DataFrame, gaps: pd.DataFrame, *, unit: str, groups_known: bool
) -> Table:
    """Create a table of subgroups, with a sentence about each gap.

    Parameters
    ----------
    found : DataFrame
        Result of :func:`subgroup_frame`.
    gaps : DataFrame
        Result of :func:`gap_frame`.
    unit : str
        Unit that is resampled, such as ``"patient"`` or ``"slice"``.
    groups_known : bool
        True if a unit has several slices, so that a column with the number of units is shown.

    Returns
    -------
    Table
        Metrics in percent with 95 % intervals.
    """
    column = str(found.index.name)
    header = [column, "slices", *([f"{unit}s"] if groups_known else [])]
    header += [METRICS[name].title for name in SUBGROUP_METRICS]
    rows = []
    for name, row in found.iterrows():
        counts = [f"{row['slices']:,.0f}", *([f"{row['groups']:,.0f}"] if groups_known else [])]
        rows.append([str(name), *counts, *(_cell(row, metric) for metric in SUBGROUP_METRICS)])
    each = [Gap(str(metric), *values) for metric, *values in gaps.itertuples()]
    sentences = [sentence for gap in each for sentence in describe_gap(gap, unit=unit)]
    small = dict.fromkeys(name for names in gaps["left_out"] for name in names)
    notes = [
        "In brackets: 95 % interval. –: undefined, such as the recall without COVID-19 slices.",
        *sentences,
    ]
    if small:
        notes.append(
            "Not compared, or not in all metrics, since these are based on fewer than "
            f"{MIN_GROUPS} {unit}s: {', '.join(small)}."
        )
    return Table(header, rows, caption=f"Metrics by {column}, in percent", notes=notes)


def _cell(row: pd.Series[Any], metric: str) -> str:
    value, ends = row[metric], (row[f"{metric}_low"], row[f"{metric}_high"])
    if np.isnan(value):
        return "–"
    return f"{percent(value)} ({'–' if np.isnan(ends[0]) else percent_range(*ends)})"


def describe_labels(found: pd.DataFrame) -> Iterator[str]:
    """Yield the recall or specificity of each original label in words.

    Parameters
    ----------
    found : DataFrame
        Result of :func:`subgroup_frame` for the labels.

    Yields
    ------
    str
        Phrase with the value and its interval, in percent.
    """
    for name, row in found.iterrows():
        metric = "recall" if np.isnan(row["specificity"]) else "specificity"
        ends = percent_range(row[f"{metric}_low"], row[f"{metric}_high"])
        yield f"{metric} on {name!r} {percent(row[metric])} ({ends})"


class SubgroupMetrics(FoldPredictions):
    """Predictions of a run, with methods for metrics of subgroups."""

    def by(self, column: str | pd.Series[Any] | npt.ArrayLike) -> pd.DataFrame:
        """Return the metrics of subgroups of the slices.

        Parameters
        ----------
        column : str, Series or array-like of shape (n_slices,)
            Name of the column with the subgroup of each slice: a column of `predictions`, such as
            ``"label"`` (the original class) or ``"source"``, or of the `metadata` of the dataset,
            which are stored with the run (see :attr:`columns`). Or one value for each slice of the
            dataset, such as a column of its `table` or a property measured by the audit
            (``report.properties["file format"]``). Numbers with more than six different values are
            divided at their quartiles.

        Returns
        -------
        DataFrame
            One row per subgroup: ``slices``, ``groups`` (number of patients or other units that the
            intervals resample), and for accuracy, recall, specificity and AUC the mean over the
            folds that test the subgroup, as a fraction, with the ends of its 95 % interval
            (``"recall_low"``, ``"recall_high"``). Undefined metrics are NaN: a subgroup of one
            class has no AUC, and only recall or only specificity.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        ValueError
            If the column has more than 50 different texts, or not one value per slice.

        See Also
        --------
        gaps : Largest difference between subgroups, with a test.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
        >>> cv.run(slices).by("label")["slices"].to_dict()
        {'COVID': 8, 'non-COVID': 8}
        """
        return subgroup_frame(self._scored(), *self._subgroups(column))

    def gaps(self, column: str | pd.Series[Any] | npt.ArrayLike) -> pd.DataFrame:
        """Return the largest difference of each metric between subgroups, with a test.

        Parameters
        ----------
        column : str, Series or array-like of shape (n_slices,)
            Subgroup of each slice, as in :meth:`by`.

        Returns
        -------
        DataFrame
            One row per metric with the fields of :class:`covidct.runs.Gap`. Subgroups in which a
            metric is based on fewer than ten patients are left out and listed.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        ValueError
            As in :meth:`by`.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
        >>> cv.run(slices).gaps("label").loc["accuracy", "left_out"]    # two patients of each label
        ('COVID', 'non-COVID')
        """
        names, _ = self._subgroups(column)
        return gap_frame(compare(self._scored(), names))

    def _scored(self) -> Scored:
        rows = self.predictions
        return Scored(
            rows["target"].to_numpy(),
            rows["probability"].to_numpy(),
            rows["index"].to_numpy(),
            self._units().to_numpy(),
            rows["fold"].to_numpy(),
        )

    def _subgroups(
        self, column: str | pd.Series[Any] | npt.ArrayLike
    ) -> tuple[npt.NDArray[np.str_], str]:
        """Return the subgroup of each prediction, and the name of the column."""
        index = self.predictions["index"].to_numpy()
        if not isinstance(column, str):
            name = str(getattr(column, "name", None) or "subgroup")
            return subgroup_names(column, name, count=self._n_slices)[index], name
        if column in self.predictions:
            return subgroup_names(self.predictions[column], column), column
        if self.columns is not None and column in self.columns:
            return subgroup_names(self.columns[column], column)[index], column
        known = [*self.predictions.columns, *([] if self.columns is None else self.columns.columns)]
        raise UnknownNameError.among("column", column, map(str, known))

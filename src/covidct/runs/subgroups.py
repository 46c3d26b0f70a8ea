"""Metrics of subgroups of the slices, and tests of the gaps between subgroups.

The largest of several metrics minus the smallest exceeds 0 by chance, the more so the more
subgroups there are and the fewer patients they have. :func:`compare` therefore tests the gap by
permutation: the subgroups are permuted among units of the same class, and the gap between whichever
subgroups are then best and worst is taken each time, which accounts for their choice. A unit is all
slices of one patient (or other group) in one subgroup and class. Units of one patient in several
subgroups count as different units; since such a patient affects all of its subgroups alike, the
test is then conservative.

The test is exact if the probabilities depend on the class and not on the subgroup, since the units
of a class are then exchangeable. Permuting within the classes leaves the share of COVID-19 in each
subgroup as it is. This matters for the accuracy, which differs between subgroups of unequal
prevalence if sensitivity and specificity differ: such a gap is real, but the network does not work
worse in either subgroup, and the test does not count it as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import UnknownNameError
from ..evaluation import intervals, metrics
from ..evaluation._weighted_counts import batches
from ..evaluation.intervals import MIN_GROUPS, Interval
from ..evaluation.metrics import METRICS
from ..evaluation.tables import Table, percent, percent_range
from .fold_predictions import FoldPredictions

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MOST_SUBGROUPS",
    "SUBGROUP_METRICS",
    "Gap",
    "Scored",
    "SubgroupMetrics",
    "compare",
    "describe_gap",
    "describe_labels",
    "gap_frame",
    "subgroup_count",
    "subgroup_frame",
    "subgroup_names",
    "subgroup_table",
]

#: Metrics of subgroups.
SUBGROUP_METRICS = ("accuracy", "recall", "specificity", "auc")

#: Largest number of subgroups; columns of numbers with more values are divided at their quartiles.
MOST_SUBGROUPS = 50

_FEW_NUMBERS = 6  # different numbers that are subgroups of their own
_N_PERMUTATIONS = 999


class Scored(NamedTuple):
    """Predictions, with what resampling and averaging need.

    Attributes
    ----------
    targets : ndarray of int64, shape (n_predictions,)
        True classes.
    probabilities : ndarray of float64, shape (n_predictions,)
        Predicted probabilities of COVID-19.
    slices : ndarray, shape (n_predictions,)
        Slice of each prediction.
    units : ndarray, shape (n_predictions,)
        Unit that is resampled, such as the patient of each slice.
    folds : ndarray of int64, shape (n_predictions,)
        Fold of each prediction; metrics are means over the folds.
    """

    targets: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    slices: npt.NDArray[Any]
    units: npt.NDArray[Any]
    folds: npt.NDArray[np.int64]

    def part(self, chosen: npt.NDArray[np.bool_]) -> Scored:
        """Return the chosen predictions."""
        return Scored._make(values[chosen] for values in self)


class Gap(NamedTuple):
    """Largest difference of a metric between two subgroups.

    Attributes
    ----------
    metric : str
        Name of the metric.
    highest, lowest : str
        Names of the subgroups with the highest and the lowest value; empty if fewer than two
        subgroups can be compared.
    difference : float
        Highest minus lowest value, as a fraction; NaN if fewer than two can be compared.
    low, high : float
        Ends of the 95 % interval of the difference between these two subgroups, from a bootstrap
        over patients. It does not account for the choice of the two, as `p_value` does.
    p_value : float
        Share of permutations of the subgroups, within each class, in which the largest difference
        is as large. A difference in accuracy that unequal shares of COVID-19 explain alone has no
        small p-value. NaN if the two subgroups have no class in common.
    left_out : tuple of str
        Subgroups that are not compared, since fewer than ten patients (or other units) decide the
        metric.
    """

    metric: str
    highest: str
    lowest: str
    difference: float
    low: float
    high: float
    p_value: float
    left_out: tuple[str, ...]


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
    ndarray of str, shape (n_slices,)
        Names of the subgroups.

    Raises
    ------
    ValueError
        If there are more than 50 subgroups, or `values` has another length than `count`.

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
            digits += 1  # equal texts would join different quarters
        ranges = [f"{_decimal(a, digits)} to {_decimal(b, digits)}" for a, b in pairwise(edges)]
        column = cut.map(lambda k: None if np.isnan(k) else ranges[int(k)])
    text = column.astype(object).where(column.notna(), "unknown").astype(str)
    names = text.where(text != "", "unknown").to_numpy(dtype=str)
    number = len(np.unique(names))
    if number > MOST_SUBGROUPS:
        raise ValueError(
            f"{name!r} has {number} different values, more than {MOST_SUBGROUPS} subgroups; give "
            "one value per slice that joins some of them"
        )
    return names


def _decimal(value: float | np.floating[Any], digits: int) -> str:
    """Format a number with some significant digits, and without an exponent."""
    return np.format_float_positional(value, precision=digits, fractional=False, trim="-")


def subgroup_count(values: pd.Series[Any]) -> int:
    """Return the number of subgroups that :func:`subgroup_names` makes of a column."""
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
    names : ndarray of str, shape (n_predictions,)
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


def compare(
    scored: Scored,
    names: npt.NDArray[np.str_],
    *,
    n_permutations: int = _N_PERMUTATIONS,
    seed: int = 0,
) -> list[Gap]:
    """Find the largest gap of each metric between subgroups, and test it.

    Subgroups are compared if at least ten units (for the AUC, five of each class) decide the
    metric.

    Parameters
    ----------
    scored : Scored
        All predictions.
    names : ndarray of str, shape (n_predictions,)
        Subgroup of each prediction.
    n_permutations : int, default=999
        Number of permutations.
    seed : int, default=0
        Random seed.

    Returns
    -------
    list of Gap
        One for each of :data:`SUBGROUP_METRICS`.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.subgroups import Scored, compare
    >>> patients = np.repeat(np.arange(80), 2)
    >>> targets, old = patients % 2, patients >= 40
    >>> right = ~old | (patients % 8 < 2)
    >>> probabilities = np.where(right, targets, 1 - targets).astype(float)
    >>> scored = Scored(targets, probabilities, np.arange(160), patients, np.zeros(160, int))
    >>> gap, *_ = compare(scored, np.where(old, "old", "young"))
    >>> gap.highest, gap.lowest, gap.difference, gap.p_value
    ('young', 'old', 0.75, 0.001)
    """
    subgroups = np.unique(names)
    codes = np.searchsorted(subgroups, names)
    values = np.stack([_statistic(scored, (codes == k)[None, :])[0] for k in range(len(subgroups))])
    decided = np.stack(
        [_decided(scored.part(codes == k)) for k in range(len(subgroups))]
    ) & ~np.isnan(values)
    drawn = _permuted_gaps(scored, codes, decided, n_permutations, seed=seed)
    return [
        _gap(scored, codes, subgroups, metric, values[:, m], decided[:, m], drawn[:, m])
        for m, metric in enumerate(SUBGROUP_METRICS)
    ]


def _gap(
    scored: Scored,
    codes: npt.NDArray[np.int64],
    subgroups: npt.NDArray[np.str_],
    metric: str,
    values: npt.NDArray[np.float64],
    decided: npt.NDArray[np.bool_],
    drawn: npt.NDArray[np.float64],
) -> Gap:
    left_out = tuple(
        str(name)
        for name, value, enough in zip(subgroups, values, decided, strict=True)
        if not enough and not np.isnan(value)
    )
    if decided.sum() < 2:
        return Gap(metric, "", "", np.nan, np.nan, np.nan, np.nan, left_out)
    order = np.argsort(np.where(decided, values, np.nan))[: decided.sum()]
    lowest, highest = int(order[0]), int(order[-1])
    difference = float(values[highest] - values[lowest])
    possible = drawn[~np.isnan(drawn)]
    # Permutations within a class cannot exchange slices of subgroups without a common class.
    first, second = (scored.targets[codes == k] for k in (highest, lowest))
    fixed = not possible.size or not np.intersect1d(first, second).size
    reached = np.count_nonzero(possible >= difference - 1e-9)
    return Gap(
        metric,
        str(subgroups[highest]),
        str(subgroups[lowest]),
        difference,
        *_interval(scored, codes == highest, codes == lowest, metric),
        np.nan if fixed and difference > 0 else float((1 + reached) / (1 + len(possible))),
        left_out,
    )


def _statistic(scored: Scored, members: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return each metric of the slices that each row chooses, (n_rows, n_metrics)."""
    found = metrics.weighted_scores(
        scored.targets,
        scored.probabilities,
        weights=members.astype(np.float64),
        folds=scored.folds,
        names=SUBGROUP_METRICS,
    )
    return np.stack([found[name] for name in SUBGROUP_METRICS], axis=1)


def _decided(rows: Scored) -> npt.NDArray[np.bool_]:
    """Return True for each metric that enough units decide."""
    of_class = [len(np.unique(rows.units[rows.targets == k])) for k in (0, 1)]
    enough = {
        "accuracy": len(np.unique(rows.units)) >= MIN_GROUPS,
        "recall": of_class[1] >= MIN_GROUPS,
        "specificity": of_class[0] >= MIN_GROUPS,
        "auc": min(of_class) >= MIN_GROUPS // 2,
    }
    return np.array([enough[name] for name in SUBGROUP_METRICS])


def _permuted_gaps(
    scored: Scored,
    codes: npt.NDArray[np.int64],
    decided: npt.NDArray[np.bool_],
    n_permutations: int,
    *,
    seed: int,
) -> npt.NDArray[np.float64]:
    """Return the gap of each metric in each permutation of the subgroups among units."""
    rng = np.random.default_rng(seed)
    _, units = np.unique(scored.units, return_inverse=True)
    keys = np.stack([scored.targets, units, codes], axis=1)
    cells, cell = np.unique(keys, axis=0, return_inverse=True)
    cell = cell.ravel()
    classes = [np.flatnonzero(cells[:, 0] == k) for k in (0, 1)]
    gaps = np.full((n_permutations, len(SUBGROUP_METRICS)), np.nan)
    for part in batches(n_permutations, len(codes)):
        permuted = np.tile(cells[:, 2], (len(part), 1))
        for members in classes:
            permuted[:, members] = rng.permuted(permuted[:, members], axis=1)
        drawn = permuted[:, cell]
        values = np.stack(
            [_statistic(scored, drawn == k) for k in range(len(decided))], axis=1
        )  # (n_permutations, n_subgroups, n_metrics)
        high = np.where(decided & ~np.isnan(values), values, -np.inf).max(axis=1)
        low = np.where(decided & ~np.isnan(values), values, np.inf).min(axis=1)
        gaps[part.start : part.stop] = np.where(np.isfinite(high - low), high - low, np.nan)
    return gaps


def _interval(
    scored: Scored,
    one: npt.NDArray[np.bool_],
    other: npt.NDArray[np.bool_],
    metric: str,
) -> tuple[float, float]:
    """Return the bootstrap interval of the difference between two subgroups."""
    rows, members = scored.part(one | other), one[one | other]

    def difference(weights: npt.NDArray[np.float64]) -> Mapping[str, npt.NDArray[np.float64]]:
        first, second = (
            metrics.weighted_scores(
                rows.targets,
                rows.probabilities,
                weights=weights * chosen,
                folds=rows.folds,
                names=(metric,),
            )[metric]
            for chosen in (members, ~members)
        )
        return {metric: first - second}

    codes = np.unique(rows.units, return_inverse=True)[1]
    found: Interval = intervals.cluster_bootstrap(difference, codes)[metric]
    return found.low, found.high


def gap_frame(gaps: Iterable[Gap]) -> pd.DataFrame:
    """Return gaps as a table with one row per metric."""
    import pandas as pd

    return pd.DataFrame.from_records(list(gaps), columns=list(Gap._fields), index="metric")


def subgroup_table(
    found: pd.DataFrame, gaps: pd.DataFrame, *, unit: str, groups_known: bool
) -> Table:
    """Build a table of subgroups for readers, with a sentence about each gap.

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
            f"Not compared, or not in all metrics, since fewer than {MIN_GROUPS} {unit}s decide: "
            f"{', '.join(small)}."
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
    """
    for name, row in found.iterrows():
        metric = "recall" if np.isnan(row["specificity"]) else "specificity"
        ends = percent_range(row[f"{metric}_low"], row[f"{metric}_high"])
        yield f"{metric} on {name!r} {percent(row[metric])} ({ends})"


def describe_gap(gap: Gap, *, unit: str) -> Iterator[str]:
    """Describe a gap in a sentence for readers who are not statisticians.

    Parameters
    ----------
    gap : Gap
        The gap.
    unit : str
        Unit that is resampled, such as ``"patient"``.

    Yields
    ------
    str
        Nothing if no subgroups can be compared.

    Examples
    --------
    >>> from covidct.runs.subgroups import Gap, describe_gap
    >>> gap = Gap("recall", "site A", "site B", 0.2, 0.08, 0.31, 0.004, ())
    >>> print(*describe_gap(gap, unit="patient"))
    Sensitivity is 20.0 percentage points higher for 'site A' than for 'site B' (95 % interval \
8.0 to 31.0, by resampling patients; p = 0.004): a difference this large is unlikely to be chance.
    """
    if np.isnan(gap.difference):
        return
    title = "Sensitivity" if gap.metric == "recall" else METRICS[gap.metric].title
    if gap.difference == 0:
        yield f"{title} is the same in all subgroups."
        return
    facts = []
    if not np.isnan(gap.low):
        facts.append(f"95 % interval {percent_range(gap.low, gap.high)}, by resampling {unit}s")
    if np.isnan(gap.p_value):
        verdict = "the subgroups have no class in common, so that this is not tested"
    else:
        facts.append(f"p = {gap.p_value:.2g}")
        verdict = (
            "a difference this large is unlikely to be chance"
            if gap.p_value <= 0.05
            else "this may be chance"
        )
    brackets = f" ({'; '.join(facts)})" if facts else ""
    yield (
        f"{title} is {percent(gap.difference)} percentage points higher for {gap.highest!r} than "
        f"for {gap.lowest!r}{brackets}: {verdict}."
    )


class SubgroupMetrics(FoldPredictions):
    """Predictions of a run, and the metrics of subgroups of its slices."""

    def by(self, column: str | pd.Series[Any] | npt.ArrayLike) -> pd.DataFrame:
        """Return the metrics of subgroups of the slices.

        Parameters
        ----------
        column : str, Series or array-like of shape (n_slices,)
            Name of a column that names the subgroup of each slice: one of `predictions`, such as
            ``"label"`` (the original class) or ``"source"``, or a column of the `metadata` of the
            dataset, which the run keeps (see :attr:`columns`). Or one value for each slice of the
            dataset, such as a column of its `table` or a property that the audit measured
            (``report.properties["file format"]``). Numbers with more than six different values are
            divided at their quartiles.

        Returns
        -------
        DataFrame
            One row per subgroup: ``slices``, ``groups`` (number of patients or other units that
            the intervals resample), and for accuracy, recall, specificity and AUC the mean over
            the folds that test the subgroup, as a fraction, with the ends of its 95 % interval
            (``"recall_low"``, ``"recall_high"``). What is undefined is NaN: a subgroup of one
            class has no AUC, and either recall or specificity.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        ValueError
            If the column has more than 50 different texts, or another number of values than the
            dataset has slices.

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
            One row per metric with the fields of :class:`covidct.runs.subgroups.Gap`. Subgroups in
            which fewer than ten patients decide a metric are left out, and listed.

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

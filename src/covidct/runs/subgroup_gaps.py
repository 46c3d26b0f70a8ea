"""Gaps between the metrics of subgroups, and tests of these gaps.

The difference between the largest and the smallest of several metrics is above 0 by chance alone,
and larger with more subgroups and with fewer patients. :func:`compare` therefore tests it with a
permutation test: the subgroups are permuted among units of the same class, and in each permutation
the largest difference between any two subgroups is computed, so that the p-value accounts for the
choice of the two. A unit is all slices of one patient (or other group) in one subgroup and class.
Units of one patient in several subgroups count as different units; since such a patient affects
these subgroups alike, the test is then conservative.

The test is exact if the probabilities depend on the class and not on the subgroup, since the units
of a class are then exchangeable. Permutations within the classes do not change the share of
COVID-19 in a subgroup. This matters for the accuracy: if sensitivity and specificity differ, it
differs between subgroups of unequal prevalence, although the network works equally well in each.
The test does not count this as a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..evaluation import intervals, metrics
from ..evaluation._weighted_counts import batches
from ..evaluation.intervals import MIN_GROUPS, Interval
from ..evaluation.metrics import METRICS
from ..evaluation.tables import percent, percent_range

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUBGROUP_METRICS", "Gap", "Scored", "compare", "describe_gap", "gap_frame"]

#: Metrics of subgroups.
SUBGROUP_METRICS = ("accuracy", "recall", "specificity", "auc")

_N_PERMUTATIONS = 999


class Scored(NamedTuple):
    """Predictions with the units that are resampled and the folds that metrics are averaged over.

    Attributes
    ----------
    targets : ndarray of int64 of shape (n_predictions,)
        True classes.
    probabilities : ndarray of float64 of shape (n_predictions,)
        Predicted probabilities of COVID-19.
    slices : ndarray of shape (n_predictions,)
        Slice of each prediction.
    units : ndarray of shape (n_predictions,)
        Unit that is resampled, such as the patient of each slice.
    folds : ndarray of int64 of shape (n_predictions,)
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
        Subgroups that are not compared, since the metric is based on fewer than ten patients (or
        other units).
    """

    metric: str
    highest: str
    lowest: str
    difference: float
    low: float
    high: float
    p_value: float
    left_out: tuple[str, ...]


def compare(
    scored: Scored,
    names: npt.NDArray[np.str_],
    *,
    n_permutations: int = _N_PERMUTATIONS,
    seed: int = 0,
) -> list[Gap]:
    """Find the largest gap of each metric between subgroups, and test it.

    Subgroups are compared if the metric is based on at least ten units (the AUC on five of each
    class).

    Parameters
    ----------
    scored : Scored
        All predictions.
    names : ndarray of str of shape (n_predictions,)
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
    >>> from covidct.runs.subgroup_gaps import Scored, compare
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
    """Return the metrics of the slices that each row of `members` selects, (n_rows, n_metrics)."""
    found = metrics.weighted_scores(
        scored.targets,
        scored.probabilities,
        weights=members.astype(np.float64),
        folds=scored.folds,
        names=SUBGROUP_METRICS,
    )
    return np.stack([found[name] for name in SUBGROUP_METRICS], axis=1)


def _decided(rows: Scored) -> npt.NDArray[np.bool_]:
    """Return True for each metric that is based on enough units."""
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
    """Return the largest gap of each metric in each permutation, (n_permutations, n_metrics)."""
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
        Sentence; nothing is yielded if no subgroups can be compared.

    Examples
    --------
    >>> from covidct.runs.subgroup_gaps import Gap, describe_gap
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

"""Sensitivity, specificity and predictive values at thresholds chosen on other predictions.

A threshold gives optimistic results on the predictions on which it was chosen. Here, the threshold
of a fold is chosen on the other folds, or on a validation part. The confusion matrices of all folds
are added: unlike probabilities, decisions of different networks can be counted together.

Intervals resample whole groups, such as patients, and include the uncertainty of the thresholds.

Examples
--------
>>> import numpy as np
>>> from covidct.evaluation.decision_rule import Criterion
>>> from covidct.evaluation.operating_points import operating_point
>>> rng = np.random.default_rng(3)
>>> targets, folds = rng.integers(2, size=600), np.arange(600) % 5
>>> probabilities = 1 / (1 + np.exp(-rng.normal(2 * targets - 1, 1)))
>>> point = operating_point(targets, probabilities, Criterion("sensitivity", 0.9), folds=folds)
>>> print(point.text("specificity"))
78.9 (70.9 to 85.3)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from .._display import Displayed, paragraphs
from .._files import json_ready
from .._text import capitalized
from ._inputs import Floats, Ints, check_fraction, check_labels, check_predictions, group_codes
from ._weighted_counts import ratio
from .decision_rule import Criterion
from .intervals import Interval, cluster_bootstrap, describe_intervals, robust_share
from .tables import Table, percent, percent_range

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "OperatingPoint",
    "OperatingPoints",
    "PredictiveValues",
    "operating_point",
    "predictive_values",
]

_SHARES = ("sensitivity", "specificity", "ppv", "npv")
_AT_PREVALENCE = ("ppv", "npv")
_RATIOS = ("positive_likelihood_ratio", "negative_likelihood_ratio")
_TITLES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "positive_likelihood_ratio": "LR+",
    "negative_likelihood_ratio": "LR−",
}

# Number of groups up to which a table gives the results of benchmarks/operating_points.py.
_SMALL = 50

_Number = TypeVar("_Number", float, Floats)
_Values = dict[str, Floats]  # by name, each of shape (n_weightings,)


def predictive_values(
    sensitivity: _Number, specificity: _Number, prevalence: float
) -> dict[str, _Number]:
    """Compute predictive values at a prevalence, and likelihood ratios.

    Parameters
    ----------
    sensitivity, specificity : float or ndarray
        Sensitivity and specificity, in [0, 1].
    prevalence : float
        Share of COVID-19, in (0, 1).

    Returns
    -------
    dict of str to float or ndarray
        ``"ppv"`` and ``"npv"``, the probabilities that a positive and a negative result are right;
        ``"positive_likelihood_ratio"`` and ``"negative_likelihood_ratio"``, the factors by which
        either result changes the odds of COVID-19. NaN where undefined; a positive likelihood ratio
        is infinite if the specificity is 1.

    Raises
    ------
    ValueError
        If `prevalence` is outside (0, 1).

    Examples
    --------
    >>> from covidct.evaluation.operating_points import predictive_values
    >>> {name: round(value, 3) for name, value in predictive_values(0.9, 0.8, 0.1).items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'ppv': 0.333, 'npv': 0.986, 'positive_likelihood_ratio': 4.5,
     'negative_likelihood_ratio': 0.125}
    """
    p = check_fraction("prevalence", prevalence)
    se, sp = np.asarray(sensitivity), np.asarray(specificity)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "ppv": se * p / (se * p + (1 - sp) * (1 - p)),
            "npv": sp * (1 - p) / (sp * (1 - p) + (1 - se) * p),
            "positive_likelihood_ratio": se / (1 - sp),
            "negative_likelihood_ratio": (1 - se) / sp,
        }
    if np.ndim(sensitivity) or np.ndim(specificity):
        return found
    # mypy cannot know that these are scalars.
    return {name: float(value) for name, value in found.items()}  # type: ignore[misc]


class PredictiveValues(NamedTuple):
    """Predictive values of an operating point at a prevalence.

    Attributes
    ----------
    prevalence : float
        Share of COVID-19, in (0, 1).
    values : mapping of str to float
        Predictive values and likelihood ratios, as returned by `predictive_values`.
    intervals : mapping of str to Interval
        Their confidence intervals.
    """

    prevalence: float
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """Performance at thresholds that were chosen by one criterion.

    Attributes
    ----------
    criterion : Criterion
        Criterion of the thresholds.
    folds : ndarray of shape (n_folds,)
        Fold numbers, sorted.
    thresholds : ndarray of shape (n_folds,)
        Threshold of each fold.
    confusion : ndarray of int64 of shape (2, 2)
        ``[[tn, fp], [fn, tp]]``, added over the folds.
    values : mapping of str to float
        ``"sensitivity"``, ``"specificity"``, ``"ppv"`` and ``"npv"``, from `confusion`.
    intervals : mapping of str to Interval
        Their confidence intervals.
    at_prevalence : tuple of PredictiveValues, default=()
        Predictive values at other shares of COVID-19 than that of the predictions.
    """

    criterion: Criterion
    folds: npt.NDArray[np.generic]
    thresholds: Floats
    confusion: Ints
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]
    at_prevalence: tuple[PredictiveValues, ...] = ()

    def text(self, name: str) -> str:
        """Format a value in percent with its interval.

        Parameters
        ----------
        name : str
            Key in `values`.

        Returns
        -------
        str
            Such as ``"93.1 (88.2 to 96.4)"``.
        """
        return f"{percent(self.values[name])} ({percent_range(*self.intervals[name])})"

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values for JSON.

        Returns
        -------
        dict
            Undefined and infinite values are None.
        """
        content = {
            "criterion": self.criterion.kind,
            "target": self.criterion.value,
            "thresholds": self.thresholds.tolist(),
            "confusion": self.confusion.tolist(),
            "values": dict(self.values),
            "intervals_95": dict(self.intervals),
            "at_prevalence": [
                {
                    "prevalence": found.prevalence,
                    "values": dict(found.values),
                    "intervals_95": dict(found.intervals),
                }
                for found in self.at_prevalence
            ],
        }
        ready: dict[str, Any] = json_ready(content)
        return ready


def operating_point(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    criterion: Criterion,
    *,
    folds: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    units: npt.ArrayLike | None = None,
    fitted_on: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None,
    prevalences: Sequence[float] = (),
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> OperatingPoint:
    """Evaluate thresholds that are chosen, for each fold, without the predictions of that fold.

    Parameters
    ----------
    targets : array-like of shape (n,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n,)
        Predicted probabilities of COVID-19, in [0, 1], of slices or of patients.
    criterion : Criterion
        Criterion of the thresholds.
    folds : array-like of shape (n,)
        Fold of each prediction.
    groups : array-like of shape (n,), default=None
        Group of each prediction, such as its patient, for the intervals. A prediction of unknown
        group (empty, None, NaN) forms its own group. With the default, every prediction does.
    units : array-like of shape (n,), default=None
        Identity of the slice or patient of each prediction. Units of a fold are left out of the
        other folds when its threshold is chosen. By default, all predictions are of different
        units.
    fitted_on : tuple of (targets, probabilities, folds, groups), default=None
        Predictions of a validation part. The threshold of each fold is then chosen on those with
        its own fold number.
    prevalences : sequence of float, default=()
        Shares of COVID-19, in (0, 1), for which predictive values are computed.
    level : float, default=0.95
        Nominal coverage of the intervals, in (0, 1).
    n_resamples : int, default=2000
        Number of bootstrap resamples, at least 100.
    seed : int, default=0
        Random seed.

    Returns
    -------
    OperatingPoint

    Raises
    ------
    ValueError
        If there are no predictions to choose a threshold on, the arrays differ in length, or a
        value is outside its range.

    Notes
    -----
    Each interval is the smallest that contains two bootstrap intervals
    (`covidct.evaluation.intervals.cluster_bootstrap`). The first is an interval of the value at the
    target, such as the sensitivity at a specificity of 90 %: the thresholds are chosen again in
    each resample. The second is an interval of the value that the given thresholds reach: they are
    kept in each resample. For the targeted quantity itself, which newly chosen thresholds reach in
    every resample, the second is the wider one. A share for which few groups have errors also has
    Wilson's interval, as in `covidct.evaluation.intervals.bootstrap`. Predictive values at a
    prevalence and likelihood ratios are monotonic in sensitivity and specificity; if one of these
    has Wilson's interval, the ends are computed from the ends of both. Such an interval is
    conservative, since both are rarely at their ends together.

    Examples
    --------
    >>> from covidct.evaluation.decision_rule import Criterion
    >>> from covidct.evaluation.operating_points import operating_point
    >>> targets, probabilities = [0, 1] * 20, [0.2, 0.7, 0.4, 0.3, 0.1, 0.8, 0.2, 0.9] * 5
    >>> criterion = Criterion("specificity", 1.0)
    >>> point = operating_point(targets, probabilities, criterion, folds=[0] * 20 + [1] * 20)
    >>> point.values["sensitivity"], point.confusion.tolist()
    (0.75, [[20, 0], [5, 15]])
    """
    labels, values = check_predictions(targets, probabilities)
    n = len(labels)
    fold_of = check_labels("folds", folds, n)
    unit_of = np.arange(n) if units is None else check_labels("units", units, n)
    codes = group_codes(groups, n)
    numbers = np.unique(fold_of)
    ps = tuple(check_fraction("prevalence", p) for p in prevalences)
    if fitted_on is None:
        all_labels, all_values, all_codes = labels, values, codes
    else:
        extra_labels, extra_values = check_predictions(fitted_on[0], fitted_on[1])
        extra_folds = check_labels("folds", fitted_on[2], len(extra_labels))
        all_labels = np.concatenate([labels, extra_labels])
        all_values = np.concatenate([values, extra_values])
        # Validation and test part are drawn separately: no group is in both.
        extra_codes = codes.max() + 1 + group_codes(fitted_on[3], len(extra_labels))
        all_codes = np.concatenate([codes, extra_codes])
    parts = []
    for number in numbers:
        judged = np.flatnonzero(fold_of == number)
        if fitted_on is None:
            fitted = np.flatnonzero((fold_of != number) & ~np.isin(unit_of, unit_of[judged]))
        else:
            fitted = n + np.flatnonzero(extra_folds == number)
        parts.append(_Part(all_labels, all_values, criterion, fitted, judged))
    every = np.ones((1, len(all_labels)))
    thresholds = np.array([float(part.thresholds(every)[0]) for part in parts])
    if np.isnan(thresholds).any():
        missing = numbers[np.isnan(thresholds)][0]
        kind = "COVID-19" if criterion.kind == "sensitivity" else "non-COVID"
        raise ValueError(
            f"no threshold can be chosen for fold {missing}: there are no predictions of {kind} "
            "from other slices or patients; use more folds or a validation part"
        )
    point = {name: float(v[0]) for name, v in _chosen(parts, every, ps).items()}
    found = _bootstrapped(
        parts, thresholds, all_codes, ps, level=level, n_resamples=n_resamples, seed=seed
    )
    predicted = values >= thresholds[np.searchsorted(numbers, fold_of)]
    ends = _robust_shares(found, labels, predicted, codes, level=level)
    return OperatingPoint(
        criterion,
        numbers,
        thresholds,
        np.bincount(2 * labels + predicted, minlength=4).reshape(2, 2),
        {name: point[name] for name in _SHARES},
        ends,
        tuple(_at_prevalence(p, point, found, ends) for p in ps),
    )


def _chosen(parts: Sequence[_Part], weights: Floats, prevalences: Sequence[float]) -> _Values:
    """Return the values under each weighting, with the thresholds that it chooses."""
    cells = sum(part.cells(weights, part.thresholds(weights)) for part in parts)
    return _values(np.asarray(cells), prevalences)


def _bootstrapped(
    parts: Sequence[_Part],
    thresholds: Floats,
    codes: Ints,
    prevalences: Sequence[float],
    **options: Any,
) -> dict[str, Interval]:
    """Return bootstrap intervals that are valid for chosen and for fixed thresholds."""

    def statistic(weights: Floats) -> _Values:
        cells = sum(
            part.cells(weights, np.full(len(weights), threshold))
            for part, threshold in zip(parts, thresholds, strict=True)
        )
        fixed = _values(np.asarray(cells), prevalences)
        return _chosen(parts, weights, prevalences) | {f"{n}, fixed": v for n, v in fixed.items()}

    drawn = cluster_bootstrap(statistic, codes, **options)
    return {
        name: _hull(ends, drawn[f"{name}, fixed"])
        for name, ends in drawn.items()
        if not name.endswith(", fixed")
    }


def _robust_shares(
    found: Mapping[str, Interval],
    labels: Ints,
    predicted: npt.NDArray[np.bool_],
    codes: Ints,
    *,
    level: float,
) -> dict[str, Interval]:
    """Return the intervals of the shares, widened to Wilson's where few groups decide."""
    cases = {
        "sensitivity": labels == 1,
        "specificity": labels == 0,
        "ppv": predicted,
        "npv": ~predicted,
    }
    if len(np.unique(codes)) == 1:  # as in `bootstrap`
        return {name: found[name] for name in cases}
    right = predicted == labels
    return {
        name: _hull(
            robust_share(found[name], right[chosen], codes[chosen], level=level), found[name]
        )
        for name, chosen in cases.items()
    }


def _hull(first: Interval, second: Interval) -> Interval:
    """Return the smallest interval that covers both, or the one that is defined."""
    if np.isnan(first.low) or np.isnan(second.low):
        return second if np.isnan(first.low) else first
    low, high = min(first.low, second.low), max(first.high, second.high)
    return Interval(low, high, method=first.method)


class _Part:
    """One fold: the predictions on which its threshold is chosen, and those to which it applies."""

    def __init__(
        self, labels: Ints, values: Floats, criterion: Criterion, fitted: Ints, judged: Ints
    ) -> None:
        self._criterion = criterion
        self._judged = judged
        self._values, self._labels = values[judged], labels[judged]
        target = 1 if criterion.kind == "sensitivity" else 0
        own = fitted[labels[fitted] == target]
        # Positives from the highest probability downwards, negatives from the lowest upwards.
        order = np.argsort(-values[own] if target else values[own], kind="stable")
        self._ordered = own[order]
        self._candidates = values[own][order]

    def thresholds(self, weights: Floats) -> Floats:
        """Return the threshold under each weighting; NaN if there is nothing to choose it on.

        The weighted version of `Criterion.choose`: the first candidate at which the cumulative
        weight reaches the target share.
        """
        if self._criterion.kind == "threshold":
            return np.full(len(weights), self._criterion.value)
        if not len(self._ordered):
            return np.full(len(weights), np.nan)
        reached = np.cumsum(weights[:, self._ordered], axis=1)
        total = reached[:, -1]
        needed = np.maximum(self._criterion.value * total - 1e-9, 1e-9)
        first = np.argmax(reached >= needed[:, None], axis=1)
        chosen = self._candidates[first]
        if self._criterion.kind == "specificity":
            chosen = np.minimum(np.nextafter(chosen, 2), 1)
        return np.where(total > 0, chosen, np.nan)

    def cells(self, weights: Floats, thresholds: Floats) -> Floats:
        """Return weighted counts (tn, fp, fn, tp), shape (n_weightings, 4)."""
        own = weights[:, self._judged]
        found = own * (self._values >= thresholds[:, None])
        is_positive = (self._labels == 1).astype(np.float64)
        tp, positives = found @ is_positive, own @ is_positive
        fp, negatives = found.sum(axis=1) - tp, own.sum(axis=1) - positives
        cells = np.column_stack([negatives - fp, fp, positives - tp, tp])
        cells[np.isnan(thresholds)] = np.nan
        return cells


def _values(cells: Floats, prevalences: Sequence[float]) -> _Values:
    tn, fp, fn, tp = cells.T
    found = {
        "sensitivity": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
    }
    for p in prevalences:
        values = predictive_values(found["sensitivity"], found["specificity"], p)
        for name, value in values.items():
            # A likelihood ratio is infinite in resamples without a false positive; the bootstrap
            # needs finite values. They are rare where its intervals are used, with ten errors.
            found[f"{name} at {p}"] = np.nan_to_num(value, nan=np.nan, posinf=1e9)
    return found


def _at_prevalence(
    p: float,
    point: Mapping[str, float],
    found: Mapping[str, Interval],
    ends: Mapping[str, Interval],
) -> PredictiveValues:
    both = ends["sensitivity"], ends["specificity"]
    values = predictive_values(point["sensitivity"], point["specificity"], p)
    names = (*_AT_PREVALENCE, *_RATIOS)
    if any(interval.method == "wilson" for interval in both):
        corners = [predictive_values(se, sp, p) for se in both[0] for sp in both[1]]
        spread = {name: [corner[name] for corner in corners] for name in names}
        intervals = {
            name: Interval(min(spread[name]), max(spread[name]), method="wilson")
            if np.isfinite([*both[0], *both[1]]).all()
            else Interval(np.nan, np.nan, reason="the metric is undefined")
            for name in names
        }
    else:
        intervals = {name: found[f"{name} at {p}"] for name in names}
    return PredictiveValues(p, values, intervals)


@dataclass(frozen=True, repr=False)
class OperatingPoints(Displayed, Sequence[OperatingPoint]):
    """Sequence of the operating points of a run, printed as a table.

    Returned by :meth:`covidct.CrossValidationResult.operating_points` and
    :meth:`~covidct.CrossValidationResult.predictive_values`.

    Attributes
    ----------
    points : tuple of OperatingPoint
        Operating points.
    unit : str
        Unit of the predictions, such as ``"slice"`` or ``"patient"``.
    group : str
        Unit that the intervals resample.
    n_groups : int
        Number of these units.
    fitted_on : str
        ``"the validation part"`` or ``"the other folds"``.
    """

    points: tuple[OperatingPoint, ...]
    unit: str
    group: str
    n_groups: int
    fitted_on: str

    def __getitem__(self, index: Any) -> Any:
        """Return one operating point, or a tuple of them."""
        return self.points[index]

    def __len__(self) -> int:
        """Return the number of operating points."""
        return len(self.points)

    def to_frame(self) -> pd.DataFrame:
        """Return a table of numbers with a row per operating point, or per prevalence.

        Returns
        -------
        DataFrame
            ``criterion``, ``target``, ``threshold`` (mean over the folds), ``prevalence`` (NaN for
            that of the predictions), and for each value also the ends of its interval
            (``"sensitivity_low"``, ``"sensitivity_high"``); fractions.
        """
        import pandas as pd

        return pd.DataFrame([row for point in self.points for row in _rows(point)])

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values for JSON.

        Returns
        -------
        dict
            Undefined values are None.
        """
        return {
            "unit": self.unit,
            "fitted_on": self.fitted_on,
            "points": [point.to_dict() for point in self.points],
        }

    def table(self) -> Table:
        """Return the values in percent with 95 % intervals.

        Returns
        -------
        Table
            A row per operating point, or per operating point and prevalence.
        """
        if any(point.at_prevalence for point in self.points):
            return self._prevalence_table()
        rows = [
            [str(point.criterion), _range(point.thresholds), *map(point.text, _SHARES)]
            for point in self.points
        ]
        counts = self.points[0].confusion.sum(axis=1)
        share = counts[1] / counts.sum()
        return Table(
            ["target", "thresholds", *(f"{_TITLES[name]}, %" for name in _SHARES)],
            rows,
            caption=f"Operating points per {self.unit}; thresholds chosen on {self.fitted_on}",
            notes=[
                (
                    "In brackets: 95 % interval. PPV and NPV: share of positive and of negative "
                    f"results that are right, where {percent(share)} % of {self.unit}s are "
                    "COVID-19, as here; they change with this share."
                ),
                *self._interval_notes(),
                *self._small_sample(),
            ],
        )

    def _interval_notes(self) -> Iterator[str]:
        """Yield sentences about unusual intervals, with the targets unless they apply to all."""
        targets: dict[str, list[str]] = {}
        for point in self.points:
            ends = {_TITLES[name]: interval for name, interval in point.intervals.items()}
            for note in describe_intervals(ends, unit=self.group):
                targets.setdefault(note, []).append(str(point.criterion))
        for note, criteria in targets.items():
            concerned = "" if len(criteria) == len(self.points) else f"{' and '.join(criteria)}: "
            yield f"{capitalized(concerned)}{note}"

    def _small_sample(self) -> Iterator[str]:
        """Yield a warning about thresholds chosen for a target on few groups."""
        if self.n_groups <= _SMALL and any(p.criterion.kind != "threshold" for p in self.points):
            yield (
                f"Small sample ({self.n_groups} {self.group}s): in simulations of 40 patients, "
                "thresholds for a target of 90 % reached 87 to 89 % on other patients, and "
                "nominal 95 % intervals covered the true values in 94 to 100 % of the runs."
            )

    def _prevalence_table(self) -> Table:
        rows = [
            [
                str(point.criterion),
                percent(found.prevalence),
                *(
                    f"{percent(found.values[n])} ({percent_range(*found.intervals[n])})"
                    for n in _AT_PREVALENCE
                ),
                *(
                    f"{_number(found.values[n])} ({_number_range(found.intervals[n])})"
                    for n in _RATIOS
                ),
            ]
            for point in self.points
            for found in point.at_prevalence
        ]
        titles = [f"{_TITLES[name]}, %" for name in _AT_PREVALENCE]
        titles += [_TITLES[name] for name in _RATIOS]
        return Table(
            ["target", "prevalence, %", *titles],
            rows,
            caption=f"Predictive values per {self.unit}; thresholds chosen on {self.fitted_on}",
            notes=[
                (
                    "In brackets: 95 % interval. LR: factor by which a positive (LR+) or negative "
                    "(LR−) result changes the odds of COVID-19. Sensitivity and specificity are "
                    "assumed to be those of this run."
                ),
            ],
        )

    def sentences(self) -> Iterator[str]:
        """Describe each operating point in words for readers who are not statisticians.

        Yields
        ------
        str
            Sentences with natural frequencies: about the results at each prevalence if prevalences
            were given, otherwise about the recognized patients or slices.
        """
        for point in self.points:
            if point.at_prevalence:
                yield from filter(None, (self._result(point, at) for at in point.at_prevalence))
            elif np.isfinite([point.values["sensitivity"], point.values["specificity"]]).all():
                found, flagged = (
                    _of_hundred(point.intervals[name], point.values[name], complement=complement)
                    for name, complement in (("sensitivity", False), ("specificity", True))
                )
                yield (
                    f"At {_described(point.criterion)}: of 100 {self.unit}s with COVID-19, {found} "
                    f"are recognized; of 100 {self.unit}s without, {flagged} are wrongly called "
                    "COVID-19."
                )

    def _result(self, point: OperatingPoint, at: PredictiveValues) -> str | None:
        """Describe results at a prevalence; None if they are undefined."""
        if not np.isfinite([at.values[name] for name in _AT_PREVALENCE]).all():
            return None
        positive, negative = (
            _of_hundred(at.intervals[name], at.values[name], complement=False)
            for name in _AT_PREVALENCE
        )
        return (
            f"Where {100 * at.prevalence:g} % of {self.unit}s have COVID-19, at "
            f"{_described(point.criterion)}: of 100 {self.unit}s called COVID-19, {positive} have "
            f"it; of 100 called non-COVID, {negative} do not have it."
        )

    def __str__(self) -> str:
        return "\n".join([str(self.table()), *self.sentences()])

    def _repr_html_(self) -> str:
        return self.table().render("html") + paragraphs(self.sentences())


def _rows(point: OperatingPoint) -> Iterator[dict[str, Any]]:
    shared = {
        "criterion": point.criterion.kind,
        "target": point.criterion.value,
        "threshold": float(point.thresholds.mean()),
    }
    own = PredictiveValues(np.nan, point.values, point.intervals)
    for found in point.at_prevalence or (own,):
        row = shared | {"prevalence": found.prevalence}
        for name, value in found.values.items():
            low, high = found.intervals[name]
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        yield row


def _described(criterion: Criterion) -> str:
    if criterion.kind == "threshold":
        return f"the {criterion}"
    return f"a target {criterion.kind} of {100 * criterion.value:g} %"


def _of_hundred(interval: Interval, value: float, *, complement: bool) -> str:
    ends = [1 - end for end in reversed(interval)] if complement else list(interval)
    share = 1 - value if complement else value
    if np.isnan(ends[0]):
        return f"about {100 * share:.0f}"
    return f"about {100 * share:.0f} ({100 * ends[0]:.0f} to {100 * ends[1]:.0f})"


def _range(values: Floats) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"


def _number(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "∞" if np.isinf(value) else f"{value:#.3g}".rstrip(".")


def _number_range(interval: Interval) -> str:
    return "–" if np.isnan(interval.low) else " to ".join(map(_number, interval))

"""Metrics of a binary classifier, COVID-19 being the positive class (1).

Every metric of `METRICS` takes targets in {0, 1} and probabilities in [0, 1]. A slice is called
COVID-19 where its probability is at least the threshold. A metric that the data leave undefined,
such as the precision where nothing was called COVID-19, is NaN and never quietly 0;
`describe_undefined` says why. The values are those of scikit-learn wherever both are defined;
they are computed here because `weighted_scores` needs them for thousands of resamples at once.

Examples
--------
>>> from covidct.evaluation import metrics
>>> scores = metrics.score([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
>>> scores["accuracy"], scores["auc"]
(0.5, 0.75)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..errors import UnknownNameError
from ._inputs import Floats, Ints, check_fraction, check_predictions, group_names
from ._weighted_counts import WeightedCounts, ratio

__all__ = [
    "METRICS",
    "PAPER_METRICS",
    "TABLE_METRICS",
    "Metric",
    "confusion_matrix",
    "count_undefined",
    "describe_undefined",
    "find_metric",
    "per_group",
    "score",
    "summarize",
    "undefined_notes",
    "weighted_scores",
]


@dataclass(frozen=True)
class Metric:
    """One metric: a callable that knows its name and when it is undefined.

    Parameters
    ----------
    name
        Key in `METRICS` and in every dictionary of scores.
    title
        What tables and figures call it.
    undefined
        Why it can be undefined; ``{unit}`` stands for what is counted.
    greater_is_better
        False for a loss, such as the Brier score.
    formula
        From counts to the value.

    Examples
    --------
    >>> from covidct.evaluation.metrics import METRICS
    >>> METRICS["recall"]([0, 1, 1], [0.2, 0.3, 0.8])
    0.5
    >>> METRICS["recall"]([0, 0], [0.2, 0.3])
    nan
    """

    name: str
    title: str
    undefined: str = ""
    greater_is_better: bool = True
    formula: Callable[[WeightedCounts], Floats] = field(kw_only=True, repr=False)

    def __call__(
        self, targets: npt.ArrayLike, probabilities: npt.ArrayLike, *, threshold: float = 0.5
    ) -> float:
        """Return the metric of N predictions, NaN where it is undefined.

        Parameters
        ----------
        targets
            (N,), 0 or 1.
        probabilities
            (N,), in [0, 1].
        threshold
            In [0, 1]; metrics of the ranking and the Brier score make no use of it.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If the arrays are empty, differ in length or hold other values than these.
        """
        labels, values = check_predictions(targets, probabilities)
        cutoff = check_fraction("threshold", threshold, closed=True)
        counts = WeightedCounts(labels, values, np.ones((1, len(labels))), cutoff)
        return float(self.formula(counts)[0])


def _mcc(t: WeightedCounts) -> Floats:
    spread = np.sqrt(t.positives * t.negatives * (t.tp + t.fp) * (t.tn + t.fn))
    return ratio(t.tp * t.tn - t.fp * t.fn, spread)


_ONE_CLASS = "all {unit}s are of one class"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "Accuracy", formula=lambda t: ratio(t.tp + t.tn, t.total)),
        Metric(
            "precision",
            "Precision",
            "no {unit} was called COVID-19",
            formula=lambda t: ratio(t.tp, t.tp + t.fp),
        ),
        Metric(
            "recall",
            "Recall",
            "no {unit} is COVID-19",
            formula=lambda t: ratio(t.tp, t.positives),
        ),
        Metric(
            "specificity",
            "Specificity",
            "every {unit} is COVID-19",
            formula=lambda t: ratio(t.tn, t.negatives),
        ),
        Metric(
            "f1",
            "F1",
            "no {unit} is COVID-19 and none was called so",
            formula=lambda t: ratio(2 * t.tp, 2 * t.tp + t.fp + t.fn),
        ),
        # Mann & Whitney's U over the number of pairs.
        Metric(
            "auc",
            "AUC",
            _ONE_CLASS,
            formula=lambda t: ratio(t.concordance, t.positives * t.negatives),
        ),
        # As scikit-learn: steps, no trapezoids, which would be optimistic.
        Metric(
            "average_precision",
            "Average precision",
            "no {unit} is COVID-19",
            formula=lambda t: ratio(t.summed_precision, t.positives),
        ),
        Metric(
            "balanced_accuracy",
            "Balanced accuracy",
            _ONE_CLASS,
            formula=lambda t: (ratio(t.tp, t.positives) + ratio(t.tn, t.negatives)) / 2,
        ),
        Metric("mcc", "MCC", f"{_ONE_CLASS}, or all were called the same", formula=_mcc),
        Metric(
            "brier",
            "Brier score",
            greater_is_better=False,
            formula=lambda t: ratio(t.squared_error, t.total),
        ),
    )
}
"""Every metric by name, in the order of the tables."""

PAPER_METRICS = ("accuracy", "precision", "recall", "specificity", "f1")
"""The five that the paper reports in its Table 2, in its order."""
TABLE_METRICS = (*PAPER_METRICS, "auc", "balanced_accuracy", "mcc")
"""Those of a table of folds."""


def find_metric(name: str) -> Metric:
    """Return the metric of that name.

    Parameters
    ----------
    name
        A key of `METRICS`.

    Returns
    -------
    Metric

    Raises
    ------
    UnknownNameError
        If there is none; the message proposes the nearest.

    Examples
    --------
    >>> from covidct.evaluation.metrics import find_metric
    >>> find_metric("mcc").title
    'MCC'
    """
    if name not in METRICS:
        raise UnknownNameError.among("metric", name, METRICS)
    return METRICS[name]


def weighted_scores(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    weights: npt.ArrayLike,
    threshold: float = 0.5,
    names: Iterable[str] = tuple(METRICS),
) -> dict[str, Floats]:
    """Compute metrics under many weightings of the same predictions.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities
        (N,), in [0, 1].
    weights
        (R, N), not negative: how often each prediction counts in each of R weightings, such as
        the resamples of a bootstrap.
    threshold
        In [0, 1]; at least this probability is called COVID-19.
    names
        The metrics wanted.

    Returns
    -------
    dict of str to ndarray
        For each name the R values, NaN where one is undefined.

    Raises
    ------
    ValueError
        If an array or the threshold is not as described.
    UnknownNameError
        If a metric is unknown.

    Examples
    --------
    >>> from covidct.evaluation.metrics import weighted_scores
    >>> weights = [[1, 1, 1], [0, 2, 1]]
    >>> weighted_scores([0, 1, 1], [0.7, 0.2, 0.8], weights=weights, names=["recall"])["recall"]
    array([0.5       , 0.33333333])
    """
    labels, values = check_predictions(targets, probabilities)
    rows = np.asarray(weights, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(labels):
        raise ValueError(f"weights must have shape (R, {len(labels)}), got {rows.shape}")
    if not (rows >= 0).all():
        raise ValueError("weights must be finite and not negative")
    cutoff = check_fraction("threshold", threshold, closed=True)
    counts = WeightedCounts(labels, values, rows, cutoff)
    return {name: find_metric(name).formula(counts) for name in names}


def score(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    threshold: float = 0.5,
    names: Iterable[str] = tuple(METRICS),
) -> dict[str, float]:
    """Compute all metrics, or those named.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities
        (N,), in [0, 1].
    threshold
        In [0, 1]; at least this probability is called COVID-19.
    names
        The metrics wanted.

    Returns
    -------
    dict of str to float
        Fractions, NaN where a metric is undefined.

    Raises
    ------
    ValueError
        If an array or the threshold is not as described.
    UnknownNameError
        If a metric is unknown.

    Examples
    --------
    >>> from covidct.evaluation.metrics import score
    >>> score([0, 1, 1], [0.2, 0.4, 0.8], names=["precision", "recall"])
    {'precision': 1.0, 'recall': 0.5}
    """
    weights = np.ones((1, np.size(targets)))
    scores = weighted_scores(
        targets, probabilities, weights=weights, threshold=threshold, names=names
    )
    return {name: float(values[0]) for name, values in scores.items()}


def confusion_matrix(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, *, threshold: float = 0.5
) -> Ints:
    """Count the slices by class (rows) and call (columns), non-COVID first.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities
        (N,), in [0, 1].
    threshold
        In [0, 1]; at least this probability is called COVID-19.

    Returns
    -------
    ndarray
        ``[[tn, fp], [fn, tp]]``, as scikit-learn lays it out.

    Raises
    ------
    ValueError
        If an array or the threshold is not as described.

    Examples
    --------
    >>> from covidct.evaluation.metrics import confusion_matrix
    >>> confusion_matrix([0, 1, 1], [0.2, 0.4, 0.8])
    array([[1, 0],
           [1, 1]])
    """
    labels, values = check_predictions(targets, probabilities)
    called = values >= check_fraction("threshold", threshold, closed=True)
    return np.bincount(2 * labels + called, minlength=4).reshape(2, 2)


def describe_undefined(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    threshold: float = 0.5,
    unit: str = "slice",
) -> dict[str, str]:
    """Say of each undefined metric why it is so.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities
        (N,), in [0, 1].
    threshold
        In [0, 1]; at least this probability is called COVID-19.
    unit
        What one prediction is about, such as ``"slice"`` or ``"patient"``.

    Returns
    -------
    dict of str to str
        A sentence for each metric that is NaN; empty where all are defined.

    Raises
    ------
    ValueError
        If an array or the threshold is not as described.

    Examples
    --------
    >>> from covidct.evaluation.metrics import describe_undefined
    >>> describe_undefined([0, 1, 1], [0.1, 0.2, 0.3])["precision"]
    'precision is undefined: no slice was called COVID-19'
    """
    scores = score(targets, probabilities, threshold=threshold)
    return {
        name: f"{name} is undefined: {METRICS[name].undefined.format(unit=unit)}"
        for name, value in scores.items()
        if np.isnan(value)
    }


def summarize(scores: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Return mean and sample standard deviation of each metric over the folds.

    The deviation divides by the number of folds less one (ddof=1). It says how much folds
    differ; it is no confidence interval, for which see `covidct.evaluation.intervals`. Folds in
    which a metric is undefined are left out; `count_undefined` tells how many those are.

    Parameters
    ----------
    scores
        One dictionary for each fold, as `score` returns it; all with the same metrics.

    Returns
    -------
    dict of str to (float, float)
        Mean and standard deviation; NaN where no fold, or for the deviation only one, is left.

    Raises
    ------
    ValueError
        If there is no fold, or if folds have different metrics.

    Examples
    --------
    >>> from covidct.evaluation.metrics import summarize
    >>> summarize([{"accuracy": 0.5}, {"accuracy": 1.0}])
    {'accuracy': (0.75, 0.3535533905932738)}
    """
    return {name: _spread(values[~np.isnan(values)]) for name, values in _columns(scores).items()}


def count_undefined(scores: Sequence[Mapping[str, float]]) -> dict[str, int]:
    """Count, for each metric, the folds that `summarize` leaves out.

    Parameters
    ----------
    scores
        One dictionary for each fold, as `score` returns it; all with the same metrics.

    Returns
    -------
    dict of str to int
        Only the metrics that are undefined in at least one fold.

    Raises
    ------
    ValueError
        If there is no fold, or if folds have different metrics.

    Examples
    --------
    >>> from covidct.evaluation.metrics import count_undefined
    >>> count_undefined([{"auc": float("nan"), "f1": 1.0}, {"auc": 0.5, "f1": 0.0}])
    {'auc': 1}
    """
    counts = {name: int(np.isnan(values).sum()) for name, values in _columns(scores).items()}
    return {name: count for name, count in counts.items() if count}


def undefined_notes(scores: Sequence[Mapping[str, float]]) -> list[str]:
    """Say in how many folds a metric has no value.

    Parameters
    ----------
    scores
        The metrics of each fold.

    Returns
    -------
    list of str
        A sentence for each metric that is undefined anywhere.

    Examples
    --------
    >>> from covidct.evaluation.metrics import undefined_notes
    >>> undefined_notes([{"auc": float("nan")}, {"auc": 0.5}])
    ['AUC is undefined (–) in 1 of 2 folds, and left out.']
    """
    return [
        f"{METRICS[name].title} is undefined (–) in {count} of {len(scores)} folds, and left out."
        for name, count in count_undefined(scores).items()
    ]


def _columns(scores: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    if not scores:
        raise ValueError("there is no fold to summarize")
    names = list(scores[0])
    for number, fold in enumerate(scores):
        if set(fold) != set(names):
            odd = ", ".join(sorted(set(fold) ^ set(names)))
            raise ValueError(f"fold {number} and fold 0 have different metrics: {odd}")
    return {name: np.array([fold[name] for fold in scores], dtype=np.float64) for name in names}


def _spread(values: Floats) -> tuple[float, float]:
    mean = values.mean() if values.size else np.nan
    return float(mean), float(values.std(ddof=1) if values.size > 1 else np.nan)


def per_group(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, groups: npt.ArrayLike
) -> tuple[Ints, Floats, npt.NDArray[np.str_]]:
    """Merge the slices of each group, such as a patient, into one prediction: their mean.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities
        (N,), in [0, 1].
    groups
        (N,), the name or number of each slice's group.

    Returns
    -------
    group_targets
        (G,), 0 or 1.
    group_probabilities
        (G,), the mean probability of the group's slices.
    group_names
        (G,), sorted as text.

    Raises
    ------
    ValueError
        If a group has slices of both classes or a slice has no group, or if an array is not as
        described.

    Examples
    --------
    >>> from covidct.evaluation.metrics import per_group
    >>> targets, probabilities, names = per_group([1, 1, 0], [0.4, 0.8, 0.1], ["a", "a", "b"])
    >>> [str(name) for name in names], targets.tolist(), probabilities.round(3).tolist()
    (['a', 'b'], [1, 0], [0.6, 0.1])
    """
    labels, values = check_predictions(targets, probabilities)
    of_slice = group_names(groups, len(labels))
    unknown = np.count_nonzero(of_slice == "")
    if unknown:
        raise ValueError(f"{unknown} of {len(labels)} slices have no group; leave them out first")
    names, codes, sizes = np.unique(of_slice, return_inverse=True, return_counts=True)
    positives = np.bincount(codes, weights=labels)
    mixed = names[(positives > 0) & (positives < sizes)]
    if mixed.size:
        shown = ", ".join(repr(str(name)) for name in mixed[:5])
        raise ValueError(f"{mixed.size} groups have slices of both classes: {shown}")
    return (positives > 0).astype(np.int64), np.bincount(codes, weights=values) / sizes, names

"""Metrics of a binary classifier, with COVID-19 as the positive class (1).

Every metric in `METRICS` takes targets in {0, 1} and probabilities in [0, 1]. A slice is predicted
positive if its probability is at least the threshold. An undefined metric, such as the precision
if no slice was predicted positive, is NaN, never 0; `describe_undefined` returns the reason. The
values equal scikit-learn's wherever both are defined. They are computed here because
`weighted_scores` evaluates them on thousands of resamples at once.

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
from ._inputs import (
    Floats,
    Ints,
    as_array,
    check_fraction,
    check_labels,
    check_predictions,
    group_names,
)
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
    """Callable metric with its name, its title and the reason why it can be undefined.

    Parameters
    ----------
    name : str
        Key in `METRICS` and in dictionaries of scores.
    title : str
        Title in tables and figures.
    undefined : str, default=""
        Condition under which the metric is undefined; ``{unit}`` stands for the counted unit,
        such as slice or patient.
    greater_is_better : bool, default=True
        False for a loss, such as the Brier score.
    ranking : bool, default=False
        True if the metric depends on the order of the probabilities alone, such as the AUC.
    formula : callable
        Function from the weighted counts of predictions to the values of the metric.

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
    ranking: bool = False
    formula: Callable[[WeightedCounts], Floats] = field(kw_only=True, repr=False)

    def __call__(
        self, targets: npt.ArrayLike, probabilities: npt.ArrayLike, *, threshold: float = 0.5
    ) -> float:
        """Compute the metric.

        Parameters
        ----------
        targets : array-like of shape (n_slices,)
            True classes, 0 or 1.
        probabilities : array-like of shape (n_slices,)
            Predicted probabilities of COVID-19, in [0, 1].
        threshold : float, default=0.5
            Lowest probability that is predicted positive, in [0, 1]. The AUC, the average
            precision and the Brier score do not depend on it.

        Returns
        -------
        float
            Value of the metric, NaN if it is undefined.

        Raises
        ------
        ValueError
            If an array is empty, the arrays differ in length, or a value is outside its range.
        """
        labels, values = check_predictions(targets, probabilities)
        cutoff = check_fraction("threshold", threshold, closed=True)
        counts = WeightedCounts(labels, values, np.ones((1, len(labels))), cutoff)
        return float(self.formula(counts)[0])


def _mcc(c: WeightedCounts) -> Floats:
    spread = np.sqrt(c.positives * c.negatives * (c.tp + c.fp) * (c.tn + c.fn))
    return ratio(c.tp * c.tn - c.fp * c.fn, spread)


_ONE_CLASS = "all {unit}s are of one class"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "Accuracy", formula=lambda c: ratio(c.tp + c.tn, c.total)),
        Metric(
            "precision",
            "Precision",
            "no {unit} was predicted as COVID-19",
            formula=lambda c: ratio(c.tp, c.tp + c.fp),
        ),
        Metric(
            "recall",
            "Recall",
            "no {unit} is COVID-19",
            formula=lambda c: ratio(c.tp, c.positives),
        ),
        Metric(
            "specificity",
            "Specificity",
            "every {unit} is COVID-19",
            formula=lambda c: ratio(c.tn, c.negatives),
        ),
        Metric(
            "f1",
            "F1",
            "no {unit} is COVID-19 and no {unit} was predicted as COVID-19",
            formula=lambda c: ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn),
        ),
        # Mann-Whitney U statistic, divided by the number of pairs.
        Metric(
            "auc",
            "AUC",
            _ONE_CLASS,
            ranking=True,
            formula=lambda c: ratio(c.concordance, c.positives * c.negatives),
        ),
        # Step-wise, as in scikit-learn; the trapezoidal rule would be optimistic.
        Metric(
            "average_precision",
            "Average precision",
            "no {unit} is COVID-19",
            ranking=True,
            formula=lambda c: ratio(c.summed_precision, c.positives),
        ),
        Metric(
            "balanced_accuracy",
            "Balanced accuracy",
            _ONE_CLASS,
            formula=lambda c: (ratio(c.tp, c.positives) + ratio(c.tn, c.negatives)) / 2,
        ),
        Metric(
            "npv",
            "NPV",
            "no {unit} was predicted as non-COVID",
            formula=lambda c: ratio(c.tn, c.tn + c.fn),
        ),
        Metric("mcc", "MCC", f"{_ONE_CLASS}, or all were predicted as one class", formula=_mcc),
        Metric(
            "brier",
            "Brier score",
            greater_is_better=False,
            formula=lambda c: ratio(c.squared_error, c.total),
        ),
    )
}
"""All metrics by name, in the order of the tables."""

PAPER_METRICS = ("accuracy", "precision", "recall", "specificity", "f1")
"""Names of the five metrics in the paper's Table 2, in its order."""
TABLE_METRICS = (*PAPER_METRICS, "auc", "balanced_accuracy", "mcc")
"""Names of the metrics in a table of folds."""


def find_metric(name: str) -> Metric:
    """Return a metric by name.

    Parameters
    ----------
    name : str
        Key in `METRICS`.

    Returns
    -------
    Metric

    Raises
    ------
    UnknownNameError
        If `name` is not in `METRICS`; the message suggests the nearest name.

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
    folds: npt.ArrayLike | None = None,
    threshold: float = 0.5,
    names: Iterable[str] = tuple(METRICS),
) -> dict[str, Floats]:
    """Compute metrics of the same predictions under many weightings at once.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    weights : array-like of shape (n_weightings, n_slices)
        Weight of each slice in each weighting, not negative. For a bootstrap, this is how often
        a resample contains the slice.
    folds : array-like of shape (n_slices,), default=None
        Fold of each prediction. If given, a metric is the mean of its values in the folds, as in
        the tables, so that probabilities of different networks are never ranked together. Folds in
        which it is undefined are left out.
    threshold : float, default=0.5
        Lowest probability that is predicted positive, in [0, 1].
    names : iterable of str, default=all metrics
        Metrics to compute, keys in `METRICS`.

    Returns
    -------
    dict of str to ndarray of shape (n_weightings,)
        Values of each metric, NaN where it is undefined.

    Raises
    ------
    ValueError
        If the shapes do not match, or a target, probability, weight or the threshold is outside its
        range.
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
        raise ValueError(f"weights must have shape (n_weightings, {len(labels)}), got {rows.shape}")
    if not (rows >= 0).all():
        raise ValueError("weights must be finite and not negative")
    cutoff = check_fraction("threshold", threshold, closed=True)
    wanted = [find_metric(name) for name in names]
    fold_of = check_labels("folds", np.zeros(len(labels)) if folds is None else folds, len(labels))
    of_folds = []
    for number in np.unique(fold_of):
        part = np.flatnonzero(fold_of == number)
        counts = WeightedCounts(labels[part], values[part], rows[:, part], cutoff)
        of_folds.append([metric.formula(counts) for metric in wanted])
    means = map(_mean_of_defined, zip(*of_folds, strict=True))
    return dict(zip((metric.name for metric in wanted), means, strict=True))


def _mean_of_defined(values: Sequence[Floats]) -> Floats:
    """Average over the folds in which a metric is defined; NaN if it is defined in none."""
    stacked = np.stack(values)
    defined = np.isfinite(stacked)
    return ratio(stacked.sum(axis=0, where=defined), defined.sum(axis=0))


def score(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    threshold: float = 0.5,
    names: Iterable[str] = tuple(METRICS),
) -> dict[str, float]:
    """Compute metrics of a set of predictions.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    threshold : float, default=0.5
        Lowest probability that is predicted positive, in [0, 1].
    names : iterable of str, default=all metrics
        Metrics to compute, keys in `METRICS`.

    Returns
    -------
    dict of str to float
        Values as fractions, NaN where a metric is undefined.

    Raises
    ------
    ValueError
        If an array is empty, the arrays differ in length, or a value is outside its range.
    UnknownNameError
        If a metric is unknown.

    Examples
    --------
    >>> from covidct.evaluation.metrics import score
    >>> score([0, 1, 1], [0.2, 0.4, 0.8], names=["precision", "recall"])
    {'precision': 1.0, 'recall': 0.5}
    """
    weights = np.ones((1, as_array(targets).size))
    scores = weighted_scores(
        targets, probabilities, weights=weights, threshold=threshold, names=names
    )
    return {name: float(values[0]) for name, values in scores.items()}


def confusion_matrix(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, *, threshold: float = 0.5
) -> Ints:
    """Count slices by true class (rows) and predicted class (columns), non-COVID first.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    threshold : float, default=0.5
        Lowest probability that is predicted positive, in [0, 1].

    Returns
    -------
    ndarray of int64 of shape (2, 2)
        ``[[tn, fp], [fn, tp]]``, the layout of scikit-learn.

    Raises
    ------
    ValueError
        If an array is empty, the arrays differ in length, or a value is outside its range.

    Examples
    --------
    >>> from covidct.evaluation.metrics import confusion_matrix
    >>> confusion_matrix([0, 1, 1], [0.2, 0.4, 0.8])
    array([[1, 0],
           [1, 1]])
    """
    labels, values = check_predictions(targets, probabilities)
    predicted = values >= check_fraction("threshold", threshold, closed=True)
    return np.bincount(2 * labels + predicted, minlength=4).reshape(2, 2)


def describe_undefined(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    threshold: float = 0.5,
    unit: str = "slice",
) -> dict[str, str]:
    """Explain why metrics are undefined.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    threshold : float, default=0.5
        Lowest probability that is predicted positive, in [0, 1].
    unit : str, default="slice"
        Unit of one prediction, such as ``"slice"`` or ``"patient"``.

    Returns
    -------
    dict of str to str
        A sentence for each metric that is NaN; empty if all metrics are defined.

    Raises
    ------
    ValueError
        If an array is empty, the arrays differ in length, or a value is outside its range.

    Examples
    --------
    >>> from covidct.evaluation.metrics import describe_undefined
    >>> describe_undefined([0, 1, 1], [0.1, 0.2, 0.3])["precision"]
    'precision is undefined: no slice was predicted as COVID-19'
    """
    scores = score(targets, probabilities, threshold=threshold)
    return {
        name: f"{name} is undefined: {METRICS[name].undefined.format(unit=unit)}"
        for name, value in scores.items()
        if np.isnan(value)
    }


def summarize(scores: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Compute mean and sample standard deviation of each metric over the folds.

    The standard deviation has ddof=1. It measures how much folds differ and is not a confidence
    interval, for which see `covidct.evaluation.intervals`. Folds in which a metric is undefined
    are left out; `count_undefined` counts them.

    Parameters
    ----------
    scores : sequence of mapping
        Metrics of each fold, as returned by `score`, with the same names in every fold.

    Returns
    -------
    dict of str to (float, float)
        Mean and standard deviation. The mean is NaN if the metric is undefined in every fold,
        the standard deviation if it is defined in fewer than two.

    Raises
    ------
    ValueError
        If `scores` is empty, or if folds have different metrics.

    Examples
    --------
    >>> from covidct.evaluation.metrics import summarize
    >>> summarize([{"accuracy": 0.5}, {"accuracy": 1.0}])
    {'accuracy': (0.75, 0.3535533905932738)}
    """
    return {name: _spread(values[~np.isnan(values)]) for name, values in _columns(scores).items()}


def count_undefined(scores: Sequence[Mapping[str, float]]) -> dict[str, int]:
    """Count the folds in which each metric is undefined.

    Parameters
    ----------
    scores : sequence of mapping
        Metrics of each fold, as returned by `score`, with the same names in every fold.

    Returns
    -------
    dict of str to int
        Number of such folds, for each metric that is undefined in at least one fold.

    Raises
    ------
    ValueError
        If `scores` is empty, or if folds have different metrics.

    Examples
    --------
    >>> from covidct.evaluation.metrics import count_undefined
    >>> count_undefined([{"auc": float("nan"), "f1": 1.0}, {"auc": 0.5, "f1": 0.0}])
    {'auc': 1}
    """
    counts = {name: int(np.isnan(values).sum()) for name, values in _columns(scores).items()}
    return {name: count for name, count in counts.items() if count}


def undefined_notes(scores: Sequence[Mapping[str, float]]) -> list[str]:
    """Describe undefined metrics in sentences for the notes of a table.

    Parameters
    ----------
    scores : sequence of mapping
        Metrics of each fold, as returned by `score`, with the same names in every fold.

    Returns
    -------
    list of str
        A sentence for each metric that is undefined in at least one fold.

    Raises
    ------
    ValueError
        If `scores` is empty, or if folds have different metrics.

    Examples
    --------
    >>> from covidct.evaluation.metrics import undefined_notes
    >>> undefined_notes([{"auc": float("nan")}, {"auc": 0.5}])
    ['AUC is undefined (–) in 1 of 2 folds; the mean leaves these out.']
    """
    return [
        f"{METRICS[name].title} is undefined (–) in {count} of {len(scores)} folds; the mean "
        "leaves these out."
        for name, count in count_undefined(scores).items()
    ]


def _columns(scores: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    if not scores:
        raise ValueError("scores must contain at least one fold, got an empty sequence")
    names = list(scores[0])
    for number, fold in enumerate(scores):
        if set(fold) != set(names):
            unequal = ", ".join(sorted(set(fold) ^ set(names)))
            raise ValueError(f"fold {number} and fold 0 have different metrics: {unequal}")
    return {name: np.array([fold[name] for fold in scores], dtype=np.float64) for name in names}


def _spread(values: Floats) -> tuple[float, float]:
    mean = values.mean() if values.size else np.nan
    return float(mean), float(values.std(ddof=1) if values.size > 1 else np.nan)


def per_group(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, groups: npt.ArrayLike
) -> tuple[Ints, Floats, npt.NDArray[np.str_]]:
    """Average the predictions of each group of slices, such as a patient.

    A group with slices of both classes is positive: a patient with COVID-19 also has slices without
    a lesion.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    groups : array-like of shape (n_slices,)
        Name or number of each slice's group.

    Returns
    -------
    group_targets : ndarray of int64 of shape (n_groups,)
        True class of each group: 1 if any of its slices is 1.
    group_probabilities : ndarray of float64 of shape (n_groups,)
        Mean probability over the slices of each group.
    group_names : ndarray of str of shape (n_groups,)
        Names of the groups, sorted as text.

    Raises
    ------
    ValueError
        If a slice has no group, the arrays differ in length, or a value is outside its range.

    Examples
    --------
    >>> from covidct.evaluation.metrics import per_group
    >>> targets, probabilities, names = per_group([1, 0, 0], [0.4, 0.8, 0.1], ["a", "a", "b"])
    >>> [str(name) for name in names], targets.tolist(), probabilities.round(3).tolist()
    (['a', 'b'], [1, 0], [0.6, 0.1])
    """
    labels, values = check_predictions(targets, probabilities)
    of_slice = group_names(groups, len(labels))
    unknown = np.count_nonzero(of_slice == "")
    if unknown:
        raise ValueError(
            f"{unknown} of {len(labels)} slices have no group; leave them out, or give each a "
            "group of its own"
        )
    names, codes, sizes = np.unique(of_slice, return_inverse=True, return_counts=True)
    positives = np.bincount(codes, weights=labels)
    return (positives > 0).astype(np.int64), np.bincount(codes, weights=values) / sizes, names

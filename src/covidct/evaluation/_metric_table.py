"""The table of metrics: a name, a formula, and why it can be undefined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..errors import UnknownNameError
from ._inputs import Floats, check_fraction, check_predictions
from ._tallies import Tallies, ratio


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
    formula: Callable[[Tallies], Floats] = field(kw_only=True, repr=False)

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
        tallies = Tallies(labels, values, np.ones((1, len(labels))), cutoff)
        return float(self.formula(tallies)[0])


def _mcc(t: Tallies) -> Floats:
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
        error = UnknownNameError.among("metric", name, METRICS)
        raise error
    return METRICS[name]

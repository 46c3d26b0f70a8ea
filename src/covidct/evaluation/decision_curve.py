"""Net benefit of acting on a predicted probability: decision curve analysis.

Examples
--------
>>> from covidct.evaluation.decision_curve import net_benefit
>>> curve = net_benefit([0, 0, 1, 1] * 20, [0.1, 0.6, 0.7, 0.9] * 20, thresholds=[0.5])
>>> curve.model.round(3), curve.treat_all.round(3)
(array([0.25]), array([0.]))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._display import Displayed
from .._files import json_ready
from ._inputs import Floats, as_array, check_fraction, check_predictions, group_codes
from ._weighted_counts import ratio
from .intervals import cluster_bootstrap
from .tables import Table

__all__ = ["THRESHOLDS", "DecisionCurve", "net_benefit"]

THRESHOLDS = np.arange(1, 100) / 100
"""Default threshold probabilities of a decision curve: 0.01 to 0.99."""


@dataclass(frozen=True, eq=False, repr=False)
class DecisionCurve(Displayed):
    """Net benefit at each threshold probability.

    Attributes
    ----------
    thresholds : ndarray of shape (n_thresholds,)
        Threshold probabilities.
    model : ndarray of shape (n_thresholds,)
        Net benefit of treating those who are predicted positive at the threshold.
    low, high : ndarray of shape (n_thresholds,)
        Ends of the confidence interval of `model` at each threshold; NaN if there are fewer than
        ten groups.
    treat_all : ndarray of shape (n_thresholds,)
        Net benefit of treating all. That of treating none is 0.
    prevalence : float
        Share of COVID-19 for which the net benefits are computed.
    unit : str, default="slice"
        Unit of the predictions.
    """

    thresholds: Floats
    model: Floats
    low: Floats
    high: Floats
    treat_all: Floats
    prevalence: float
    unit: str = "slice"

    @property
    def useful(self) -> npt.NDArray[np.bool_]:
        """True at thresholds where the model is better than treating all and treating none."""
        return np.asarray(self.model > np.maximum(self.treat_all, 0) + 1e-12)

    @property
    def sentence(self) -> str:
        """Description of the useful thresholds in words."""
        useful = self.thresholds[self.useful]
        if not useful.size:
            return (
                f"Acting on the prediction is not better than treating every {self.unit} as "
                "COVID-19, or every one as non-COVID, at any threshold."
            )
        low, high = f"{100 * useful.min():.0f}", f"{100 * useful.max():.0f}"
        where = f"a threshold of {low} %" if low == high else f"thresholds from {low} to {high} %"
        k = int(np.argmin(np.abs(self.thresholds - np.median(useful))))
        gain = 100 * (self.model[k] - max(self.treat_all[k], 0.0))
        return (
            f"Acting on the prediction is better than treating all or none at {where}. At "
            f"{100 * self.thresholds[k]:.0f} %, for example, the gain equals {gain:.2g} more true "
            f"positives per 100 {self.unit}s without additional false positives."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values for JSON.

        Returns
        -------
        dict
            Undefined values are None.
        """
        names = ("thresholds", "model", "low", "high", "treat_all")
        content = {name: getattr(self, name).tolist() for name in names}
        ready: dict[str, Any] = json_ready(
            content | {"prevalence": self.prevalence, "unit": self.unit}
        )
        return ready

    def table(self) -> Table:
        """Return the net benefits at up to nine thresholds.

        Returns
        -------
        Table
            Net benefit of the model with its interval, of treating all and of treating none.
        """
        step = len(self.thresholds) // 10 + 1
        chosen = range(step - 1, len(self.thresholds), step)
        rows = [
            [
                f"{self.thresholds[k]:g}",
                f"{self.model[k]:.3f} ({_interval(self.low[k], self.high[k])})",
                f"{self.treat_all[k]:.3f}",
                "0",
            ]
            for k in chosen
        ]
        return Table(
            ["threshold", "model", "treat all", "treat none"],
            rows,
            caption=f"Net benefit per {self.unit}, where {100 * self.prevalence:.1f} % are "
            "COVID-19",
            notes=[self.sentence],
        )

    def __str__(self) -> str:
        return str(self.table())


def _interval(low: float, high: float) -> str:
    return "–" if np.isnan(low) else f"{low:.3f} to {high:.3f}"


def net_benefit(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    thresholds: npt.ArrayLike = THRESHOLDS,
    groups: npt.ArrayLike | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> DecisionCurve:
    r"""Compute the net benefit of a model, and of treating all.

    Parameters
    ----------
    targets : array-like of shape (n,)
        True classes, 0 or 1; both must occur.
    probabilities : array-like of shape (n,)
        Predicted probabilities of COVID-19, in [0, 1]. They should be calibrated, since a threshold
        is the probability of COVID-19 from which one would act.
    thresholds : array-like of shape (n_thresholds,), default=0.01 to 0.99 in steps of 0.01
        Threshold probabilities, in (0, 1).
    groups : array-like of shape (n,), default=None
        Group of each prediction, such as its patient, for the intervals. With the default, every
        prediction forms its own group.
    prevalence : float, optional
        Share of COVID-19 for which the net benefits are computed; `probabilities` must be
        calibrated for it as well. By default, that of `targets`.
    level : float, default=0.95
        Nominal coverage of the intervals, in (0, 1).
    n_resamples : int, default=2000
        Number of bootstrap resamples, at least 100.
    seed : int, default=0
        Random seed.

    Returns
    -------
    DecisionCurve

    Raises
    ------
    ValueError
        If a class is missing, the arrays differ in length, or a value is outside its range.

    Notes
    -----
    Acting at a probability of COVID-19 of t accepts up to (1 - t) / t unnecessary treatments for
    each necessary one. The net benefit [1]_ counts true positives, and subtracts false
    positives at this exchange rate:

    .. math:: \mathrm{NB}(t) = \pi\,\mathrm{sensitivity}(t)
              - (1 - \pi)\,(1 - \mathrm{specificity}(t)) \frac{t}{1 - t}

    where :math:`\pi` is the prevalence. Its unit is true positives per case. It is at most
    :math:`\pi`, and 0 if no one is treated.

    References
    ----------
    .. [1] Vickers, Elkin, "Decision curve analysis: a novel method for evaluating prediction
       models", Medical Decision Making 26 (2006) 565-574.

    Examples
    --------
    >>> from covidct.evaluation.decision_curve import net_benefit
    >>> targets, probabilities = [0, 0, 0, 1] * 20, [0.1, 0.2, 0.4, 0.9] * 20
    >>> curve = net_benefit(targets, probabilities, thresholds=[0.3, 0.8], prevalence=0.1)
    >>> curve.model.round(3), curve.treat_all.round(3)
    (array([-0.029,  0.1  ]), array([-0.286, -3.5  ]))
    """
    labels, values = check_predictions(targets, probabilities)
    if labels.min() == labels.max():
        raise ValueError(f"net benefit needs both classes, got class {labels[0]} only")
    cutoffs = np.atleast_1d(as_array(thresholds, np.float64))
    for cutoff in cutoffs:
        check_fraction("thresholds", float(cutoff))
    if prevalence is not None:
        check_fraction("prevalence", prevalence)
    odds = cutoffs / (1 - cutoffs)
    # One column per threshold: true positives, and false positives.
    predicted = values[:, None] >= cutoffs
    found = predicted * labels[:, None], predicted * (1 - labels)[:, None]
    true, false = (np.asarray(part, dtype=np.float64) for part in found)
    is_positive = labels.astype(np.float64)

    def of(weights: Floats) -> Floats:
        positives = weights @ is_positive
        negatives = weights.sum(axis=1) - positives
        share = positives / (positives + negatives) if prevalence is None else prevalence
        share = np.broadcast_to(share, positives.shape)[:, None]
        sensitivity = ratio(weights @ true, positives[:, None])
        fall_out = ratio(weights @ false, negatives[:, None])
        return np.asarray(share * sensitivity - (1 - share) * fall_out * odds)

    def statistic(weights: Floats) -> Mapping[str, Floats]:
        return {str(k): column for k, column in enumerate(of(weights).T)}

    ends = cluster_bootstrap(
        statistic,
        group_codes(groups, len(labels)),
        level=level,
        n_resamples=n_resamples,
        seed=seed,
    )
    low, high = np.array([ends[str(k)] for k in range(len(cutoffs))]).T
    share = float(labels.mean()) if prevalence is None else prevalence
    model = of(np.ones((1, len(labels))))[0]
    return DecisionCurve(cutoffs, model, low, high, share - (1 - share) * odds, share)

"""Rule that calibrates a predicted probability and decides by a threshold.

The same `DecisionRule` is evaluated on a run (`covidct.CrossValidationResult.operating_points`) and
applied to new slices (`covidct.Predictor`). It is applied to the probability of a slice, which is
the mean over the networks, or to that of a patient, which is the mean over networks and slices.

Examples
--------
>>> from covidct.evaluation.decision_rule import fit_rule
>>> rule = fit_rule([0, 0, 1, 1, 1], [0.1, 0.4, 0.3, 0.8, 0.9], sensitivity=0.6)
>>> rule.threshold, rule.decide([0.2, 0.85]).tolist()
(0.8, [False, True])
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from ._inputs import Floats, check_fraction, check_predictions
from .calibration import (
    Method,
    fit_recalibration,
    threshold_for_sensitivity,
    threshold_for_specificity,
)

__all__ = ["Criterion", "DecisionRule", "Unit", "fit_rule", "probability_logit"]

Unit = Literal["slice", "patient"]
"""Unit of the predictions to which a rule is applied."""

# The logits of 0 and 1 are infinite; probabilities are therefore clipped to [1e-12, 1 - 1e-12].
_NEAREST = 1e-12


def probability_logit(probabilities: npt.ArrayLike) -> Floats:
    """Compute the logits of probabilities; those of 0 and 1 are replaced by finite values.

    Parameters
    ----------
    probabilities : array-like
        Probabilities in [0, 1].

    Returns
    -------
    ndarray of float64
        Logits between -27.6 and 27.6.

    Examples
    --------
    >>> from covidct.evaluation.decision_rule import probability_logit
    >>> probability_logit([0.0, 0.5, 1.0]).round(1)
    array([-27.6,   0. ,  27.6])
    """
    values = np.clip(np.asarray(probabilities, dtype=np.float64), _NEAREST, 1 - _NEAREST)
    return np.asarray(special.logit(values))


@dataclass(frozen=True)
class Criterion:
    """Criterion by which a threshold is chosen.

    Parameters
    ----------
    kind : {"sensitivity", "specificity", "threshold"}
        Quantity that is fixed. ``"threshold"`` is the threshold itself.
    value : float
        Value of that quantity: a sensitivity or specificity in (0, 1], or a threshold in [0, 1].

    Raises
    ------
    ValueError
        If `kind` is unknown, or `value` is outside its range.

    Examples
    --------
    >>> from covidct.evaluation.decision_rule import Criterion
    >>> print(Criterion("sensitivity", 0.95))
    sensitivity 95 %
    """

    kind: Literal["sensitivity", "specificity", "threshold"]
    value: float

    def __post_init__(self) -> None:
        if self.kind not in ("sensitivity", "specificity", "threshold"):
            raise ValueError(
                f"kind must be 'sensitivity', 'specificity' or 'threshold', got {self.kind!r}"
            )
        if self.value != 1:
            check_fraction(self.kind, self.value, closed=self.kind == "threshold")

    def choose(self, targets: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
        """Return the threshold that meets the criterion on given predictions.

        Parameters
        ----------
        targets : array-like of shape (n,)
            True classes, 0 or 1.
        probabilities : array-like of shape (n,)
            Predicted probabilities of COVID-19, in [0, 1].

        Returns
        -------
        float
            Threshold in [0, 1].
        """
        if self.kind == "sensitivity":
            return threshold_for_sensitivity(targets, probabilities, self.value)
        if self.kind == "specificity":
            return threshold_for_specificity(targets, probabilities, self.value)
        return self.value

    def __str__(self) -> str:
        if self.kind == "threshold":
            return f"threshold {self.value:g}"
        return f"{self.kind} {100 * self.value:g} %"


@dataclass(frozen=True)
class DecisionRule:
    """Calibration and threshold of a predicted probability.

    A probability p is calibrated to ``expit(slope * logit(p) + intercept)``, and is positive if the
    calibrated probability is at least the threshold.

    Parameters
    ----------
    slope : float, default=1.0
        Factor of the logit, positive; 1 / temperature.
    intercept : float, default=0.0
        Constant that is added to the logit.
    threshold : float, default=0.5
        Lowest calibrated probability that is positive, in [0, 1].
    per : {"slice", "patient"}, default="slice"
        Unit of the predictions to which the rule was fitted and is applied. Volumes are treated as
        patients.
    prevalence : float or None, default=None
        Share of COVID-19 for which the probability is calibrated; None if it was not calibrated.

    Raises
    ------
    ValueError
        If a value is outside its range.

    Examples
    --------
    >>> from covidct.evaluation.decision_rule import DecisionRule
    >>> rule = DecisionRule(slope=0.5, threshold=0.8)
    >>> rule.calibrate([0.5, 0.9]).round(2).tolist(), rule.decide([0.5, 0.95]).tolist()
    ([0.5, 0.75], [False, True])
    """

    slope: float = 1.0
    intercept: float = 0.0
    threshold: float = 0.5
    per: Unit = "slice"
    prevalence: float | None = None

    def __post_init__(self) -> None:
        if not (0 < self.slope < np.inf):
            raise ValueError(f"slope must be positive and finite, got {self.slope!r}")
        if not np.isfinite(self.intercept):
            raise ValueError(f"intercept must be finite, got {self.intercept!r}")
        check_fraction("threshold", self.threshold, closed=True)
        if self.per not in ("slice", "patient"):
            raise ValueError(f"per must be 'slice' or 'patient', got {self.per!r}")
        if self.prevalence is not None:
            check_fraction("prevalence", self.prevalence)

    @property
    def calibrates(self) -> bool:
        """True if the rule changes probabilities."""
        return (self.slope, self.intercept) != (1, 0)

    def calibrate(self, probabilities: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities.

        Parameters
        ----------
        probabilities : array-like
            Predicted probabilities of COVID-19, in [0, 1]; NaN stays NaN.

        Returns
        -------
        ndarray of float64
            Calibrated probabilities; unchanged if the slope is 1 and the intercept is 0.
        """
        values = np.asarray(probabilities, dtype=np.float64)
        if not self.calibrates:
            return values
        return np.asarray(special.expit(self.slope * probability_logit(values) + self.intercept))

    def decide(self, probabilities: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Decide which predictions are positive.

        Parameters
        ----------
        probabilities : array-like
            Predicted probabilities of COVID-19, in [0, 1], before calibration.

        Returns
        -------
        ndarray of bool
            True if the calibrated probability is at least the threshold; False if it is NaN.
        """
        return np.asarray(self.calibrate(probabilities) >= self.threshold)

    def at_prevalence(self, prevalence: float) -> DecisionRule:
        """Recalibrate the rule to another share of COVID-19.

        The threshold of the calibrated probability does not change.

        Parameters
        ----------
        prevalence : float
            Share of COVID-19 among the new cases, in (0, 1).

        Returns
        -------
        DecisionRule
            Rule with a different intercept.

        Raises
        ------
        ValueError
            If the rule is not calibrated, or `prevalence` is outside (0, 1).

        Notes
        -----
        By Bayes' rule, the logit changes by the difference of the logits of both prevalences [1]_,
        provided that COVID-19 slices, and non-COVID slices, look the same at both places.

        References
        ----------
        .. [1] Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a
           priori probabilities", Neural Computation 14 (2002) 21-41.

        Examples
        --------
        >>> from covidct.evaluation.decision_rule import DecisionRule
        >>> rule = DecisionRule(prevalence=0.5).at_prevalence(0.1)
        >>> rule.calibrate([0.5]).round(3)
        array([0.1])
        """
        if self.prevalence is None:
            raise ValueError(
                "another prevalence needs a calibrated rule; fit it with calibrate=True"
            )
        check_fraction("prevalence", prevalence)
        shift = special.logit(prevalence) - special.logit(self.prevalence)
        return replace(self, intercept=float(self.intercept + shift), prevalence=prevalence)


def fit_rule(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    calibrate: bool | Method = False,
    sensitivity: float | None = None,
    specificity: float | None = None,
    threshold: float | None = None,
    prevalence: float | None = None,
    per: Unit = "slice",
) -> DecisionRule:
    """Fit calibration and threshold to predictions with known classes.

    Parameters
    ----------
    targets : array-like of shape (n,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n,)
        Predicted probabilities of COVID-19, in [0, 1], of slices or patients on which the networks
        were not trained.
    calibrate : bool or {"temperature", "platt"}, default=False
        Calibration of the probability; True for ``"platt"``. See
        `covidct.evaluation.calibration.fit_recalibration`.
    sensitivity, specificity, threshold : float, optional
        One of these: target sensitivity or specificity in (0, 1], or the threshold of the
        calibrated probability in [0, 1]. By default, the threshold is 0.5.
    prevalence : float, optional
        Share of COVID-19 where the rule will be used, in (0, 1); needs `calibrate`. By default,
        that of `targets`.
    per : {"slice", "patient"}, default="slice"
        Unit of the predictions.

    Returns
    -------
    DecisionRule

    Raises
    ------
    ValueError
        If more than one of `sensitivity`, `specificity` and `threshold` is given, `prevalence` is
        given without `calibrate`, a class is missing that is needed, the arrays differ in length,
        or a value is outside its range.

    Examples
    --------
    >>> from covidct.evaluation.decision_rule import fit_rule
    >>> targets, probabilities = [1] * 9 + [0] * 10 + [1], [0.98] * 10 + [0.02] * 10
    >>> rule = fit_rule(targets, probabilities, calibrate="temperature")
    >>> rule.calibrate([0.98]).round(2)
    array([0.9])
    """
    labels, values = check_predictions(targets, probabilities)
    criterion = _find_criterion(
        sensitivity=sensitivity, specificity=specificity, threshold=threshold
    )
    if prevalence is not None and not calibrate:
        raise ValueError("prevalence needs calibrated probabilities: set calibrate=True")
    rule = DecisionRule(per=per)
    if calibrate:
        method: Method = "platt" if calibrate is True else calibrate
        slope, intercept = fit_recalibration(probability_logit(values), labels, method=method)
        rule = replace(rule, slope=slope, intercept=intercept, prevalence=float(labels.mean()))
        if prevalence is not None:
            rule = rule.at_prevalence(prevalence)
    return replace(rule, threshold=criterion.choose(labels, rule.calibrate(values)))


def _find_criterion(**options: float | None) -> Criterion:
    """Return the one criterion that is given, or a threshold of 0.5."""
    given = {kind: value for kind, value in options.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"give only one of {', '.join(options)}, got {' and '.join(given)}")
    ((kind, value),) = given.items() or {"threshold": 0.5}.items()
    return Criterion(kind, value)  # type: ignore[arg-type]  # checked by __post_init__

"""Calibration of probabilities, and thresholds for a target sensitivity.

Temperature and threshold are fitted, so they must not be evaluated on the slices that they were
fitted on. `cross_fit` fits them for each fold on the out-of-fold predictions of the other folds, or
on the predictions of a validation part. `covidct.CrossValidationResult.calibrate` does this for a
run.

Examples
--------
>>> import numpy as np
>>> from covidct.evaluation import calibration
>>> rng = np.random.default_rng(0)
>>> targets = rng.integers(2, size=20_000)
>>> logits = rng.normal(2 * targets - 1, 2)    # twice the calibrated logits
>>> round(calibration.fit_temperature(logits, targets), 1)
2.0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from .._checks import whole
from ._inputs import (
    Floats,
    Ints,
    check_finite,
    check_fraction,
    check_labels,
    check_predictions,
    check_targets,
    group_codes,
)
from .intervals import MIN_GROUPS, Interval
from .metrics import score

__all__ = [
    "TEMPERATURE_BOUNDS",
    "CrossFit",
    "LogisticCalibration",
    "Method",
    "ReliabilityCurve",
    "cross_fit",
    "expected_calibration_error",
    "fit_recalibration",
    "fit_temperature",
    "logistic_calibration",
    "reliability_curve",
    "threshold_for_sensitivity",
    "threshold_for_specificity",
]

TEMPERATURE_BOUNDS = (0.05, 20.0)
"""Bounds of the search in `fit_temperature`. Without them, the temperature would be 0 for logits
that separate the classes and infinite for uninformative logits."""

Strategy = Literal["uniform", "quantile"]

Method = Literal["temperature", "platt"]
"""Method of recalibration: a factor of the logit, or a factor and a constant."""


class ReliabilityCurve(NamedTuple):
    """Predicted probability and observed frequency in bins; NaN in empty bins.

    Attributes
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Edges of the bins.
    probability : ndarray of shape (n_bins,)
        Mean predicted probability.
    observed : ndarray of shape (n_bins,)
        Share of slices that are COVID-19.
    counts : ndarray of int64 of shape (n_bins,)
        Number of slices.
    """

    edges: Floats
    probability: Floats
    observed: Floats
    counts: Ints


def reliability_curve(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    n_bins: int = 10,
    strategy: Strategy = "uniform",
) -> ReliabilityCurve:
    """Compute the mean probability and the share of COVID-19 in bins of the probability.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    n_bins : int, default=10
        Number of bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or bins of about equal counts. Tied probabilities can reduce the
        number of the latter.

    Returns
    -------
    ReliabilityCurve

    Raises
    ------
    ValueError
        If the arrays differ in length, a value is outside its range, `n_bins` is below 1, or
        `strategy` is unknown.

    Examples
    --------
    >>> from covidct.evaluation.calibration import reliability_curve
    >>> curve = reliability_curve([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], n_bins=2)
    >>> curve.probability.round(2).tolist(), curve.observed.tolist(), curve.counts.tolist()
    ([0.15, 0.8], [0.0, 1.0], [2, 2])
    """
    labels, values = check_predictions(targets, probabilities)
    whole("n_bins", n_bins)
    if strategy not in ("uniform", "quantile"):
        raise ValueError(f"strategy must be 'uniform' or 'quantile', got {strategy!r}")
    steps = np.linspace(0, 1, n_bins + 1)
    edges = steps if strategy == "uniform" else _quantile_edges(values, steps)
    bins = np.searchsorted(edges[1:-1], values, side="right")
    counts = np.bincount(bins, minlength=len(edges) - 1)
    with np.errstate(invalid="ignore"):  # 0/0 in an empty bin gives NaN
        probability, observed = (
            np.bincount(bins, weights=of, minlength=len(counts)) / counts for of in (values, labels)
        )
    return ReliabilityCurve(edges, probability, observed, counts)


def _quantile_edges(values: Floats, steps: Floats) -> Floats:
    inner = np.unique(np.quantile(values, steps[1:-1]))
    return np.concatenate([[0.0], inner[(inner > 0) & (inner < 1)], [1.0]])


def expected_calibration_error(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    n_bins: int = 10,
    strategy: Strategy = "uniform",
) -> float:
    """Compute the expected calibration error.

    This is the mean absolute difference between predicted probability and observed share of
    COVID-19 over the bins of `reliability_curve`, weighted by their counts [1]_.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    n_bins : int, default=10
        Number of bins, at least 1. The error depends on it and is biased upwards if bins contain
        few slices; compare only values of equal settings and similar numbers of slices.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or bins of about equal counts.

    Returns
    -------
    float
        Expected calibration error, in [0, 1].

    Raises
    ------
    ValueError
        If the arrays differ in length, a value is outside its range, `n_bins` is below 1, or
        `strategy` is unknown.

    References
    ----------
    .. [1] Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
       binning", AAAI (2015) 2901-2907.

    Examples
    --------
    >>> from covidct.evaluation.calibration import expected_calibration_error
    >>> round(expected_calibration_error([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9]), 3)
    0.175
    """
    curve = reliability_curve(targets, probabilities, n_bins=n_bins, strategy=strategy)
    filled = curve.counts > 0
    gaps = np.abs(curve.observed - curve.probability)[filled]
    return float(np.average(gaps, weights=curve.counts[filled]))


def fit_temperature(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Fit the temperature T for which logits / T are calibrated.

    Parameters
    ----------
    logits : array-like of shape (n_slices,)
        Predicted logits, finite.
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1; both must occur.

    Returns
    -------
    float
        Temperature within `TEMPERATURE_BOUNDS`. It is above 1 if the model is overconfident.
        Dividing by it changes neither the ranking nor the predicted classes at a threshold of 0.5.

    Raises
    ------
    ValueError
        If all targets are of one class, a logit is not finite, or the arrays differ in length.

    Notes
    -----
    T minimizes the negative log-likelihood [1]_, which is convex in 1/T. If the logits separate
    the classes, the likelihood grows as T approaches 0, and the lower bound is returned.

    References
    ----------
    .. [1] Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML (2017)
       1321-1330.

    Examples
    --------
    >>> from covidct.evaluation.calibration import fit_temperature
    >>> logits = [4.0] * 10 + [-4.0] * 10
    >>> targets = [1] * 9 + [0] * 10 + [1]    # 10 % are wrong: calibrated logits are 2.2
    >>> round(fit_temperature(logits, targets), 2)
    1.82
    """
    labels = check_targets(targets)
    margins = check_finite("logits", logits, len(labels)) * (2 * labels - 1)
    if labels.min() == labels.max():
        raise ValueError(f"a temperature needs slices of both classes, got class {labels[0]} only")

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -margins / np.exp(log_temperature)).mean())

    bounds = np.log(TEMPERATURE_BOUNDS)
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    # The bounded search never returns the bounds themselves, and T = 1 wins ties.
    best = min((0.0, float(found.x), *bounds), key=loss)
    return float(np.exp(best))


def fit_recalibration(
    logits: npt.ArrayLike, targets: npt.ArrayLike, *, method: Method = "temperature"
) -> tuple[float, float]:
    """Fit the slope and intercept for which ``slope * logits + intercept`` is calibrated.

    Parameters
    ----------
    logits : array-like of shape (n_slices,)
        Predicted logits, finite.
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1; both must occur.
    method : {"temperature", "platt"}, default="temperature"
        ``"temperature"`` fits the slope, 1 / `fit_temperature`, with an intercept of 0, which
        leaves the predicted classes at a threshold of 0.5 unchanged. ``"platt"`` fits both [1]_. It
        also corrects probabilities that are too high or too low on average, as means over the
        slices of a patient may be.

    Returns
    -------
    slope : float
        Slope in [0.05, 20], the range of the inverse of `TEMPERATURE_BOUNDS`.
    intercept : float
        Intercept; 0 with ``"temperature"``.

    Raises
    ------
    ValueError
        If `method` is unknown, all targets are of one class, a logit is not finite, or the arrays
        differ in length.

    Notes
    -----
    Both minimize the negative log-likelihood. Platt's smoothed targets are not used: the bound of
    the slope keeps the fit finite if the logits separate the classes.

    References
    ----------
    .. [1] Platt, "Probabilistic outputs for support vector machines", in "Advances in large margin
       classifiers", MIT Press (1999) 61-74.

    Examples
    --------
    >>> from covidct.evaluation.calibration import fit_recalibration
    >>> logits, targets = [2.0] * 10 + [-2.0] * 10, [1] * 8 + [0] * 12
    >>> slope, intercept = fit_recalibration(logits, targets, method="platt")
    >>> round(2 * slope + intercept, 2)    # 80 % of the slices with a logit of 2 are positive
    1.39
    """
    if method not in ("temperature", "platt"):
        raise ValueError(f"method must be 'temperature' or 'platt', got {method!r}")
    slope = 1 / fit_temperature(logits, targets)
    if method == "temperature":
        return slope, 0.0
    labels = check_targets(targets)
    values = check_finite("logits", logits, len(labels))

    def loss(line: Floats) -> tuple[float, Floats]:
        z = line[0] * values + line[1]
        residuals = special.expit(z) - labels
        value = np.logaddexp(0, z) - labels * z
        return float(value.mean()), np.array([np.mean(residuals * values), residuals.mean()])

    low, high = 1 / TEMPERATURE_BOUNDS[1], 1 / TEMPERATURE_BOUNDS[0]
    found = optimize.minimize(
        loss,
        np.array([slope, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(low, high), (None, None)],
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    return float(found.x[0]), float(found.x[1])


def threshold_for_sensitivity(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, sensitivity: float
) -> float:
    """Find the highest threshold that reaches a target sensitivity.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1; at least one must be 1.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    sensitivity : float
        Target sensitivity, in (0, 1].

    Returns
    -------
    float
        Threshold in [0, 1], equal to the probability of one of the positives.

    Raises
    ------
    ValueError
        If there is no positive, the arrays differ in length, or a value is outside its range.

    Examples
    --------
    >>> from covidct.evaluation.calibration import threshold_for_sensitivity
    >>> threshold_for_sensitivity([0, 1, 1, 1, 1], [0.3, 0.2, 0.6, 0.8, 0.9], 0.75)
    0.6
    """
    labels, values = check_predictions(targets, probabilities)
    if sensitivity != 1:
        check_fraction("sensitivity", sensitivity)
    positives = np.sort(values[labels == 1])[::-1]
    if not positives.size:
        raise ValueError("a threshold for a sensitivity needs at least one positive slice, got 0")
    # The tolerance keeps a product such as 0.9 * 10 from being rounded up past 9.
    needed = int(np.ceil(sensitivity * len(positives) - 1e-9))
    return float(positives[max(needed, 1) - 1])


def threshold_for_specificity(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, specificity: float
) -> float:
    """Find the lowest threshold that reaches a target specificity.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1; at least one must be 0.
    probabilities : array-like of shape (n_slices,)
        Predicted probabilities of COVID-19, in [0, 1].
    specificity : float
        Target specificity, in (0, 1].

    Returns
    -------
    float
        Threshold in [0, 1]: the floating-point number after the probability of one of the
        negatives. If that probability is 1, the threshold is 1 and the specificity is not reached.

    Raises
    ------
    ValueError
        If there is no negative, the arrays differ in length, or a value is outside its range.

    Examples
    --------
    >>> from covidct.evaluation.calibration import threshold_for_specificity
    >>> round(threshold_for_specificity([0, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.9, 0.8], 0.75), 3)
    0.3
    """
    labels, values = check_predictions(targets, probabilities)
    if specificity != 1:
        check_fraction("specificity", specificity)
    negatives = np.sort(values[labels == 0])
    if not negatives.size:
        raise ValueError("a threshold for a specificity needs at least one negative slice, got 0")
    needed = int(np.ceil(specificity * len(negatives) - 1e-9))
    return float(min(np.nextafter(negatives[max(needed, 1) - 1], 2), 1))


@dataclass(frozen=True)
class LogisticCalibration:
    """Calibration slope and intercept of predictions, with their confidence intervals.

    Attributes
    ----------
    slope : float
        Calibration slope: 1 if calibrated, below 1 if probabilities are too extreme
        (overconfident), above 1 if they are too moderate.
    intercept : float
        Calibration in the large: 0 if calibrated, negative if probabilities are too high on
        average, positive if they are too low.
    slope_interval, intercept_interval : Interval
        Confidence intervals.
    """

    slope: float
    intercept: float
    slope_interval: Interval
    intercept_interval: Interval

    def __str__(self) -> str:
        return f"slope {self.slope_text}, intercept {self.intercept_text}"

    @property
    def slope_text(self) -> str:
        """Slope with its interval, as text."""
        return _with_interval(self.slope, self.slope_interval)

    @property
    def intercept_text(self) -> str:
        """Intercept with its interval, as text."""
        return _with_interval(self.intercept, self.intercept_interval)


def _with_interval(value: float, ends: Interval) -> str:
    if np.isnan(value):
        return "–"
    shown = "–" if np.isnan(ends.low) else f"{ends.low:z.2f} to {ends.high:z.2f}"
    return f"{value:z.2f} ({shown})"


def logistic_calibration(
    targets: npt.ArrayLike,
    logits: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> LogisticCalibration:
    r"""Compute calibration slope and intercept with intervals that respect groups.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    logits : array-like of shape (n_slices,)
        Predicted logits, finite.
    groups : array-like of shape (n_slices,), default=None
        Group of each slice, such as its patient. A slice of unknown group (empty, None, NaN) forms
        its own group. With the default, every slice does.
    level : float, default=0.95
        Nominal coverage, in (0, 1).

    Returns
    -------
    LogisticCalibration
        NaN if a class is missing or the logits separate the classes. The intervals are NaN if
        there are fewer than ten groups.

    Raises
    ------
    ValueError
        If a logit is not finite, the arrays differ in length, or `level` is outside (0, 1).

    Notes
    -----
    The slope b is that of the logistic regression :math:`\mathrm{logit} P(y = 1) = a + b l` on the
    predicted logit l [1]_; the intercept is a with b fixed at 1 [2]_. The intervals are from the
    cluster-robust (sandwich) covariance with the correction :math:`G (n - 1) / ((G - 1)(n - k))`
    of statsmodels for G groups and k coefficients, and from Student's t with G - 1 degrees of
    freedom.

    References
    ----------
    .. [1] Cox, "Two further applications of a model for binary regression", Biometrika 45 (1958)
       562-565.
    .. [2] Van Calster et al., "Calibration: the Achilles heel of predictive analytics", BMC
       Medicine 17 (2019) 230.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.evaluation.calibration import logistic_calibration
    >>> rng = np.random.default_rng(0)
    >>> targets = rng.integers(2, size=2000)
    >>> found = logistic_calibration(targets, rng.normal(2 * targets - 1, 2))
    >>> print(found)    # the logits are about twice the calibrated ones
    slope 0.52 (0.47 to 0.57), intercept 0.18 (0.04 to 0.33)
    """
    labels = check_targets(targets)
    values = check_finite("logits", logits, len(labels))
    codes = group_codes(groups, len(labels))
    check_fraction("level", level)
    line = _robust_logistic(np.column_stack([values, np.ones(len(values))]), labels, codes, level)
    large = _robust_logistic(np.ones((len(values), 1)), labels, codes, level, offset=values)
    (slope, slope_ends), (intercept, intercept_ends) = line, large
    return LogisticCalibration(slope, intercept, slope_ends, intercept_ends)


def _robust_logistic(
    design: Floats, labels: Ints, codes: Ints, level: float, *, offset: Floats | float = 0.0
) -> tuple[float, Interval]:
    """Fit a logistic regression; return the first coefficient and its cluster-robust interval."""
    undefined = Interval(np.nan, np.nan, reason="the regression has no finite solution")
    n, k = design.shape
    beta = np.zeros(k)
    if labels.min() == labels.max():
        return np.nan, undefined

    def loss(beta: Floats) -> float:
        z = design @ beta + offset
        return float(np.sum(np.logaddexp(0, z) - labels * z))

    for _ in range(100):
        shares = special.expit(design @ beta + offset)
        information = (design * (shares * (1 - shares))[:, None]).T @ design
        # Logits that separate the classes, or are all equal, leave no information.
        if np.linalg.cond(information) > 1e12:
            return np.nan, undefined
        step = np.linalg.solve(information, design.T @ (labels - shares))
        size = 1.0
        while loss(beta + size * step) > loss(beta) + 1e-9 and size > 1e-6:
            size /= 2
        beta = beta + size * step
        if np.abs(size * step).max() < 1e-10:
            break
    shares = special.expit(design @ beta + offset)
    if np.minimum(shares, 1 - shares).max() < 1e-6:
        return np.nan, undefined
    groups = int(codes.max()) + 1
    if groups < MIN_GROUPS:
        return float(beta[0]), Interval(
            np.nan, np.nan, reason=f"there are fewer than {MIN_GROUPS} {{unit}}s"
        )
    scores = np.zeros((groups, k))
    np.add.at(scores, codes, design * (labels - shares)[:, None])
    inverse = np.linalg.inv((design * (shares * (1 - shares))[:, None]).T @ design)
    correction = groups / (groups - 1) * (n - 1) / (n - k)
    variance = correction * (inverse @ scores.T @ scores @ inverse)[0, 0]
    half = special.stdtrit(groups - 1, (1 + level) / 2) * np.sqrt(variance)
    return float(beta[0]), Interval(float(beta[0] - half), float(beta[0] + half), method="sandwich")


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Result of `cross_fit`.

    Attributes
    ----------
    folds : ndarray of shape (n_folds,)
        Fold numbers, sorted.
    slopes, intercepts : ndarray of shape (n_folds,)
        Recalibration of the logit, fitted without the fold.
    thresholds : ndarray of shape (n_folds,)
        Thresholds of the calibrated probability, fitted without the fold.
    sensitivities, specificities : ndarray of shape (n_folds,)
        Values reached in the fold at its threshold; NaN if a class is missing.
    probabilities : ndarray of shape (n_slices,)
        Calibrated probabilities.
    predicted : ndarray of bool of shape (n_slices,)
        True for slices that are predicted positive at the threshold of their fold.
    """

    folds: Ints
    slopes: Floats
    intercepts: Floats
    thresholds: Floats
    sensitivities: Floats
    specificities: Floats
    probabilities: Floats
    predicted: npt.NDArray[np.bool_]

    @property
    def temperatures(self) -> Floats:
        """Temperatures, the inverse of the slopes."""
        return 1 / self.slopes


def cross_fit(
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    folds: npt.ArrayLike,
    sensitivity: float = 0.95,
    method: Method = "temperature",
    slices: npt.ArrayLike | None = None,
    fitted_on: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None,
) -> CrossFit:
    """Fit calibration and threshold of each fold without the labels of that fold.

    By default, a fold is fitted on the out-of-fold predictions of the other folds. This leaves a
    small optimism, since the models of those folds were trained on the slices of this fold.

    Parameters
    ----------
    logits : array-like of shape (n_slices,)
        Out-of-fold logits, finite.
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    folds : array-like of shape (n_slices,)
        Fold of each prediction.
    sensitivity : float, default=0.95
        Target sensitivity, in (0, 1].
    method : {"temperature", "platt"}, default="temperature"
        Method of `fit_recalibration`.
    slices : array-like of shape (n_slices,), default=None
        Identity of the slice of each prediction. It is required for repeated cross-validation, to
        exclude the slices of a fold that recur in other folds. By default, all predictions are of
        different slices.
    fitted_on : tuple of (logits, targets, folds), default=None
        Predictions of other slices, such as a validation part. Each fold is then fitted on those
        with its own fold number.

    Returns
    -------
    CrossFit

    Raises
    ------
    ValueError
        If there are no predictions of both classes on which a fold can be fitted, a logit is not
        finite, `method` is unknown, the arrays differ in length, or `sensitivity` is outside (0,
        1].

    Examples
    --------
    >>> from covidct.evaluation.calibration import cross_fit
    >>> logits, targets = [2.0, 1.0, -1.0, -3.0] * 2, [1, 1, 0, 1] + [1, 0, 0, 0]
    >>> fit = cross_fit(logits, targets, folds=[0] * 4 + [1] * 4, sensitivity=1.0)
    >>> fit.sensitivities, fit.specificities
    (array([0.33333333, 1.        ]), array([1., 0.]))
    """
    labels, values, fold_of = own = _check_logits(logits, targets, folds)
    known = own if fitted_on is None else _check_logits(*fitted_on)
    slice_of = (
        np.arange(len(labels)) if slices is None else check_labels("slices", slices, len(labels))
    )
    numbers = np.unique(fold_of)
    probabilities = np.empty(len(labels))
    predicted = np.empty(len(labels), dtype=bool)
    fitted = np.empty((5, len(numbers)))
    for column, number in enumerate(numbers):
        held = fold_of == number
        chosen = known[2] == number
        if fitted_on is None:
            chosen = ~held & ~np.isin(slice_of, slice_of[held])
        slope, intercept, threshold = _fit(
            known[1][chosen], known[0][chosen], sensitivity, method=method, fold=str(number)
        )
        probabilities[held] = special.expit(slope * values[held] + intercept)
        predicted[held] = probabilities[held] >= threshold
        judged = labels[held], probabilities[held]
        achieved = score(*judged, threshold=threshold, names=["recall", "specificity"])
        fitted[:, column] = slope, intercept, threshold, *achieved.values()
    slopes, intercepts, thresholds, sensitivities, specificities = fitted
    return CrossFit(
        numbers,
        slopes,
        intercepts,
        thresholds,
        sensitivities,
        specificities,
        probabilities,
        predicted,
    )


def _fit(
    logits: Floats, labels: Ints, sensitivity: float, *, method: Method, fold: str
) -> tuple[float, float, float]:
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"fold {fold} cannot be calibrated: there are no predictions of both classes from "
            "other slices; use more folds or a validation part"
        )
    slope, intercept = fit_recalibration(logits, labels, method=method)
    calibrated = special.expit(slope * logits + intercept)
    return slope, intercept, threshold_for_sensitivity(labels, calibrated, sensitivity)


def _check_logits(
    logits: npt.ArrayLike, targets: npt.ArrayLike, folds: npt.ArrayLike
) -> tuple[Ints, Floats, npt.NDArray[np.generic]]:
    labels = check_targets(targets)
    values = check_finite("logits", logits, len(labels))
    return labels, values, check_labels("folds", folds, len(labels))

"""Make probabilities mean what they say, and find the threshold for a wished sensitivity.

Temperature and threshold are fitted, so they must never see the slices on which they are judged:
`cross_fit` fits them for each fold on the out-of-fold predictions of the others, or on those of a
validation part. `covidct.CrossValidationResult.calibrate` does so for a run.

Examples
--------
>>> import numpy as np
>>> from covidct.evaluation import calibration
>>> rng = np.random.default_rng(0)
>>> targets = rng.integers(2, size=20_000)
>>> logits = rng.normal(2 * targets - 1, 2)    # the right logit is half of it
>>> round(calibration.fit_temperature(logits, targets), 1)
2.0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from ._inputs import (
    Floats,
    Ints,
    check_finite,
    check_fraction,
    check_labels,
    check_predictions,
    check_targets,
)
from .metrics import score

__all__ = [
    "TEMPERATURE_BOUNDS",
    "CrossFit",
    "ReliabilityCurve",
    "cross_fit",
    "expected_calibration_error",
    "fit_temperature",
    "reliability_curve",
    "threshold_for_sensitivity",
]

TEMPERATURE_BOUNDS = (0.05, 20.0)
"""Where `fit_temperature` searches: classes that the logits separate would ask for 0, logits that
say nothing for infinity."""

Strategy = Literal["uniform", "quantile"]


class ReliabilityCurve(NamedTuple):
    """Predictions in B bins; what is NaN lies in an empty bin.

    Attributes
    ----------
    edges
        (B + 1,) ends of the bins.
    probability
        (B,) mean probabilities.
    observed
        (B,) shares of COVID-19.
    counts
        (B,) numbers of slices.
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
    """Compare the mean probability with the share of COVID-19, bin by bin.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities
        (N,), in [0, 1].
    n_bins
        At least 1.
    strategy
        ``"uniform"``: bins of equal width; ``"quantile"``: of about equal counts, fewer where
        probabilities are tied.

    Returns
    -------
    ReliabilityCurve

    Raises
    ------
    ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from covidct.evaluation.calibration import reliability_curve
    >>> curve = reliability_curve([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], n_bins=2)
    >>> curve.probability.round(2).tolist(), curve.observed.tolist(), curve.counts.tolist()
    ([0.15, 0.8], [0.0, 1.0], [2, 2])
    """
    labels, values = check_predictions(targets, probabilities)
    if n_bins < 1:
        raise ValueError(f"n_bins must be positive, got {n_bins!r}")
    if strategy not in ("uniform", "quantile"):
        raise ValueError(f"strategy must be 'uniform' or 'quantile', got {strategy!r}")
    steps = np.linspace(0, 1, n_bins + 1)
    edges = steps if strategy == "uniform" else _quantile_edges(values, steps)
    bins = np.searchsorted(edges[1:-1], values, side="right")
    counts = np.bincount(bins, minlength=len(edges) - 1)
    with np.errstate(invalid="ignore"):  # 0/0 in an empty bin is the NaN that we want
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
    """Return the mean distance of probability and observed share, weighted by the bins' counts.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities
        (N,), in [0, 1].
    n_bins, strategy
        As for `reliability_curve`. The error depends on them, and it is biased upwards when
        bins hold few slices: compare only equal settings and similar N.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If an argument is not as described.

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
    """Find the number T by which logits should be divided to be calibrated.

    Parameters
    ----------
    logits
        (N,), finite.
    targets
        (N,), 0 or 1, both present.

    Returns
    -------
    float
        Within `TEMPERATURE_BOUNDS`; above 1 where the model is too sure of itself. Dividing
        leaves the ranking and, at a threshold of 0.5, every call as it was.

    Raises
    ------
    ValueError
        If a class is missing or an array is not as described.

    Notes
    -----
    T minimizes the negative log-likelihood [1]_, which is convex in 1/T. Where the logits
    separate the classes it falls for ever as T goes to 0, and the lower bound is returned.

    References
    ----------
    .. [1] Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML (2017)
       1321-1330.

    Examples
    --------
    >>> from covidct.evaluation.calibration import fit_temperature
    >>> logits = [4.0] * 10 + [-4.0] * 10
    >>> targets = [1] * 9 + [0] * 10 + [1]    # a tenth is wrong: the logits should be 2.2
    >>> round(fit_temperature(logits, targets), 2)
    1.82
    """
    labels = check_targets(targets)
    margins = check_finite("logits", logits, len(labels)) * (2 * labels - 1)
    if labels.min() == labels.max():
        raise ValueError(f"a temperature needs slices of both classes, got only {labels[0]}")

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -margins / np.exp(log_temperature)).mean())

    bounds = np.log(TEMPERATURE_BOUNDS)
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    # The bounded search stops short of the ends; where all are alike, nothing is to be scaled.
    best = min((0.0, float(found.x), *bounds), key=loss)
    return float(np.exp(best))


def threshold_for_sensitivity(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, sensitivity: float
) -> float:
    """Return the highest threshold at which at least so many of the positives are found.

    Parameters
    ----------
    targets
        (N,), 0 or 1; at least one is 1.
    probabilities
        (N,), in [0, 1].
    sensitivity
        The share of the positives to be found, in (0, 1].

    Returns
    -------
    float
        In [0, 1]; the probability of one of the positives.

    Raises
    ------
    ValueError
        If there is no positive or an argument is not as described.

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
        raise ValueError("a threshold for a sensitivity needs positive slices, got none")
    # 0.9 of 10 is 9, though 0.9 * 10 may round to a little more.
    needed = int(np.ceil(sensitivity * len(positives) - 1e-9))
    return float(positives[max(needed, 1) - 1])


@dataclass(frozen=True)
class CrossFit:
    """What `cross_fit` finds: one row for each of K folds, one value for each of N predictions.

    Attributes
    ----------
    folds
        (K,), the folds' numbers, sorted.
    temperatures, thresholds
        (K,), fitted without the fold; a threshold applies to the calibrated probability.
    sensitivities, specificities
        (K,), what the threshold achieves in the fold; NaN where a class is missing.
    probabilities
        (N,), calibrated.
    called
        (N,), whether the slice is called COVID-19 at its fold's threshold.
    """

    folds: Ints
    temperatures: Floats
    thresholds: Floats
    sensitivities: Floats
    specificities: Floats
    probabilities: Floats
    called: npt.NDArray[np.bool_]


def cross_fit(
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    folds: npt.ArrayLike,
    sensitivity: float = 0.95,
    slices: npt.ArrayLike | None = None,
    fitted_on: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None,
) -> CrossFit:
    """Calibrate each fold, and set its threshold, by predictions that are not the fold's.

    None of a fold's labels take part in its fit. Where that is on the other folds one optimism is
    left: their models were trained on this fold's slices.

    Parameters
    ----------
    logits
        (N,), out of fold, finite.
    targets
        (N,), 0 or 1.
    folds
        (N,), the number of the fold that each prediction is from.
    sensitivity
        The share of the positives to be found, in (0, 1].
    slices
        (N,), which slice each prediction is of, to keep a fold's slices out of its fit where they
        recur in other folds, as in repeated cross-validation.
    fitted_on
        Logits, targets and folds, (M,) each, of other slices, such as a validation part: each fold
        is fitted on those of its own number. By default on the other folds, at least one.

    Returns
    -------
    CrossFit

    Raises
    ------
    ValueError
        If what a fold can be fitted on lacks a class, or if an array is not as described.

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
    called = np.empty(len(labels), dtype=bool)
    fitted = np.empty((4, len(numbers)))
    for column, number in enumerate(numbers):
        held = fold_of == number
        chosen = known[2] == number
        if fitted_on is None:
            chosen = ~held & ~np.isin(slice_of, slice_of[held])
        temperature, threshold = _fit(
            known[1][chosen], known[0][chosen], sensitivity, fold=str(number)
        )
        probabilities[held] = special.expit(values[held] / temperature)
        called[held] = probabilities[held] >= threshold
        judged = labels[held], probabilities[held]
        achieved = score(*judged, threshold=threshold, names=["recall", "specificity"])
        fitted[:, column] = temperature, threshold, *achieved.values()
    temperatures, thresholds, sensitivities, specificities = fitted
    return CrossFit(
        numbers, temperatures, thresholds, sensitivities, specificities, probabilities, called
    )


def _fit(logits: Floats, labels: Ints, sensitivity: float, *, fold: str) -> tuple[float, float]:
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"fold {fold} has no other predictions of both classes to be fitted on; give more "
            "folds, or a validation part"
        )
    temperature = fit_temperature(logits, labels)
    calibrated = special.expit(logits / temperature)
    return temperature, threshold_for_sensitivity(labels, calibrated, sensitivity)


def _check_logits(
    logits: npt.ArrayLike, targets: npt.ArrayLike, folds: npt.ArrayLike
) -> tuple[Ints, Floats, npt.NDArray[np.generic]]:
    labels = check_targets(targets)
    values = check_finite("logits", logits, len(labels))
    return labels, values, check_labels("folds", folds, len(labels))

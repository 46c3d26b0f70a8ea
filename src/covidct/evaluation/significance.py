"""Significance tests and confidence intervals of the difference between two models.

`corrected_resampled_ttest` tests if a difference would persist if both models were trained again on
other folds. `permutation_test` tests if the predictions of two models for the same slices are
exchangeable. `difference_interval` estimates the size of the difference on similar patients. `holm`
corrects the p-values if many pairs of models are compared.

Examples
--------
>>> from covidct.evaluation import significance
>>> a, b = [0.91, 0.93, 0.90, 0.94, 0.92], [0.88, 0.92, 0.87, 0.91, 0.92]
>>> differences = [x - y for x, y in zip(a, b)]
>>> test = significance.corrected_resampled_ttest(differences, n_train=596, n_test=150)
>>> round(test.difference, 3), round(test.p_value, 3)
(0.02, 0.103)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.stats import rankdata
from tqdm import tqdm

from ._inputs import (
    Floats,
    Ints,
    as_array,
    check_finite,
    check_fraction,
    check_predictions,
    group_codes,
)
from ._weighted_counts import batches
from .intervals import Interval, cluster_bootstrap
from .metrics import find_metric, weighted_scores

__all__ = [
    "PermutationTest",
    "ResampledTTest",
    "corrected_resampled_ttest",
    "difference_interval",
    "holm",
    "permutation_test",
]


class ResampledTTest(NamedTuple):
    """Result of `corrected_resampled_ttest`.

    Attributes
    ----------
    difference : float
        Mean difference over the folds.
    interval : Interval
        Confidence interval of the mean difference.
    statistic : float
        Student's t.
    degrees_of_freedom : int
        Number of folds minus 1.
    p_value : float
        Two-sided p-value.
    """

    difference: float
    interval: Interval
    statistic: float
    degrees_of_freedom: int
    p_value: float


class PermutationTest(NamedTuple):
    """Result of `permutation_test`.

    Attributes
    ----------
    difference : float
        Metric of model a minus metric of model b.
    p_value : float
        Two-sided p-value.
    n_permutations : int
        Number of permutations that were evaluated.
    exact : bool
        True if all possible permutations were evaluated, False if a random sample was.
    """

    difference: float
    p_value: float
    n_permutations: int
    exact: bool


def corrected_resampled_ttest(
    differences: npt.ArrayLike, *, n_train: float, n_test: float, level: float = 0.95
) -> ResampledTTest:
    r"""Compare two models over the folds of one cross-validation with a corrected t-test.

    Parameters
    ----------
    differences : array-like of shape (n_folds,)
        Metric of one model minus that of the other in each fold, on the same splits.
    n_train, n_test : float
        Number of slices in the training and the test part of a fold. Only their ratio matters.
    level : float, default=0.95
        Nominal coverage of the interval of the mean difference, in (0, 1).

    Returns
    -------
    ResampledTTest
        If all differences are equal, their variance cannot be estimated: the interval is NaN, with
        the reason, and the p-value is 1 if they are 0, else NaN.

    Raises
    ------
    ValueError
        If there are fewer than two folds, a difference is not finite, a size is not positive, or
        `level` is outside (0, 1).

    Notes
    -----
    The training parts of the folds overlap, so folds are not independent, and the usual paired
    t-test rejects too often. Nadeau and Bengio [1]_ replace the factor 1/K of the variance of K
    folds by :math:`1/K + n_\text{test}/n_\text{train}`, with K - 1 degrees of freedom.

    References
    ----------
    .. [1] Nadeau, Bengio, "Inference for the generalization error", Machine Learning 52 (2003)
       239-281.

    Examples
    --------
    >>> from covidct.evaluation.significance import corrected_resampled_ttest
    >>> test = corrected_resampled_ttest([0.01, 0.03, 0.02, 0.02, 0.02], n_train=80, n_test=20)
    >>> round(test.statistic, 3), round(test.p_value, 4)
    (4.216, 0.0135)
    """
    values = check_finite("differences", differences, as_array(differences).size)
    if len(values) < 2:
        raise ValueError(f"the test needs at least two folds, got {len(values)}")
    if not (n_train > 0 and n_test > 0):
        raise ValueError(f"n_train and n_test must be positive, got {n_train!r} and {n_test!r}")
    tail = (1 - check_fraction("level", level)) / 2
    freedom = len(values) - 1
    mean = float(values.mean())
    error = float(np.sqrt((1 / len(values) + n_test / n_train) * values.var(ddof=1)))
    if np.ptp(values) <= 1e-12 * np.abs(values).max():  # rounding alone
        undefined = Interval(np.nan, np.nan, reason="all folds have the same value")
        statistic, p_value = (np.nan, np.nan) if mean else (0.0, 1.0)
        return ResampledTTest(mean, undefined, statistic, freedom, p_value)
    statistic = mean / error
    half = error * float(special.stdtrit(freedom, 1 - tail))
    return ResampledTTest(
        difference=mean,
        interval=Interval(mean - half, mean + half, method="corrected"),
        statistic=statistic,
        degrees_of_freedom=freedom,
        p_value=2 * float(special.stdtr(freedom, -abs(statistic))),
    )


def permutation_test(
    targets: npt.ArrayLike,
    probabilities_a: npt.ArrayLike,
    probabilities_b: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    folds: npt.ArrayLike | None = None,
    metric: str = "accuracy",
    threshold: float = 0.5,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> PermutationTest:
    """Compare two models on the same slices with a two-sided paired permutation test.

    Each permutation swaps the two models' predictions for a random subset of the groups, all slices
    of a group together. The p-value is the share of permutations in which the metrics differ at
    least as much as the observed ones. For metrics of the ranking, such as the AUC, ranks are
    swapped in place of probabilities.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities_a, probabilities_b : array-like of shape (n_slices,)
        Probabilities of COVID-19 predicted by the two models for the same slices, in [0, 1].
    groups : array-like of shape (n_slices,), default=None
        Group of each slice, such as its patient. A slice of unknown group (empty, None, NaN) forms
        its own group; with the default, every slice does.
    folds : array-like of shape (n_slices,) or (2, n_slices), default=None
        Fold of each prediction, or a row of folds for each model if they were tested on different
        splits. If given, the metric of a model is the mean over its folds, as in the tables of
        runs; each fold of each repeat counts as a fold. If folds repeat slices, `groups` must put
        the repetitions of a slice into one group.
    metric : str, default="accuracy"
        Key in `covidct.evaluation.metrics.METRICS`.
    threshold : float, default=0.5
        Lowest probability that is predicted positive, in [0, 1].
    n_permutations : int, default=10000
        Largest number of permutations. With G groups there are 2^G; if these are not more than
        this number, all are evaluated, otherwise this many are drawn at random.
    seed : int, default=0
        Random seed.

    Returns
    -------
    PermutationTest
        The p-value of n random permutations, of which k are at least as extreme as the observed
        difference, is (1 + k) / (1 + n), which is never 0. A permutation in which the metric is
        undefined counts as extreme. If the observed difference is undefined, both it and the
        p-value are NaN.

    Raises
    ------
    ValueError
        If the arrays differ in length, or a value is outside its range.
    UnknownNameError
        If the metric is unknown.

    Notes
    -----
    A swap moves predictions between models, so that they must be on one scale. Two models may rank
    slices equally well on different scales, for example if one gives higher probabilities
    throughout. Mixtures of their probabilities then rank slices worse than either model, and the
    test rejects almost never or too often. For metrics of the ranking, the probabilities of each
    model in each fold are therefore replaced by their ranks, which changes no AUC [1]_. With a
    shift of the logits between equally good models, this test rejects at the 5 % level in 2 to 6 %
    of simulated runs. Its p-values are close to those of DeLong's test [2]_ if each group is one
    slice; for groups of several slices, it has more power than Obuchowski's test [3]_ in
    simulations (``benchmarks/intervals_and_tests.py``). Metrics at a threshold, such as accuracy
    and recall, do not need a common scale, since decisions are swapped.

    References
    ----------
    .. [1] Bandos, Rockette, Gur, "A permutation test sensitive to differences in areas for
       comparing ROC curves from a paired design", Statistics in Medicine 24 (2005) 2873-2893.
    .. [2] DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated
       receiver operating characteristic curves", Biometrics 44 (1988) 837-845.
    .. [3] Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53 (1997)
       567-578.

    Examples
    --------
    >>> from covidct.evaluation.significance import permutation_test
    >>> targets = [0, 1, 0, 1, 0, 1]
    >>> permutation_test(targets, [0.1, 0.9] * 3, [0.9, 0.1] * 3)
    PermutationTest(difference=1.0, p_value=0.03125, n_permutations=64, exact=True)
    """
    labels, a, b = _check_pair(targets, probabilities_a, probabilities_b)
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be positive, got {n_permutations!r}")
    chosen, n = find_metric(metric), len(labels)
    folds_a, folds_b = _folds_of_both(folds, n)
    if chosen.ranking:
        a, b = _ranks(a, folds_a), _ranks(b, folds_b)
    # A swapped prediction keeps its fold, so that swapping all groups exchanges the models exactly.
    both = np.tile(labels, 2), np.concatenate([a, b])
    fold_of = np.concatenate([folds_a, folds_b])

    def scores(weights: npt.NDArray[np.bool_]) -> Floats:
        return weighted_scores(
            *both, weights=weights, folds=fold_of, threshold=threshold, names=[chosen.name]
        )[chosen.name]

    first, second = scores(np.repeat([[True, False], [False, True]], n, axis=1))
    difference = float(first - second)
    codes = group_codes(groups, len(labels))
    n_groups = int(codes.max()) + 1
    exact = 2**n_groups <= n_permutations
    tried = 2**n_groups if exact else n_permutations
    if np.isnan(difference):
        return PermutationTest(np.nan, np.nan, tried, exact)
    # The tolerance keeps rounding from excluding the observed arrangement itself.
    bound = abs(difference) - 1e-12
    extreme = 0
    for swaps in _swaps(n_groups, tried, exact=exact, columns=2 * len(labels), seed=seed):
        swapped = swaps[:, codes]
        apart = scores(np.hstack([~swapped, swapped])) - scores(np.hstack([swapped, ~swapped]))
        extreme += int(np.count_nonzero(~(np.abs(apart) < bound)))
    p_value = extreme / tried if exact else (extreme + 1) / (tried + 1)
    return PermutationTest(difference, float(p_value), tried, exact)


def _swaps(
    n_groups: int, rows: int, *, exact: bool, columns: int, seed: int
) -> Iterator[npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    for part in tqdm(list(batches(rows, columns)), desc="permutations", disable=None, leave=False):
        numbers = np.arange(part.start, part.stop)
        if exact:
            yield (numbers[:, None] >> np.arange(n_groups) & 1).astype(bool)
        else:
            yield rng.integers(2, size=(len(numbers), n_groups), dtype=np.uint8).astype(bool)


def difference_interval(
    targets: npt.ArrayLike,
    probabilities_a: npt.ArrayLike,
    probabilities_b: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    folds: npt.ArrayLike | None = None,
    metric: str = "accuracy",
    threshold: float = 0.5,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Compute a confidence interval of a metric of model a minus that of model b.

    Both models are scored on the same resamples (see
    `covidct.evaluation.intervals.cluster_bootstrap`), so variation that affects both cancels.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        True classes, 0 or 1.
    probabilities_a, probabilities_b : array-like of shape (n_slices,)
        Probabilities of COVID-19 predicted by the two models for the same slices, in [0, 1].
    groups : array-like of shape (n_slices,), default=None
        Group of each slice, such as its patient. A slice of unknown group (empty, None, NaN) forms
        its own group; with the default, every slice does.
    folds : array-like of shape (n_slices,) or (2, n_slices), default=None
        Fold of each prediction, or a row of folds for each model if they were tested on different
        splits. If given, the metric of a model is the mean over its folds, as in the tables of
        runs; each fold of each repeat counts as a fold. If folds repeat slices, `groups` must put
        the repetitions of a slice into one group.
    metric : str, default="accuracy"
        Key in `covidct.evaluation.metrics.METRICS`.
    threshold : float, default=0.5
        Lowest probability that is predicted positive, in [0, 1].
    level : float, default=0.95
        Nominal coverage, in (0, 1).
    n_resamples : int, default=2000
        Number of bootstrap resamples, at least 100.
    seed : int, default=0
        Random seed.

    Returns
    -------
    Interval
        Interval of the difference; NaN if it is undefined, there are fewer than ten groups, or
        every resample has the same difference.

    Raises
    ------
    ValueError
        If the arrays differ in length, or a value is outside its range.
    UnknownNameError
        If the metric is unknown.

    Examples
    --------
    >>> from covidct.evaluation.significance import difference_interval
    >>> targets = [0, 1] * 50
    >>> low, high = difference_interval(targets, [0.2, 0.8] * 50, [0.2, 0.8, 0.6, 0.8] * 25)
    >>> round(low, 2), round(high, 2)
    (0.17, 0.34)
    """
    labels, a, b = _check_pair(targets, probabilities_a, probabilities_b)
    name = find_metric(metric).name
    models = list(zip((a, b), _folds_of_both(folds, len(labels)), strict=True))

    def statistic(weights: Floats) -> Mapping[str, Floats]:
        first, second = (
            weighted_scores(
                labels, p, weights=weights, folds=fold_of, threshold=threshold, names=[name]
            )[name]
            for p, fold_of in models
        )
        return {name: first - second}

    codes = group_codes(groups, len(labels))
    intervals = cluster_bootstrap(statistic, codes, level=level, n_resamples=n_resamples, seed=seed)
    return intervals[name]


def _check_pair(
    targets: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike
) -> tuple[Ints, Floats, Floats]:
    labels, first = check_predictions(targets, a, name="probabilities_a")
    _, second = check_predictions(labels, b, name="probabilities_b")
    return labels, first, second


def _folds_of_both(folds: npt.ArrayLike | None, n: int) -> tuple[Ints, Ints]:
    """Return the fold number of each prediction, for each of the two models."""
    given = np.zeros(n) if folds is None else as_array(folds)
    rows = given if given.ndim == 2 else given[None]
    if rows.shape not in ((1, n), (2, n)):
        raise ValueError(f"folds must have shape ({n},) or (2, {n}), got {given.shape}")
    codes = np.unique(rows, return_inverse=True)[1].reshape(rows.shape)
    return codes[0], codes[-1]


def _ranks(probabilities: Floats, folds: Ints) -> Floats:
    """Replace the probabilities of each fold by their ranks, scaled to (0, 1); ties share one."""
    ranks = np.empty(len(probabilities))
    for number in np.unique(folds):
        part = folds == number
        ranks[part] = (rankdata(probabilities[part]) - 0.5) / np.count_nonzero(part)
    return ranks


def holm(p_values: npt.ArrayLike) -> Floats:
    """Correct p-values for multiple testing with Holm's step-down method.

    If every hypothesis whose corrected p-value is at most alpha is rejected, the probability of
    any false rejection is at most alpha, for any dependence between the tests.

    Parameters
    ----------
    p_values : array-like of shape (n_tests,)
        P-values in [0, 1]. NaN marks a test that could not be performed and is not counted.

    Returns
    -------
    ndarray of shape (n_tests,)
        Corrected p-values in the given order; NaN where the input is NaN.

    Raises
    ------
    ValueError
        If `p_values` is not one-dimensional or a value is outside [0, 1].

    References
    ----------
    .. [1] Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
       of Statistics 6 (1979) 65-70.

    Examples
    --------
    >>> from covidct.evaluation.significance import holm
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or ((values < 0) | (values > 1)).any():
        raise ValueError(f"p_values must be one-dimensional and in [0, 1], got {p_values!r}")
    defined = np.flatnonzero(~np.isnan(values))
    order = defined[np.argsort(values[defined], kind="stable")]
    corrected = np.full(len(values), np.nan)
    steps = np.arange(len(order), 0, -1) * values[order]
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected

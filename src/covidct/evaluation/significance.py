"""Tell whether one network is better than another, or the folds were kind to it.

Three answers to three questions. `corrected_resampled_ttest`: would the difference last if both
were trained again on other folds? `permutation_test`: could these two sets of predictions have
been swapped without anyone noticing? `difference_interval`: how large is the difference, over
patients like these? Where many networks are compared, `holm` corrects the p-values.

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
from tqdm import tqdm

from ._inputs import Floats, Ints, check_finite, check_fraction, check_predictions, group_codes
from ._weighted_counts import batches
from .intervals import Interval, cluster_bootstrap
from .metrics import find_metric, score, weighted_scores

__all__ = [
    "PermutationTest",
    "ResampledTTest",
    "corrected_resampled_ttest",
    "difference_interval",
    "holm",
    "permutation_test",
]


class ResampledTTest(NamedTuple):
    """What `corrected_resampled_ttest` finds.

    Attributes
    ----------
    difference
        Mean over the folds.
    interval
        Its confidence interval.
    statistic
        Student's t.
    degrees_of_freedom
        Folds less one.
    p_value
        Two-sided.
    """

    difference: float
    interval: Interval
    statistic: float
    degrees_of_freedom: int
    p_value: float


class PermutationTest(NamedTuple):
    """What `permutation_test` finds.

    Attributes
    ----------
    difference
        The metric of a less that of b.
    p_value
        Two-sided.
    n_permutations
        Swaps that were tried.
    exact
        Whether these are all possible swaps, or so many were drawn.
    """

    difference: float
    p_value: float
    n_permutations: int
    exact: bool


def corrected_resampled_ttest(
    differences: npt.ArrayLike, *, n_train: float, n_test: float, level: float = 0.95
) -> ResampledTTest:
    r"""Test whether two networks differ over the folds of one cross-validation, two-sided.

    Parameters
    ----------
    differences
        (K,), in each fold the metric of one network less that of the other, on the same splits.
    n_train, n_test
        Slices in the training and in the test part of a fold; their ratio counts.
    level
        Coverage of the interval of the mean difference, in (0, 1).

    Returns
    -------
    ResampledTTest
        With folds that do not differ at all, p is 1; with the same difference in every fold, 0.

    Raises
    ------
    ValueError
        If there are fewer than two folds, a difference is not finite, a size is not positive or
        ``level`` is not in (0, 1).

    Notes
    -----
    Training parts overlap, so folds are not independent and the usual paired t-test finds
    differences that are none. Nadeau and Bengio [1]_ replace the factor 1/K of the variance by
    :math:`1/K + n_\text{test}/n_\text{train}`; there are K - 1 degrees of freedom.

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
    values = check_finite("differences", differences, np.size(differences))
    if len(values) < 2:
        raise ValueError(f"the test needs at least two folds, got {len(values)}")
    if not (n_train > 0 and n_test > 0):
        raise ValueError(f"n_train and n_test must be positive, got {n_train!r} and {n_test!r}")
    tail = (1 - check_fraction("level", level)) / 2
    freedom = len(values) - 1
    mean = float(values.mean())
    error = float(np.sqrt((1 / len(values) + n_test / n_train) * values.var(ddof=1)))
    statistic = mean / error if error > 0 else float(np.copysign(np.inf, mean)) if mean else 0.0
    half = error * float(special.stdtrit(freedom, 1 - tail))
    return ResampledTTest(
        difference=mean,
        interval=Interval(mean - half, mean + half),
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
    metric: str = "accuracy",
    threshold: float = 0.5,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> PermutationTest:
    """Test whether two models' predictions of the same slices could be exchanged, two-sided.

    Each permutation swaps the two predictions of randomly chosen groups, all slices of a group
    together, and asks whether the metrics then differ as much as they do.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities_a, probabilities_b
        (N,) each, in [0, 1], of the same slices.
    groups
        (N,), the patient of each slice; a slice without one counts as a patient of its own.
    metric
        A key of `covidct.evaluation.metrics.METRICS`.
    threshold
        In [0, 1]; at least this probability is called COVID-19.
    n_permutations
        All 2^G swaps of G groups are tried when they are no more than this, and so many are
        drawn otherwise.
    seed
        Seed of the draws.

    Returns
    -------
    PermutationTest
        Drawn swaps give p = (1 + at least as extreme) / (1 + drawn), which is never 0. A swap
        that leaves the metric undefined counts as extreme. NaN where the difference itself is
        undefined.

    Raises
    ------
    ValueError
        If an argument is not as described.
    UnknownNameError
        If the metric is unknown.

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
    name = find_metric(metric).name
    difference = _difference(labels, a, b, metric=name, threshold=threshold)
    codes = group_codes(groups, len(labels))
    n_groups = int(codes.max()) + 1
    exact = n_groups < 63 and 2**n_groups <= n_permutations
    tried = 2**n_groups if exact else n_permutations
    if np.isnan(difference):
        return PermutationTest(np.nan, np.nan, tried, exact)
    both = np.tile(labels, 2), np.concatenate([a, b])
    # Rounding must not make the observed arrangement less extreme than itself.
    bound = abs(difference) - 1e-12
    extreme = 0
    for swaps in _swaps(n_groups, tried, exact=exact, columns=2 * len(labels), seed=seed):
        swapped = swaps[:, codes]
        first, second = (
            weighted_scores(*both, weights=weights, threshold=threshold, names=[name])[name]
            for weights in (
                np.hstack([~swapped, swapped]),
                np.hstack([swapped, ~swapped]),
            )
        )
        extreme += int(np.count_nonzero(~(np.abs(first - second) < bound)))
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
    metric: str = "accuracy",
    threshold: float = 0.5,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a confidence interval of how much a metric of model a exceeds that of b.

    Both models are scored on the same resamples (see
    `covidct.evaluation.intervals.cluster_bootstrap`), so that what is hard for both cancels.

    Parameters
    ----------
    targets
        (N,), 0 or 1.
    probabilities_a, probabilities_b
        (N,) each, in [0, 1], of the same slices.
    groups
        (N,), the patient of each slice; a slice without one counts as a patient of its own.
    metric
        A key of `covidct.evaluation.metrics.METRICS`.
    threshold
        In [0, 1]; at least this probability is called COVID-19.
    level
        The coverage wished, in (0, 1).
    n_resamples
        At least 100.
    seed
        Seed of the draws.

    Returns
    -------
    Interval
        NaN where the difference is undefined.

    Raises
    ------
    ValueError
        If an argument is not as described.
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

    def statistic(weights: Floats) -> Mapping[str, Floats]:
        first, second = (
            weighted_scores(labels, p, weights=weights, threshold=threshold, names=[name])[name]
            for p in (a, b)
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


def _difference(labels: Ints, a: Floats, b: Floats, *, metric: str, threshold: float) -> float:
    first, second = (score(labels, p, threshold=threshold, names=[metric])[metric] for p in (a, b))
    return first - second


def holm(p_values: npt.ArrayLike) -> Floats:
    """Correct p-values for their number, by Holm's step-down method.

    Reject where the corrected value is at most the level: the chance of any false rejection is
    then at most the level, whatever the dependence between the tests.

    Parameters
    ----------
    p_values
        (M,), in [0, 1]; NaN stands for a test that could not be made and is not counted.

    Returns
    -------
    ndarray
        (M,), in the order given, each at least as large as before.

    Raises
    ------
    ValueError
        If a value is outside [0, 1].

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
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    corrected = np.full(len(values), np.nan)
    steps = np.arange(len(order), 0, -1) * values[order]
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected

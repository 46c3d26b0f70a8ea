"""Counts and sums that determine every metric, for many weightings of the same predictions.

A bootstrap needs every metric on thousands of resamples of the same slices. Computing them one
resample at a time would sort and index the predictions each time. Instead, a resample is
represented by a row of weights: the number of times it contains each slice. The weights of R
resamples form an (R, N) matrix, and a metric of all of them is a few sums over its last axis:

- The confusion matrices are one matrix product of the weights with a one-hot matrix of the cell
  (true class, predicted class) of each slice.
- Metrics of the ranking need the slices sorted by probability. The order is the same in every
  resample, so they are sorted once and the columns of the weights are permuted. A cumulative sum
  of the positive weights then gives, at every rank, the positives found so far. The AUC is the
  Mann-Whitney U statistic: for each negative, the positives ranked above it, where ties count
  half. The average precision is the mean precision at the rank of each positive, where slices of
  equal probability pass the threshold together.

With integer weights the results equal those of scikit-learn on the repeated slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ._inputs import Floats, Ints

_CELLS_AT_ONCE = 1_000_000


def batches(rows: int, columns: int) -> Iterator[range]:
    """Split `rows` weightings of `columns` slices into ranges of at most 8 MB of weights."""
    size = max(1, _CELLS_AT_ONCE // columns)
    return (range(start, min(start + size, rows)) for start in range(0, rows, size))


def ratio(numerator: Floats, denominator: Floats, *, undefined: float = np.nan) -> Floats:
    """Divide elementwise, with `undefined` as the result where the denominator is 0."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), undefined)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


class Ranking(NamedTuple):
    """Weights of the slices in the order of decreasing probability.

    Attributes
    ----------
    weights : ndarray of shape (n_weightings, n_slices)
        Weights of all slices.
    positive : ndarray of shape (n_weightings, n_slices)
        Weights of the positive slices, 0 for the negative ones.
    first, last : ndarray of shape (n_slices,)
        Start and end rank of the slices that have the same probability as this one.
    """

    weights: Floats
    positive: Floats
    first: Ints
    last: Ints


def _cumulative(values: Floats) -> Floats:
    """Return cumulative sums with a leading 0: column k is the sum of the first k columns."""
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


class WeightedCounts:
    """Counts and sums of predictions under many weightings; each is an array (n_weightings,).

    Parameters
    ----------
    targets : ndarray of int64 of shape (n_slices,)
        True classes, already checked.
    probabilities : ndarray of float64 of shape (n_slices,)
        Predicted probabilities, already checked.
    weights : ndarray of float64 of shape (n_weightings, n_slices)
        Weights of the slices, not negative.
    threshold : float
        Lowest probability that is predicted positive.
    """

    def __init__(
        self, targets: Ints, probabilities: Floats, weights: Floats, threshold: float
    ) -> None:
        self._targets = targets
        self._probabilities = probabilities
        self._weights = weights
        self._threshold = threshold

    @cached_property
    def cells(self) -> Floats:
        """True negatives, false positives, false negatives, true positives: (n_weightings, 4)."""
        cell = 2 * self._targets + (self._probabilities >= self._threshold)
        return np.asarray(self._weights @ (cell[:, None] == np.arange(4)))

    @property
    def tn(self) -> Floats:
        """True negatives."""
        return self.cells[:, 0]

    @property
    def fp(self) -> Floats:
        """False positives."""
        return self.cells[:, 1]

    @property
    def fn(self) -> Floats:
        """False negatives."""
        return self.cells[:, 2]

    @property
    def tp(self) -> Floats:
        """True positives."""
        return self.cells[:, 3]

    @property
    def positives(self) -> Floats:
        """Slices of the positive class."""
        return self.tp + self.fn

    @property
    def negatives(self) -> Floats:
        """Slices of the negative class."""
        return self.tn + self.fp

    @property
    def total(self) -> Floats:
        """All slices."""
        return self.positives + self.negatives

    @cached_property
    def squared_error(self) -> Floats:
        """Sum of the squared differences between probability and target."""
        return np.asarray(self._weights @ np.square(self._probabilities - self._targets))

    @cached_property
    def _ranking(self) -> Ranking:
        order = np.argsort(-self._probabilities, kind="stable")
        ordered = -self._probabilities[order]
        weights = np.take(self._weights, order, axis=1)
        return Ranking(
            weights,
            weights * self._targets[order],
            np.searchsorted(ordered, ordered, side="left"),
            np.searchsorted(ordered, ordered, side="right"),
        )

    @cached_property
    def _positives_above(self) -> Floats:
        return _cumulative(self._ranking.positive)

    @property
    def concordance(self) -> Floats:
        """Pairs of a positive and a negative in the right order; ties count half."""
        weights, positive, first, last = self._ranking
        found = self._positives_above
        # Twice the positives above each slice: without its ties, plus with its ties.
        above = np.take(found, first, axis=1) + np.take(found, last, axis=1)
        return np.asarray(np.einsum("rn,rn->r", weights - positive, above)) / 2

    @property
    def summed_precision(self) -> Floats:
        """Sum over the positives of the precision at the threshold that just includes each."""
        weights, positive, _, last = self._ranking
        found = np.take(self._positives_above, last, axis=1)
        predicted = np.take(_cumulative(weights), last, axis=1)
        precision = ratio(found, predicted, undefined=0.0)
        return np.asarray(np.einsum("rn,rn->r", positive, precision))

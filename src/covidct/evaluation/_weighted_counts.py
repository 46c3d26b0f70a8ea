"""Sums over one set of predictions under many weightings at once.

A bootstrap asks for every metric on thousands of resamples of the same slices. Each resample is
a row of weights (how often each slice was drawn), so that all resamples share one sorting and
every metric becomes a few sums over the last axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ._inputs import Floats, Ints

_CELLS_AT_ONCE = 1_000_000


def batches(rows: int, columns: int) -> Iterator[range]:
    """Cut that many weightings into ranges whose weights, 8 MB at most, fit into memory."""
    size = max(1, _CELLS_AT_ONCE // columns)
    return (range(start, min(start + size, rows)) for start in range(0, rows, size))


def ratio(numerator: Floats, denominator: Floats, *, undefined: float = np.nan) -> Floats:
    """Divide; where the denominator is 0 the result is ``undefined``."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), undefined)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


class Ranking(NamedTuple):
    """Slices from the highest probability down.

    ``weights`` and ``positive`` (R, N) are the weights of all slices and of the positive ones
    (0 elsewhere). ``first`` and ``last`` (N,) bound the slices of the same probability, which
    pass a threshold together.
    """

    weights: Floats
    positive: Floats
    first: Ints
    last: Ints


def _sums(values: Floats) -> Floats:
    """Sum from the left: column k of the (R, N + 1) result holds the sum of the first k."""
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


class WeightedCounts:
    """What the metrics are made of, for R weightings of N predictions.

    Parameters
    ----------
    targets, probabilities
        Checked arrays of length N.
    weights
        (R, N), not negative.
    threshold
        A slice is called positive where its probability is at least this.
    """

    def __init__(
        self, targets: Ints, probabilities: Floats, weights: Floats, threshold: float
    ) -> None:
        self._targets = targets
        self._probabilities = probabilities
        self._weights = weights
        self._threshold = threshold

    @cached_property
    def counts(self) -> Floats:
        """True negatives, false positives, false negatives, true positives: (R, 4)."""
        cell = 2 * self._targets + (self._probabilities >= self._threshold)
        return np.asarray(self._weights @ (cell[:, None] == np.arange(4)))

    @property
    def tn(self) -> Floats:
        """True negatives, (R,)."""
        return self.counts[:, 0]

    @property
    def fp(self) -> Floats:
        """False positives, (R,)."""
        return self.counts[:, 1]

    @property
    def fn(self) -> Floats:
        """False negatives, (R,)."""
        return self.counts[:, 2]

    @property
    def tp(self) -> Floats:
        """True positives, (R,)."""
        return self.counts[:, 3]

    @property
    def positives(self) -> Floats:
        """Slices that are positive, (R,)."""
        return self.tp + self.fn

    @property
    def negatives(self) -> Floats:
        """Slices that are negative, (R,)."""
        return self.tn + self.fp

    @property
    def total(self) -> Floats:
        """All slices, (R,)."""
        return self.positives + self.negatives

    @cached_property
    def squared_error(self) -> Floats:
        """Summed squared distance of probability and target, (R,)."""
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
    def _found(self) -> Floats:
        return _sums(self._ranking.positive)

    @property
    def concordance(self) -> Floats:
        """Pairs of a positive and a negative that are ranked rightly, ties counting half: (R,)."""
        weights, positive, first, last = self._ranking
        above = np.take(self._found, first, axis=1) + np.take(self._found, last, axis=1)
        return np.asarray(np.einsum("rn,rn->r", weights - positive, above)) / 2

    @property
    def summed_precision(self) -> Floats:
        """Precision at the threshold that just finds a positive, summed over positives: (R,)."""
        weights, positive, _, last = self._ranking
        found = np.take(self._found, last, axis=1)
        called = np.take(_sums(weights), last, axis=1)
        precision = ratio(found, called, undefined=0.0)
        return np.asarray(np.einsum("rn,rn->r", positive, precision))

"""Sums over one set of predictions under many weightings at once.

A bootstrap asks for every metric on thousands of resamples of the same slices. Each resample is
a row of weights (how often each slice was drawn), so that all resamples share one sorting and
every metric becomes a few sums over the last axis.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from ._inputs import Floats, Ints


def ratio(numerator: Floats, denominator: Floats, *, undefined: float = np.nan) -> Floats:
    """Divide; where the denominator is 0 the result is ``undefined``."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), undefined)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


class Steps(NamedTuple):
    """Weights of either class at each distinct probability, highest first: two (R, K) arrays."""

    positive: Floats
    negative: Floats


class Tallies:
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
    def steps(self) -> Steps:
        """What each threshold, from the highest down, newly calls positive."""
        order = np.argsort(-self._probabilities, kind="stable")
        ordered = self._probabilities[order]
        # Equal probabilities pass a threshold together, so they are one step.
        starts = np.flatnonzero(np.diff(ordered, prepend=np.inf))
        weights = self._weights[:, order]
        everything = np.add.reduceat(weights, starts, axis=1)
        positive = np.add.reduceat(weights * self._targets[order], starts, axis=1)
        return Steps(positive, everything - positive)

    @property
    def concordance(self) -> Floats:
        """Pairs of a positive and a negative that are ranked rightly, ties counting half: (R,)."""
        positive, negative = self.steps
        above = np.cumsum(positive, axis=1) - positive / 2
        return np.asarray(np.einsum("rk,rk->r", negative, above))

    @property
    def summed_precision(self) -> Floats:
        """Precision at each threshold, summed over the positives that it newly calls: (R,)."""
        positive, negative = self.steps
        found = np.cumsum(positive, axis=1)
        called = np.cumsum(positive + negative, axis=1)
        precision = ratio(found, called, undefined=0.0)
        return np.asarray(np.einsum("rk,rk->r", positive, precision))

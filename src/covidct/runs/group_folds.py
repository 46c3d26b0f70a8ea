"""Folds of whole groups in which both classes occur, if such folds exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

__all__ = ["GroupFolds", "most_folds"]

Index = npt.NDArray[np.int64]


def most_folds(targets: npt.ArrayLike, groups: npt.ArrayLike) -> int:
    """Return the largest number of folds for which each fold can contain both classes.

    A fold needs a group with slices of both classes, or a group of each class. The number of folds
    is therefore the number of groups with slices of a class, for the class with fewer such groups.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        0 or 1 for each slice.
    groups : array-like of shape (n_slices,)
        Group of each slice.

    Returns
    -------
    int
        Number of folds; 0 if a class is missing.

    Examples
    --------
    >>> from covidct.runs.group_folds import most_folds
    >>> most_folds([1, 0, 1, 1, 0], ["a", "a", "b", "c", "d"])
    2
    """
    counts = _class_counts(np.asarray(targets), np.asarray(groups))[0]
    return int((counts > 0).sum(axis=0).min())


class GroupFolds:
    """Splitter for stratified folds of whole groups, with scikit-learn's interface.

    The folds are those of :class:`sklearn.model_selection.StratifiedGroupKFold` wherever each of
    them has slices of both classes. That class places one group after the other and does not look
    ahead, so it may leave a fold without a class (scikit-learn issue 28218). In that case the
    largest groups with slices of both classes are placed first, one in each fold. Every other
    group, from the largest on, goes to the fold where it makes the class counts most even (longest
    processing time first, Graham 1969), so that groups of one class first go to the folds that lack
    this class.

    Parameters
    ----------
    n_splits : int
        Number of folds; at most :func:`most_folds`.
    seed : int, default=0
        Random seed.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.group_folds import GroupFolds
    >>> targets, groups = [1, 1, 1, 0, 0, 0], ["a", "a", "b", "c", "d", "d"]
    >>> folds = GroupFolds(2).split(np.zeros(6), targets, groups)
    >>> sorted(len(test) for _, test in folds)
    [3, 3]
    """

    def __init__(self, n_splits: int, *, seed: int = 0) -> None:
        self.n_splits = n_splits
        self.seed = seed

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Index, Index]]:
        """Yield the positions of training and test slices of each fold.

        Parameters
        ----------
        X : sized
            Object with one entry per slice; only its length is used.
        y : array-like of shape (n_slices,)
            0 or 1 for each slice.
        groups : array-like of shape (n_slices,)
            Group of each slice.

        Yields
        ------
        train, test : ndarray of int64
            Positions.
        """
        targets = np.asarray(y)
        counts, codes = _class_counts(targets, np.asarray(groups))
        splitter = StratifiedGroupKFold(self.n_splits, shuffle=True, random_state=self.seed)
        folds = [
            (train.astype(np.int64), test.astype(np.int64))
            for train, test in splitter.split(X, targets, codes)
        ]
        if all(set(targets[test]) == {0, 1} for _, test in folds):
            yield from folds
            return
        fold_of = _place(counts, self.n_splits, np.random.default_rng(self.seed))[codes]
        for fold in range(self.n_splits):
            yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


def _class_counts(
    targets: npt.NDArray[Any], groups: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], Index]:
    """Count the slices of each class in each group; also number the group of each slice."""
    names, codes = np.unique(groups, return_inverse=True)
    cells = 2 * codes + targets.astype(np.int64)
    return np.bincount(cells, minlength=2 * len(names)).reshape(-1, 2), codes


def _place(
    counts: npt.NDArray[np.int64], n_folds: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the fold of each group."""
    order = rng.permutation(len(counts))  # so that ties are broken by the seed
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    both = [g for g in order if counts[g].all()][:n_folds]
    fold_of = np.full(len(counts), -1)
    fold_of[both] = np.arange(len(both))
    share = counts / counts.sum(axis=0)
    held = np.zeros((n_folds, 2))
    held[: len(both)] = share[both]
    for group in order:
        if fold_of[group] < 0:
            # Adding x to a sum h raises the sum of squares by 2 h x + x²: least where h x is least.
            fold_of[group] = int(np.argmin((held * share[group]).sum(axis=1)))
            held[fold_of[group]] += share[group]
    return fold_of

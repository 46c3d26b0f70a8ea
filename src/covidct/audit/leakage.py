"""Leakage of a random split, measured by the accuracy of a nearest neighbor on raw pixels.

A nearest neighbor on raw pixels does not recognize disease, but slices of the same scan. If its
accuracy is much higher under random folds than under folds that keep related slices together, a
network's score under random folds is too optimistic as well.

The difference also varies by chance, by more than 5 points for a few hundred slices. It is
therefore tested by permutation: the folds of the grouped split are permuted among the slices of
each class, which keeps their sizes and breaks up the groups. If slices of one group are not more
similar than other slices of their class, the permuted folds give the same accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .alignment import chunks, standardize
from .fold_assignment import MIN_GROUPS, assign_folds

__all__ = ["Probe", "probe_leakage"]

# Largest number of slices that are classified by their nearest neighbor among all slices. Their
# accuracy is within 2 percentage points of that of all slices, at a cost that is linear in the size
# of the dataset.
_MAX_QUERIES = 2500
_CHUNK = 4096
_N_PERMUTATIONS = 199
# Number of nearest slices that are kept for each slice. After a permutation, at least one of them
# is in another fold.
_KEPT = 16


class Probe(NamedTuple):
    """Accuracy of a nearest neighbor under one kind of split.

    Attributes
    ----------
    split : str
        Kind of split.
    n_groups : int
        Number of groups that the split keeps together; the number of slices if there are no groups.
    accuracy : float
        Mean accuracy over several draws of the folds, in [0, 1].
    low, high : float
        Lowest and highest accuracy of the draws; not a confidence interval.
    p_value : float or None
        Share of permutations of the folds with an accuracy at most as high. None for a split of
        single slices.
    n_classified : int or None
        Number of slices that were classified: all, or a random sample of 2,500.
    """

    split: str
    n_groups: int
    accuracy: float
    low: float
    high: float
    p_value: float | None = None
    n_classified: int | None = None


def probe_leakage(
    canvases: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    *,
    groupings: Mapping[str, npt.NDArray[Any] | None],
    repeats: int = 3,
    seed: int = 0,
) -> tuple[Probe, ...]:
    """Compute the accuracy of a nearest neighbor on raw pixels under several kinds of split.

    Slices are compared by the correlation of their pixels, which ignores brightness and contrast;
    these are among the properties that `covidct.audit.shortcuts` measures.

    Parameters
    ----------
    canvases : ndarray of uint8 of shape (n_slices, height, width)
        Slices in gray. At most 2,500 of them, drawn at random, are classified by their nearest
        neighbor among all slices of other folds.
    targets : ndarray of int64 of shape (n_slices,)
        Class of each slice, 0 or 1.
    groupings : mapping of str to ndarray of shape (n_slices,) or None
        Groups that are kept in one fold, by kind of split; None for a split of single slices.
    repeats : int, default=3
        Number of draws of the folds.
    seed : int, default=0
        Random seed of the first draw.

    Returns
    -------
    tuple of Probe
        Results in the order of `groupings`, without the splits that have fewer than ten groups, or
        fewer than two of a class.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.leakage import probe_leakage
    >>> patients = np.repeat(np.arange(20), 3)
    >>> canvases = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)[patients]
    >>> for probe in probe_leakage(
    ...     canvases, patients % 2, groupings={"random": None, "by patient": patients}
    ... ):
    ...     print(probe.split, probe.accuracy > 0.9)
    random True
    by patient False
    """
    sizes = {
        name: len(targets if groups is None else np.unique(groups))
        for name, groups in groupings.items()
    }
    draws = {
        name: [assign_folds(targets, groups, seed=seed + draw) for draw in range(repeats)]
        for name, groups in groupings.items()
        if sizes[name] >= MIN_GROUPS
    }
    possible = {
        name: np.stack([fold for fold in folds if fold is not None])
        for name, folds in draws.items()
        if folds[0] is not None
    }
    if not possible:
        return ()
    accuracies, chosen, ranked = _accuracies(
        canvases, targets, np.concatenate(list(possible.values())), seed=seed
    )
    probes = []
    for name, scores in zip(possible, accuracies.reshape(-1, repeats), strict=True):
        mean, low, high = map(float, (scores.mean(), scores.min(), scores.max()))
        p_value = None
        if groupings[name] is not None:
            p_value = _p_value(mean, possible[name], targets, chosen, ranked, seed=seed)
        probes.append(Probe(name, sizes[name], mean, low, high, p_value, len(chosen)))
    return tuple(probes)


def _accuracies(
    canvases: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    *,
    seed: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the accuracy of each row of `folds`, the classified slices and their nearest ones."""
    n = len(targets)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(n)[:_MAX_QUERIES])
    queries = standardize(canvases[chosen]).reshape(len(chosen), -1)
    nearest = np.full((len(folds), len(chosen)), -np.inf, np.float32)
    predicted = np.zeros((len(folds), len(chosen)), np.int64)
    rows = np.arange(len(chosen))
    kept_correlation = np.empty((len(chosen), 0), np.float32)
    kept = np.empty((len(chosen), 0), np.int64)
    for part in chunks(n, _CHUNK):
        references = standardize(canvases[part])
        correlation = queries @ references.reshape(len(references), -1).T
        for k, fold in enumerate(folds):
            same_fold = fold[chosen][:, None] == fold[part]
            allowed = np.where(same_fold, -np.inf, correlation)
            best = allowed.argmax(axis=1)
            better = allowed[rows, best] > nearest[k]
            nearest[k, better] = allowed[rows, best][better]
            predicted[k, better] = targets[part][best[better]]
        correlation[chosen[:, None] == np.arange(n)[part]] = -np.inf
        kept_correlation = np.concatenate([kept_correlation, correlation], axis=1)
        kept = np.concatenate([kept, np.broadcast_to(np.arange(n)[part], correlation.shape)], 1)
        if kept.shape[1] > _KEPT:
            best = np.argpartition(-kept_correlation, _KEPT - 1, axis=1)[:, :_KEPT]
            kept_correlation = np.take_along_axis(kept_correlation, best, axis=1)
            kept = np.take_along_axis(kept, best, axis=1)
    order = np.argsort(-kept_correlation, axis=1, kind="stable")
    shares: npt.NDArray[np.float64] = np.mean(predicted == targets[chosen], axis=1)
    return shares, chosen, np.take_along_axis(kept, order, axis=1)


def _p_value(
    accuracy: float,
    folds: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    ranked: npt.NDArray[np.int64],
    *,
    seed: int,
) -> float:
    """Return the share of permutations of `folds` whose mean accuracy is at most as high."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(targets == target) for target in (0, 1)]
    agree = targets[ranked] == targets[chosen][:, None]
    rows = np.arange(len(chosen))
    as_low = 1
    for _ in range(_N_PERMUTATIONS):
        source = np.empty(len(targets), np.int64)
        for members in classes:
            source[members] = rng.permutation(members)
        scores = []
        for fold in folds[:, source]:
            first = (fold[ranked] != fold[chosen][:, None]).argmax(axis=1)
            scores.append(agree[rows, first].mean())
        as_low += float(np.mean(scores)) <= accuracy + 1e-9
    return as_low / (_N_PERMUTATIONS + 1)

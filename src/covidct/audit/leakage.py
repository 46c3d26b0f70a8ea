"""What recognizing siblings scores, without knowing any disease.

The nearest neighbor on raw pixels is the simplest memory there is. Where random folds let it
score far above folds that keep siblings together, a network's score under random folds is worth
that much less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .duplicates import blocks, standardized
from .fold_assignment import assign_folds

__all__ = ["Probe", "probe_leakage"]

# More slices than this are not asked for their neighbor, though all may be one: enough for
# +- 2 points, at a cost that grows with the dataset and no faster.
_MAX_QUERIES = 2500
_BLOCK = 4096


class Probe(NamedTuple):
    """The score of one nearest neighbor under one way to split.

    Attributes
    ----------
    split : str
        The way to split.
    n_groups : int
        How many groups were kept whole; the number of slices where single slices are dealt.
    accuracy : float
        Mean over several draws of five folds, in [0, 1].
    low, high : float
        The least and the greatest of the draws: no confidence interval.
    """

    split: str
    n_groups: int
    accuracy: float
    low: float
    high: float


def probe_leakage(
    canvases: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    *,
    groupings: Mapping[str, npt.NDArray[Any] | None],
    repeats: int = 3,
    seed: int = 0,
) -> tuple[Probe, ...]:
    """Score one nearest neighbor on raw pixels under several ways to split.

    Slices are compared by the correlation of their pixels, so that brightness and contrast, which
    are a shortcut of their own, do not enter.

    Parameters
    ----------
    canvases
        (N, H, W), the slices in gray. The neighbors of at most 2,500, drawn at random, are
        looked up, among all that lie in other folds.
    targets
        (N,), 0 or 1.
    groupings
        For each way to split its name and (N,) what must not be torn apart, None for a split of
        single slices.
    repeats
        How often folds are drawn.
    seed
        Seed of the first draw.

    Returns
    -------
    tuple of Probe
        In the order of ``groupings``, without those in which a class has fewer than two groups.

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
    draws = {
        name: [assign_folds(targets, groups, seed=seed + draw) for draw in range(repeats)]
        for name, groups in groupings.items()
    }
    possible = {
        name: np.stack([fold for fold in folds if fold is not None])
        for name, folds in draws.items()
        if folds[0] is not None
    }
    if not possible:
        return ()
    correct = _hits(canvases, targets, np.concatenate(list(possible.values())), seed=seed)
    probes = []
    for name, scores in zip(possible, correct.reshape(-1, repeats), strict=True):
        groups = groupings[name]
        n_groups = len(targets if groups is None else np.unique(groups))
        mean, low, high = map(float, (scores.mean(), scores.min(), scores.max()))
        probes.append(Probe(name, n_groups, mean, low, high))
    return tuple(probes)


def _hits(
    canvases: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    *,
    seed: int,
) -> npt.NDArray[np.float64]:
    """Return for each row of ``folds`` (K, N) the share of slices with a neighbor like them."""
    n = len(targets)
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.permutation(n)[:_MAX_QUERIES])
    queries = standardized(canvases[asked]).reshape(len(asked), -1)
    nearest = np.full((len(folds), len(asked)), -np.inf, np.float32)
    answers = np.zeros((len(folds), len(asked)), np.int64)
    rows = np.arange(len(asked))
    for block in blocks(n, _BLOCK):
        others = standardized(canvases[block])
        likeness = queries @ others.reshape(len(others), -1).T
        for k, fold in enumerate(folds):
            same_fold = fold[asked][:, None] == fold[block]
            allowed = np.where(same_fold, -np.inf, likeness)
            best = allowed.argmax(axis=1)
            better = allowed[rows, best] > nearest[k]
            nearest[k, better] = allowed[rows, best][better]
            answers[k, better] = targets[block][best[better]]
    shares: npt.NDArray[np.float64] = np.mean(answers == targets[asked], axis=1)
    return shares

"""Stratified folds for the small classifiers of the audit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

__all__ = ["MIN_GROUPS", "assign_folds"]

#: Smallest number of groups on which the audit measures leakage and shortcuts. With fewer groups,
#: hardly any accuracy differs significantly from chance.
MIN_GROUPS = 10

_N_FOLDS = 5


def assign_folds(
    targets: npt.NDArray[np.int64], groups: npt.NDArray[Any] | None = None, *, seed: int = 0
) -> npt.NDArray[np.int64] | None:
    """Assign slices to stratified folds.

    Parameters
    ----------
    targets : ndarray of int64 of shape (n_slices,)
        Class of each slice.
    groups : ndarray of shape (n_slices,), default=None
        Groups of slices that are kept in one fold. By default, single slices are split.
    seed : int, default=0
        Random seed.

    Returns
    -------
    ndarray of int64 of shape (n_slices,), or None
        Fold of each slice. There are five folds, or fewer if a class has fewer groups. None if this
        number is below two, or there is only one class.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.fold_assignment import assign_folds
    >>> folds = assign_folds(np.array([0, 0, 0, 1, 1, 1]))
    >>> np.bincount(folds).tolist()
    [2, 2, 2]
    >>> assign_folds(np.array([0, 0, 1, 1]), np.array(["a", "a", "b", "c"])) is None
    True
    """
    units = np.arange(len(targets)) if groups is None else groups
    sizes = [len(np.unique(units[targets == target])) for target in np.unique(targets)]
    n_splits = min(_N_FOLDS, *sizes)
    if len(sizes) < 2 or n_splits < 2:
        return None
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_splits, shuffle=True, random_state=seed)
    folds = np.empty(len(targets), np.int64)
    for number, (_, test) in enumerate(splitter.split(targets, targets, groups)):
        folds[test] = number
    return folds

"""Recognition of sources, and their association with the label.

A network that recognizes the source of a slice, by its size, border or gray levels, can use the
share of COVID-19 in that source instead of the disease. This requires that sources look different,
and that labels are distributed differently over them.

Both are tested by permutation. The sources of whole groups are permuted, which keeps the number of
groups of each source; the p-value is the share of permutations with a result at least as large.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats.contingency import association

from ..evaluation.intervals import bootstrap
from .fold_assignment import MIN_GROUPS, assign_folds
from .measurements import SliceMeasurements
from .shortcuts import PROPERTIES, predict_with_tree

__all__ = ["Confounding", "Recognition", "measure_confounding", "recognize_sources"]

_N_PERMUTATIONS = 199
_QUANTILES = (5, 25, 50, 75, 95)


class Recognition(NamedTuple):
    """Accuracy of a classifier that recognizes sources by properties of the images.

    Attributes
    ----------
    sources : tuple of str
        Sources to be distinguished: those with at least two groups.
    accuracy : float
        Cross-validated accuracy over slices, in [0, 1].
    low, high : float
        Ends of its 95 % interval, from a bootstrap that resamples groups.
    base_rate : float
        Share of the largest source.
    p_value : float
        Share of permutations of the sources among groups with an accuracy at least as high.
    """

    sources: tuple[str, ...]
    accuracy: float
    low: float
    high: float
    base_rate: float
    p_value: float


class Confounding(NamedTuple):
    """Association of label and source.

    Attributes
    ----------
    counts : dict of str to dict of str to int
        Number of slices by source and label.
    groups : dict of str to int
        Number of groups of each source.
    cramers_v : float
        Cramér's V of class and source over slices: 0 if independent, 1 if the source determines
        the class.
    accuracy : float
        Accuracy of predicting the more frequent class of each source, in [0, 1].
    base_rate : float
        Accuracy of always predicting the larger class.
    p_value : float
        Share of permutations of the sources among groups with a V at least as large.
    """

    counts: dict[str, dict[str, int]]
    groups: dict[str, int]
    cramers_v: float
    accuracy: float
    base_rate: float
    p_value: float


def recognize_sources(
    measurements: SliceMeasurements,
    sources: npt.NDArray[np.str_],
    groups: npt.NDArray[Any],
    *,
    seed: int = 0,
) -> Recognition | None:
    """Cross-validate a small decision tree that predicts the source of each slice.

    Its features are the file format, color mode, size, bit depth, border and color of the
    shortcuts, and quantiles of the gray levels. Groups are kept in one fold.

    Parameters
    ----------
    measurements : SliceMeasurements
        Measurements of n_slices slices.
    sources : ndarray of str of shape (n_slices,)
        Source of each slice.
    groups : ndarray of shape (n_slices,)
        Patient, or group of near-duplicates, of each slice.
    seed : int, default=0
        Random seed.

    Returns
    -------
    Recognition or None
        None if there are fewer than two sources with two groups, or fewer than ten groups.

    Examples
    --------
    >>> import covidct
    >>> import numpy as np
    >>> from covidct.audit.measurements import measure_slices
    >>> from covidct.audit.sources import recognize_sources
    >>> slices = covidct.load_dataset("phantom", n=48, seed=0)
    >>> sources = np.where(np.char.find(slices.groups, "-000") > 0, "a", "b")
    >>> found = recognize_sources(measure_slices(slices), sources, slices.groups)
    >>> found.sources, round(found.base_rate, 2)
    (('a', 'b'), 0.83)
    """
    names, number = np.unique(sources, return_inverse=True)
    of_group = {name: len(np.unique(groups[sources == name])) for name in names}
    chosen = np.isin(sources, [name for name, count in of_group.items() if count > 1])
    kept = np.unique(sources[chosen])
    if len(kept) < 2 or len(np.unique(groups[chosen])) < MIN_GROUPS:
        return None
    targets, units = number[chosen], np.unique(groups[chosen], return_inverse=True)[1]
    flat = measurements.canvases.reshape(len(sources), -1)
    levels = np.percentile(flat, _QUANTILES, axis=1).T
    features = np.hstack([*(f(measurements) for f in PROPERTIES.values()), levels])[chosen]
    folds = assign_folds(targets, units, seed=seed)
    if folds is None:
        return None
    predicted = predict_with_tree(features, targets, folds)
    right = (predicted == targets).astype(np.float64)
    # The share of correct predictions is the accuracy of a classifier whose true classes are all 1.
    interval = bootstrap(
        np.ones_like(targets), right, groups=units, n_resamples=1000, seed=seed, names=["accuracy"]
    )["accuracy"]
    base = float(np.bincount(targets).max() / len(targets))
    # The predictions for a group do not change, since they come from trees fitted without its
    # source.
    rng = np.random.default_rng(seed)
    of_unit = _value_of_unit(targets, units)
    scores = [_excess(predicted, rng.permutation(of_unit)[units]) for _ in range(_N_PERMUTATIONS)]
    reached = np.count_nonzero(np.asarray(scores) >= _excess(predicted, targets) - 1e-9)
    return Recognition(
        tuple(map(str, kept)),
        float(right.mean()),
        interval.low,
        interval.high,
        base,
        float((1 + reached) / (1 + _N_PERMUTATIONS)),
    )


def measure_confounding(
    sources: npt.NDArray[np.str_],
    labels: npt.NDArray[np.str_],
    targets: npt.NDArray[np.int64],
    groups: npt.NDArray[Any],
    *,
    seed: int = 0,
) -> Confounding | None:
    """Measure the association of label and source.

    Parameters
    ----------
    sources, labels : ndarray of str of shape (n_slices,)
        Source and original class of each slice.
    targets : ndarray of int64 of shape (n_slices,)
        Class of each slice, 0 or 1.
    groups : ndarray of shape (n_slices,)
        Patient, or group of near-duplicates, of each slice.
    seed : int, default=0
        Random seed.

    Returns
    -------
    Confounding or None
        None if there is one source or one class.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.sources import measure_confounding
    >>> sources = np.repeat(["a", "b"], 50)
    >>> targets = np.r_[np.ones(40, int), np.zeros(20, int), np.ones(40, int)]
    >>> found = measure_confounding(sources, targets.astype(str), targets, np.arange(100))
    >>> found.counts["a"], round(found.cramers_v, 2), found.accuracy
    ({'0': 10, '1': 40}, 0.0, 0.8)
    """
    names, number = np.unique(sources, return_inverse=True)
    if len(names) < 2 or len(np.unique(targets)) < 2:
        return None
    counts = {
        str(name): {
            str(label): int(np.count_nonzero((sources == name) & (labels == label)))
            for label in np.unique(labels)
        }
        for name in names
    }
    table = _contingency(number, targets)
    units = np.unique(groups, return_inverse=True)[1]
    of_unit = _value_of_unit(number, units)
    observed = _cramers_v(table)
    rng = np.random.default_rng(seed)
    drawn = [
        _cramers_v(_contingency(rng.permutation(of_unit)[units], targets))
        for _ in range(_N_PERMUTATIONS)
    ]
    reached = np.count_nonzero(np.asarray(drawn) >= observed - 1e-9)
    return Confounding(
        counts,
        {str(name): len(np.unique(groups[sources == name])) for name in names},
        observed,
        float(table.max(axis=1).sum() / table.sum()),
        float(np.bincount(targets).max() / len(targets)),
        float((1 + reached) / (1 + _N_PERMUTATIONS)),
    )


def _contingency(
    sources: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    table = np.bincount(2 * sources + targets, minlength=2 * (int(sources.max()) + 1))
    pairs = table.reshape(-1, 2)
    counts: npt.NDArray[np.int64] = pairs[pairs.sum(axis=1) > 0]
    return counts


def _cramers_v(table: npt.NDArray[np.int64]) -> float:
    return float(association(table, method="cramer")) if len(table) > 1 else 0.0


def _excess(predicted: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> float:
    """Return the accuracy above that of a constant."""
    return float(np.mean(predicted == targets) - np.bincount(targets).max() / len(targets))


def _value_of_unit(
    values: npt.NDArray[np.int64], units: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the value of the first slice of each unit."""
    first = np.unique(units, return_index=True)[1]
    chosen: npt.NDArray[np.int64] = values[first]
    return chosen

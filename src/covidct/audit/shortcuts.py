"""Shortcuts: image properties unrelated to the lung that predict the class.

The best of several classifiers exceeds the base rate by chance more often than a single one. Each
accuracy is therefore compared with that of the best classifier under permutations: the labels of
whole groups are permuted, and the largest difference of accuracy and base rate over all classifiers
is taken in each permutation (Westfall and Young, "Resampling-based multiple testing", 1993). The
predictions do not change, since those for a group come from classifiers that were not fitted on its
label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from ..evaluation.intervals import bootstrap
from .fold_assignment import MIN_GROUPS, assign_folds
from .measurements import SliceMeasurements

__all__ = ["PROPERTIES", "Shortcut", "measure_shortcuts", "predict_with_tree"]

Columns = npt.NDArray[np.float64]


def _one_hot(values: npt.NDArray[np.str_]) -> Columns:
    columns: Columns = (values[:, None] == np.unique(values)).astype(np.float64)
    return columns


def _geometry(measurements: SliceMeasurements) -> Columns:
    height, width = measurements.sizes.T
    return np.stack([height, width, width / height], axis=1)


#: Name of each property, and the function that computes its features, (n_slices, n_features).
PROPERTIES: dict[str, Callable[[SliceMeasurements], Columns]] = {
    "file format": lambda measurements: _one_hot(measurements.formats),
    "color mode": lambda measurements: _one_hot(measurements.modes),
    "image size": _geometry,
    "bit depth": lambda measurements: measurements.bit_depths[:, None].astype(np.float64),
    "border gray level": lambda measurements: measurements.borders[:, None],
    "burned-in color": lambda measurements: measurements.colored[:, None],
}

_COMBINATIONS = (("file format", "color mode"), tuple(PROPERTIES))
# Deep enough to combine a few properties, too shallow to memorize single slices.
_TREE = {"max_depth": 4, "min_samples_leaf": 5, "random_state": 0}
_N_RESAMPLES = 1000
_N_PERMUTATIONS = 199


class Shortcut(NamedTuple):
    """Accuracy of a classifier that uses only certain properties of the images.

    Attributes
    ----------
    properties : tuple of str
        Properties that the classifier uses, keys of `PROPERTIES`.
    accuracy : float
        Cross-validated accuracy, in [0, 1].
    low, high : float
        Ends of its 95 % confidence interval, from a bootstrap that resamples groups.
    base_rate : float
        Accuracy of always predicting the larger class.
    p_value : float
        Share of permutations of the labels in which the best classifier exceeds the base rate at
        least as much, which accounts for the number of classifiers.
    """

    properties: tuple[str, ...]
    accuracy: float
    low: float
    high: float
    base_rate: float
    p_value: float = 0.0


def measure_shortcuts(
    measurements: SliceMeasurements,
    targets: npt.NDArray[np.int64],
    *,
    groups: npt.NDArray[Any] | None = None,
    seed: int = 0,
) -> tuple[Shortcut, ...]:
    """Cross-validate small decision trees on image properties, alone and in combination.

    Parameters
    ----------
    measurements : SliceMeasurements
        Measurements of n_slices slices.
    targets : ndarray of int64 of shape (n_slices,)
        Class of each slice, 0 or 1.
    groups : ndarray of shape (n_slices,), default=None
        Groups of slices that are kept in one fold. By default, single slices are split.
    seed : int, default=0
        Random seed of folds, permutations and bootstrap.

    Returns
    -------
    tuple of Shortcut
        One for each property that varies between slices, one for format and mode together, and one
        for all properties together. Empty if there are fewer than ten groups, or fewer than two of
        a class.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.measurements import measure_slices
    >>> from covidct.audit.shortcuts import measure_shortcuts
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> shortcuts = measure_shortcuts(measure_slices(slices), slices.targets)
    >>> [shortcut.properties for shortcut in shortcuts]
    [('image size',), ('border gray level',), ('image size', 'border gray level')]
    """
    if len(targets if groups is None else np.unique(groups)) < MIN_GROUPS:
        return ()
    folds = assign_folds(targets, groups, seed=seed)
    if folds is None:
        return ()
    columns = {name: values(measurements) for name, values in PROPERTIES.items()}
    varying = [name for name, values in columns.items() if np.ptp(values, axis=0).any()]
    base_rate = float(np.bincount(targets).max() / len(targets))
    shortcuts, predictions = [], []
    for properties in _property_sets(varying):
        features = np.hstack([columns[name] for name in properties])
        predicted = predict_with_tree(features, targets, folds)
        interval = bootstrap(
            targets,
            predicted,
            groups=groups,
            n_resamples=_N_RESAMPLES,
            seed=seed,
            names=["accuracy"],
        )["accuracy"]
        predictions.append(predicted)
        accuracy = float(np.mean(predicted == targets))
        shortcuts.append(Shortcut(properties, accuracy, *interval, base_rate))
    if not shortcuts:
        return ()
    p_values = _p_values(np.stack(predictions), targets, groups, seed=seed)
    return tuple(
        shortcut._replace(p_value=p_value)
        for shortcut, p_value in zip(shortcuts, p_values, strict=True)
    )


def predict_with_tree(
    features: Columns, targets: npt.NDArray[np.int64], folds: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Predict the classes of each fold by a small decision tree fitted on the other folds.

    Parameters
    ----------
    features : ndarray of float64 of shape (n_slices, n_features)
        Features.
    targets : ndarray of int64 of shape (n_slices,)
        Classes.
    folds : ndarray of int64 of shape (n_slices,)
        Fold of each slice.

    Returns
    -------
    ndarray of int64 of shape (n_slices,)
        Predicted classes.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.shortcuts import predict_with_tree
    >>> targets = np.arange(40) % 2
    >>> predicted = predict_with_tree(targets[:, None] * 1.5, targets, np.arange(40) // 20)
    >>> bool((predicted == targets).all())
    True
    """
    tree = DecisionTreeClassifier(**_TREE)
    return np.asarray(cross_val_predict(tree, features, targets, cv=PredefinedSplit(folds)))


def _p_values(
    predictions: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    groups: npt.NDArray[Any] | None,
    *,
    seed: int,
) -> list[float]:
    units = np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(units).astype(np.float64)
    share = np.bincount(units, targets) / sizes  # of slices of class 1
    positive = np.stack([np.bincount(units, predicted, len(sizes)) for predicted in predictions])

    def excess(share: Columns) -> Columns:
        """Return the number of correct slices of each classifier above that of a constant."""
        correct = (2 * positive - sizes) @ share + (sizes - positive).sum(axis=1)
        ones = float(sizes @ share)
        difference: Columns = correct - max(ones, len(targets) - ones)
        return difference

    rng = np.random.default_rng(seed)
    largest = [excess(rng.permutation(share)).max() for _ in range(_N_PERMUTATIONS)]
    reached = np.asarray(largest) >= excess(share)[:, None] - 1e-6
    p_values: list[float] = ((1 + reached.sum(axis=1)) / (1 + _N_PERMUTATIONS)).tolist()
    return p_values


def _property_sets(varying: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield each varying property alone, then the varying part of each combination once."""
    seen: list[tuple[str, ...]] = [(name,) for name in varying]
    yield from seen
    for combination in _COMBINATIONS:
        properties = tuple(name for name in combination if name in varying)
        if properties and properties not in seen:
            seen.append(properties)
            yield properties

"""How well the class is predicted by what has nothing to do with lungs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from ..evaluation.intervals import bootstrap
from .fold_assignment import assign_folds
from .measurements import SliceMeasurements

__all__ = ["PROPERTIES", "Shortcut", "measure_shortcuts"]

Columns = npt.NDArray[np.float64]


def _one_hot(values: npt.NDArray[np.str_]) -> Columns:
    columns: Columns = (values[:, None] == np.unique(values)).astype(np.float64)
    return columns


def _geometry(measurements: SliceMeasurements) -> Columns:
    height, width = measurements.sizes.T
    return np.stack([height, width, width / height], axis=1)


#: What a shortcut may rest on, and the columns (N, C) that say so.
PROPERTIES: dict[str, Callable[[SliceMeasurements], Columns]] = {
    "file format": lambda measurements: _one_hot(measurements.formats),
    "color mode": lambda measurements: _one_hot(measurements.modes),
    "image size": _geometry,
    "bit depth": lambda measurements: measurements.bit_depths[:, None].astype(np.float64),
    "border gray level": lambda measurements: measurements.borders[:, None],
    "burned-in color": lambda measurements: measurements.colored[:, None],
}

_COMBINATIONS = (("file format", "color mode"), tuple(PROPERTIES))
# Enough to use a few properties together, too little to learn single slices by heart.
_TREE = {"max_depth": 4, "min_samples_leaf": 5, "random_state": 0}
_N_RESAMPLES = 1000


class Shortcut(NamedTuple):
    """What a classifier scores that sees only some properties of the files.

    Attributes
    ----------
    sees : tuple of str
        The properties, of :data:`PROPERTIES`.
    accuracy : float
        Cross-validated, in [0, 1].
    low, high : float
        Its 95 % confidence interval, from drawing groups again.
    base_rate : float
        The accuracy of always naming the larger class.
    """

    sees: tuple[str, ...]
    accuracy: float
    low: float
    high: float
    base_rate: float


def measure_shortcuts(
    measurements: SliceMeasurements,
    targets: npt.NDArray[np.int64],
    *,
    groups: npt.NDArray[Any] | None = None,
    seed: int = 0,
) -> tuple[Shortcut, ...]:
    """Cross-validate small decision trees on properties of the files, alone and together.

    Parameters
    ----------
    measurements
        Of N slices.
    targets
        (N,), 0 or 1.
    groups
        (N,), what must not be torn apart by a fold; None splits slices.
    seed
        Seed of folds and resampling.

    Returns
    -------
    tuple of Shortcut
        One for each property that is not the same in all slices, then for format and mode, and
        for all together. Empty where a class has fewer than two groups.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.measurements import measure_slices
    >>> from covidct.audit.shortcuts import measure_shortcuts
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> [shortcut.sees for shortcut in measure_shortcuts(measure_slices(slices), slices.targets)]
    [('image size',), ('border gray level',), ('image size', 'border gray level')]
    """
    folds = assign_folds(targets, groups, seed=seed)
    if folds is None:
        return ()
    columns = {name: values(measurements) for name, values in PROPERTIES.items()}
    varying = [name for name, values in columns.items() if np.ptp(values, axis=0).any()]
    base_rate = float(np.bincount(targets).max() / len(targets))
    shortcuts = []
    for sees in _sets(varying):
        predicted = cross_val_predict(
            DecisionTreeClassifier(**_TREE),
            np.hstack([columns[name] for name in sees]),
            targets,
            cv=PredefinedSplit(folds),
        )
        interval = bootstrap(
            targets,
            predicted,
            groups=groups,
            n_resamples=_N_RESAMPLES,
            seed=seed,
            names=["accuracy"],
        )["accuracy"]
        accuracy = float(np.mean(predicted == targets))
        shortcuts.append(Shortcut(sees, accuracy, *interval, base_rate))
    return tuple(shortcuts)


def _sets(varying: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield each property alone, then those of each combination that vary, where it is new."""
    seen: list[tuple[str, ...]] = [(name,) for name in varying]
    yield from seen
    for combination in _COMBINATIONS:
        sees = tuple(name for name in combination if name in varying)
        if sees and sees not in seen:
            seen.append(sees)
            yield sees

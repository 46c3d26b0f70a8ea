"""Checks of the arrays that every module of the evaluation takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def check_targets(targets: npt.ArrayLike) -> Ints:
    """Return the targets as int64 (N,), or say which value is neither 0 nor 1."""
    values = np.asarray(targets)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"targets must be one-dimensional and not empty, got shape {values.shape}")
    wrong = values[~np.isin(values, (0, 1))]
    if wrong.size:
        raise ValueError(f"targets must be 0 (non-COVID) or 1 (COVID-19), got {wrong[0]!r}")
    return values.astype(np.int64)


def check_finite(name: str, values: npt.ArrayLike, length: int) -> Floats:
    """Return ``values`` as float64 of shape (length,), or say what is wrong with them."""
    checked = np.asarray(values, dtype=np.float64)
    if checked.shape != (length,):
        raise ValueError(
            f"{name} must have one value for each of {length} targets, got shape {checked.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(checked))
    if bad.size:
        raise ValueError(f"{name} must be finite, got {checked[bad[0]]} at position {bad[0]}")
    return checked


def check_predictions(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, *, name: str = "probabilities"
) -> tuple[Ints, Floats]:
    """Return targets and probabilities as arrays of one length, or say what is wrong with them."""
    labels = check_targets(targets)
    values = check_finite(name, probabilities, len(labels))
    outside = np.flatnonzero((values < 0) | (values > 1))
    if outside.size:
        raise ValueError(
            f"{name} must lie in [0, 1], got {values[outside[0]]} at position {outside[0]}; "
            "give probabilities, not logits"
        )
    return labels, values


def check_fraction(name: str, value: float, *, closed: bool = False) -> float:
    """Return ``value`` when it lies in (0, 1), or in [0, 1] when ``closed``."""
    if not (0 < value < 1 or (closed and value in (0, 1))):
        raise ValueError(f"{name} must lie in {'[0, 1]' if closed else '(0, 1)'}, got {value!r}")
    return float(value)


def check_labels(name: str, labels: npt.ArrayLike, length: int) -> npt.NDArray[np.generic]:
    """Return the labels as an array of shape (length,), or say what is wrong with them."""
    values = np.asarray(labels)
    if values.shape != (length,):
        raise ValueError(
            f"{name} must have one value for each of {length} targets, got shape {values.shape}"
        )
    return values


def group_names(groups: npt.ArrayLike, length: int) -> npt.NDArray[np.str_]:
    """Return the groups as text (length,); unknown ones (None, NaN, empty) are the empty text."""
    values = np.asarray(groups, dtype=object)
    if values.shape != (length,):
        raise ValueError(
            f"groups must have one value for each of {length} targets, got shape {values.shape}"
        )
    return np.array(["" if g is None or g != g else str(g) for g in values], dtype=np.str_)


def group_codes(groups: npt.ArrayLike | None, length: int) -> Ints:
    """Return each slice's group as a number; one of unknown group is a group of its own."""
    if groups is None:
        return np.arange(length)
    names = group_names(groups, length)
    known = names != ""
    codes = np.empty(length, dtype=np.int64)
    distinct, codes[known] = np.unique(names[known], return_inverse=True)
    codes[~known] = len(distinct) + np.arange(np.count_nonzero(~known))
    return codes

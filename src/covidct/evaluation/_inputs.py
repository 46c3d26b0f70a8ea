"""Validation of the input arrays of this package."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._checks import number

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def as_array(values: Any, dtype: Any = None) -> npt.NDArray[Any]:
    """Convert a list, a Series, or a PyTorch tensor on any device to an array.

    Masked values of a masked array and missing values of a Series become None, or NaN among floats.
    """
    if hasattr(values, "detach"):  # a tensor; this package does not import torch
        values = values.detach().cpu()
        # NumPy lacks bfloat16.
        values = (values.double() if values.is_floating_point() else values).numpy()
    elif isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values)
        values = values.data.astype(object)
        values[masked] = None
    elif hasattr(values, "isna") and not isinstance(values.dtype, np.dtype):
        values = values.astype(object).where(values.notna(), None)  # NA has no truth value
    return np.asarray(values, dtype=dtype)


def check_targets(targets: npt.ArrayLike) -> Ints:
    """Return the targets as int64; raise ValueError if one is neither 0 nor 1."""
    values = as_array(targets)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"targets must be one-dimensional and not empty, got shape {values.shape}")
    wrong = values[~np.isin(values, (0, 1))]
    if wrong.size:
        raise ValueError(f"targets must be 0 (non-COVID) or 1 (COVID-19), got {wrong[0]!r}")
    return values.astype(np.int64)


def check_finite(name: str, values: npt.ArrayLike, length: int) -> Floats:
    """Return `values` as float64; raise ValueError if one is not finite or the length differs."""
    checked = as_array(values, np.float64)
    _check_length(name, checked.shape, length)
    bad = np.flatnonzero(~np.isfinite(checked))
    if bad.size:
        raise ValueError(f"{name} must be finite, got {checked[bad[0]]} at position {bad[0]}")
    return checked


def check_predictions(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, *, name: str = "probabilities"
) -> tuple[Ints, Floats]:
    """Return targets and probabilities as arrays of one length; raise ValueError if invalid."""
    labels = check_targets(targets)
    values = check_finite(name, probabilities, len(labels))
    outside = np.flatnonzero((values < 0) | (values > 1))
    if outside.size:
        raise ValueError(
            f"{name} must be in [0, 1], got {values[outside[0]]} at position {outside[0]}; "
            "pass probabilities, not logits"
        )
    return labels, values


def check_fraction(name: str, value: float, *, closed: bool = False) -> float:
    """Return `value`; raise ValueError if it is outside (0, 1), or [0, 1] if `closed`."""
    number(name, value)
    if not (0 < value < 1 or (closed and value in (0, 1))):
        raise ValueError(f"{name} must be in {'[0, 1]' if closed else '(0, 1)'}, got {value!r}")
    return float(value)


def check_labels(name: str, labels: npt.ArrayLike, length: int) -> npt.NDArray[np.generic]:
    """Return the labels as an array; raise ValueError if the length differs."""
    values = as_array(labels)
    _check_length(name, values.shape, length)
    return values


def group_names(groups: npt.ArrayLike, length: int) -> npt.NDArray[np.str_]:
    """Return the groups as text, with the empty string for unknown ones (None, NaN, empty)."""
    values = as_array(groups, object)
    _check_length("groups", values.shape, length)
    return np.array(["" if g is None or g != g else str(g) for g in values], dtype=np.str_)


def group_codes(groups: npt.ArrayLike | None, length: int) -> Ints:
    """Return each slice's group as a number; a slice of unknown group forms its own group."""
    if groups is None:
        return np.arange(length)
    names = group_names(groups, length)
    known = names != ""
    codes = np.empty(length, dtype=np.int64)
    distinct, codes[known] = np.unique(names[known], return_inverse=True)
    codes[~known] = len(distinct) + np.arange(np.count_nonzero(~known))
    return codes


def _check_length(name: str, shape: tuple[int, ...], length: int) -> None:
    if shape != (length,):
        raise ValueError(
            f"{name} must have one value for each of {length} targets, got shape {shape}"
        )

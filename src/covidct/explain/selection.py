"""Choice of the slices to explain, by name or by position in a volume."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import UnknownNameError
from ..runs.predictions import Prediction, VolumePrediction, by_volume

__all__ = ["slices_of_volumes", "slices_with_names"]

Index = npt.NDArray[np.int64]

_LISTED = 20  # largest number of names that an error suggests


def slices_with_names(names: Sequence[str], patterns: Sequence[str]) -> Index:
    """Find slices by their names.

    Parameters
    ----------
    names : sequence of str
        Names of all slices, such as ``ds.names``, or those of predictions.
    patterns : sequence of str
        Names, or final parts of names after a slash; or shell-style patterns of either, with ``*``,
        ``?`` and ``[...]``. A frame of a file is named ``scan.nii.gz#12``.

    Returns
    -------
    ndarray of int
        Indices of the slices, each once, in the order of the patterns.

    Raises
    ------
    UnknownNameError
        If no slice has one of the names.

    Examples
    --------
    >>> from covidct.explain import slices_with_names
    >>> names = ["COVID/p1/0.png", "COVID/p1/1.png", "non-COVID/p2/0.png"]
    >>> slices_with_names(names, ["p2/*", "COVID/p1/1.png"])
    array([2, 1])
    """
    plain = [name.replace("\\", "/") for name in names]
    chosen: dict[int, None] = {}
    for pattern in patterns:
        suffix = pattern.replace("\\", "/")
        found = [i for i, name in enumerate(plain) if name == suffix or name.endswith(f"/{suffix}")]
        found = found or [
            i
            for i, name in enumerate(plain)
            if fnmatchcase(name, suffix) or fnmatchcase(name, f"*/{suffix}")
        ]
        if not found:
            raise UnknownNameError.among("slice", pattern, plain[:_LISTED])
        chosen.update(dict.fromkeys(found))
    return np.array(list(chosen), np.int64)


def slices_of_volumes(
    predictions: Sequence[Prediction], which: Literal["lung", "all"] | tuple[int, int]
) -> Index:
    """Find slices by their position in their volume.

    Parameters
    ----------
    predictions : sequence of Prediction
        Predictions, as returned by `covidct.Predictor.predict`.
    which : {"lung", "all"} or tuple of (int, int)
        ``"lung"``: the slices that are counted for the probability of the volume; ``"all"``: all
        slices; or the numbers of the first and the last slice, from 0 at the feet. Single images
        are always chosen.

    Returns
    -------
    ndarray of int
        Ascending indices of the slices that could be read.

    Raises
    ------
    ValueError
        If `which` is invalid, or if no slice is chosen.

    Examples
    --------
    >>> from covidct.explain import slices_of_volumes
    >>> from covidct.runs.predictions import Prediction
    >>> slices = [Prediction("scan.mha", 0.5, 0.0, (), (8, 8), k, volume="scan") for k in range(9)]
    >>> slices_of_volumes(slices, (3, 5))
    array([3, 4, 5])
    """
    if which not in ("lung", "all") and not _is_range(which):
        raise ValueError(
            f"slices must be 'lung', 'all' or (first, last) with 0 <= first <= last, got {which!r}"
        )
    chosen: list[int] = []
    first = 0
    for volume in by_volume(predictions):
        chosen += [first + i for i in _of_volume(volume, which)]
        first += len(volume)
    if not chosen:
        raise ValueError(f"no readable slice is among the slices {which!r} of the volumes")
    return np.array(chosen, np.int64)


def _of_volume(
    volume: VolumePrediction, which: Literal["lung", "all"] | tuple[int, int]
) -> list[int]:
    readable = [i for i, p in enumerate(volume.slices) if p.readable]
    if which == "all" or volume.slices[0].volume is None:
        return readable
    if which == "lung":
        counted = set(map(id, volume.counted))
        return [i for i in readable if id(volume.slices[i]) in counted]
    return [i for i in readable if int(which[0]) <= i <= int(which[1])]


def _is_range(which: object) -> bool:
    return isinstance(which, tuple) and len(which) == 2 and bool(0 <= which[0] <= which[1])

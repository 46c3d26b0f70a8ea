"""Slices for ``slices="labelled"``: class 1 with lesions, and class 0 with lung."""

from __future__ import annotations

import logging
from collections.abc import Set
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._parallel import map_in_threads
from ..ct_dataset import CTDataset

__all__ = ["labeled_slices", "lesions_of_masks", "slice_keys"]

logger = logging.getLogger(__name__)

#: File and frame of a slice.
SliceKey = tuple[Path, int]


def slice_keys(dataset: CTDataset) -> set[SliceKey]:
    """Return the file and frame of each slice."""
    return set(zip(dataset.paths, dataset.frames.tolist(), strict=True))


def lesions_of_masks(dataset: CTDataset) -> npt.NDArray[np.float64]:
    """Return 1 for each slice with a lesion in its mask, 0 without, and NaN if there is no mask."""

    def lesion(index: int) -> float:
        masks = dataset.masks(index) or {}
        return float(masks["lesion"].any()) if "lesion" in masks else float("nan")

    return np.array(map_in_threads(lesion, range(len(dataset)), description="Reading masks"))


def labeled_slices(
    dataset: CTDataset, lesion: npt.NDArray[np.float64], lung: Set[SliceKey]
) -> CTDataset:
    """Select the slices of class 1 with lesions, and those of class 0 with lung.

    Parameters
    ----------
    dataset : CTDataset
        All slices.
    lesion : ndarray of float64 of shape (n_slices,)
        1 with a lesion, 0 without, NaN if unknown.
    lung : set of (Path, int)
        Slices of class 0 that show lung.

    Returns
    -------
    CTDataset
        Selected slices. The numbers of the others are logged.

    Raises
    ------
    ValueError
        If no slice is selected.
    """
    positive = dataset.targets == 1
    keys = zip(dataset.paths, dataset.frames.tolist(), strict=True)
    kept = np.where(positive, lesion == 1, [key in lung for key in keys])
    unknown = positive & np.isnan(lesion)
    logger.info(
        "slices='labelled' leaves out %d slices without a lesion of labeled COVID-19 patients, %d "
        "slices of %d COVID-19 patients without slice labels, and %d slices of class 0 that do not "
        "show lung",
        np.sum(positive & (lesion == 0)),
        np.sum(unknown),
        dataset.table.loc[unknown, "group"].nunique(),
        np.sum(~positive & ~kept),
    )
    return dataset.subset(kept)

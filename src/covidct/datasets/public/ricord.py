"""MIDRC-RICORD 1A and 1B: DICOM studies whose collection is the label."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from ..ct_dataset import CTDataset, OnError, StrPath, relative_names
from ..gray import WindowChoice
from ..groups import Groups
from ..info import DatasetInfo
from ..rows import SliceChoice, as_dataset, check_slices, slice_rows
from ..slices import find_slices
from .local_copy import LocalCopy

__all__ = ["load"]

_PATIENT = re.compile(r"(?:^|/)(MIDRC-RICORD-(1[AB])-[\w.-]+)/", re.I)
_COLLECTION = re.compile(r"(?:^|/)(?:MIDRC-)?RICORD-?(1[AB])/([^/]+)/", re.I)


def load(
    root: StrPath,
    *,
    info: DatasetInfo,
    series: Literal["best", "all"] = "best",
    positive: object = None,
    negative: object = None,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the CT series of RICORD 1A (COVID-19) and 1B (negative).

    Localizers, reformats and projections are left out. Collection and patient are read from the
    name of the patient's folder.

    Parameters
    ----------
    root : str or path-like
        Folder with one or both collections.
    info : DatasetInfo
        Entry of the registry.
    series : {"best", "all"}, default="best"
        ``"best"`` takes one series per patient: the first by original before derived slices, and by
        number of slices.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "RICORD-1A" against "RICORD-1B".
    slices : {"lung", "all"} or tuple of (int, int), default="lung"
        Slices to take of each series.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units.
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out files that cannot be used.

    Returns
    -------
    CTDataset
        Slices with patients.

    Raises
    ------
    FileNotFoundError
        If there is no CT series in a patient's folder of the collections.
    ValueError
        If `series` or `slices` has an invalid value.
    """
    check_slices(slices)
    if series not in ("best", "all"):
        raise ValueError(f"series must be 'best' or 'all', got {series!r}")
    copy = LocalCopy(root, info)
    found = find_slices(
        copy.root, root=copy.root, on_error=on_error, one_per_patient=series == "best"
    )
    placed = {volume.name: _place(volume.paths[0], copy.root) for volume in found.volumes}
    volumes = [volume for volume in found.volumes if placed[volume.name] is not None]
    if not volumes:
        raise copy.missing(
            "CT series in a folder such as MIDRC-RICORD-1A/MIDRC-RICORD-1A-419639-000082"
        )
    rows = slice_rows(found._replace(volumes=volumes, images=[]), slices=slices)
    places = [placed[name] or ("", "") for name in rows["volume"]]
    rows["label"] = [label for label, _ in places]
    return as_dataset(
        rows,
        Groups([patient for _, patient in places]),
        info=info,
        root=copy.root,
        positive=positive,
        negative=negative,
        window=window,
        skipped=[(str(path), reason) for path, reason in found.set_aside],
    )


def _place(path: Path, root: Path) -> tuple[str, str] | None:
    """Return the collection and the patient of a file."""
    (name,) = relative_names([path], root)
    if match := _PATIENT.search(name):
        return f"RICORD-{match[2].upper()}", match[1]
    if match := _COLLECTION.search(name):
        return f"RICORD-{match[1].upper()}", match[2]
    return None

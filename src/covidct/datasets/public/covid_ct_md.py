"""COVID-CT-MD: DICOM series with labels of slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...errors import InvalidFileError
from ..ct_dataset import CTDataset, OnError, StrPath, relative_names
from ..dicom_file import DicomFile, guarded
from ..gray import WindowChoice
from ..groups import Groups
from ..info import DatasetInfo
from ..rows import SliceChoice, as_dataset, check_slices, slice_rows
from ..slices import find_slices
from ..tabular import read_table, require_columns
from .local_copy import LocalCopy
from .slice_labels import labeled_slices

__all__ = ["load"]

_LABELS = {
    f"{name}{kind}": label
    for name, label in (("covid19", "COVID-19"), ("cap", "CAP"), ("normal", "Normal"))
    for kind in ("cases", "subjects", "")
}
_ARRAYS = ("Slice-level-labels-updated*.npy", "Slice-level-labels.npy")


def load(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the series of COVID-CT-MD, with slice labels if there are any.

    The rows of the authors' array of slice labels are in the order of the rows of ``Index.csv``,
    and its columns are the slices by decreasing SliceLocation, from the head downwards. Of several
    arrays, the one with ``-updated`` in its name is used. A table ``labels.csv`` with the columns
    ``patient``, ``file`` and ``lesion`` can be used instead.

    Parameters
    ----------
    root : str or path-like
        Folder with the folders of the classes, ``... Cases`` or ``... subjects``, at any depth.
    info : DatasetInfo
        Entry of the registry.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "COVID-19" against "CAP" and "Normal".
    slices : {"lung", "all", "labelled"} or tuple of (int, int), default="lung"
        Slices to take of each series. ``"labelled"`` takes the slices with lesions of class 1, and
        the slices with lung of class 0. Patients of class 1 without slice labels are left out.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units.
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out files that cannot be used.

    Returns
    -------
    CTDataset
        Slices with the column ``lesion`` in `table`: 1, 0, or NaN if unknown.

    Raises
    ------
    FileNotFoundError
        If no class folder contains a folder with a series, or there are no slice labels and
        `slices` is ``"labelled"``.
    covidct.errors.InvalidFileError
        If slice labels are malformed, or a series cannot be used.
    """
    check_slices(slices, labelled=True)
    copy = LocalCopy(root, info)
    places = copy.by_class(copy.files, _LABELS)
    places = places[places["below"].str.len() > 0]
    if places.empty:
        raise copy.missing("folder per patient below the class folders")
    folders = {_patient_folder(name, a) for name, a in zip(places.path, places.above, strict=True)}
    found = find_slices(
        [copy.root / name for name in sorted(folders)], root=copy.root, on_error=on_error
    )
    if not found.volumes and not found.images:
        raise copy.missing("DICOM slices in the folders of the patients")
    place = {
        name: (label, below[0])
        for name, label, below in zip(places.path, places.label, places.below, strict=True)
    }
    every = slice_rows(found, slices="all")
    names = relative_names(every["path"], copy.root)
    every["label"] = [place[name][0] for name in names]
    every["group"] = [place[name][1] for name in names]
    every["lesion"] = _lesions(copy, every, needed=slices == "labelled")
    key = ["path", "frame"]
    if slices == "labelled":
        rows = every
    else:
        chosen = slice_rows(found, slices=slices)[key]
        rows = chosen.merge(every, on=key, how="left", validate="one_to_one")
    dataset = as_dataset(
        rows,
        Groups(rows["group"].tolist()),
        info=info,
        root=copy.root,
        positive=positive,
        negative=negative,
        window=window,
        skipped=[(str(path), reason) for path, reason in found.set_aside],
        metadata=["lesion"],
    )
    if slices != "labelled":
        return dataset
    of_class_0 = {dataset.paths[i] for i in np.flatnonzero(dataset.targets == 0)}
    part = [volume for volume in found.volumes if volume.paths[0] in of_class_0]
    lung = slice_rows(found._replace(volumes=part), slices="lung")  # with single slices
    keys = set(zip(lung["path"], lung["frame"], strict=True))
    return labeled_slices(dataset, dataset.table["lesion"].to_numpy(np.float64), keys)


def _patient_folder(name: str, above: tuple[str, ...]) -> str:
    return "/".join(name.split("/")[: len(above) + 2])


def _lesions(copy: LocalCopy, rows: pd.DataFrame, *, needed: bool) -> npt.NDArray[np.float64]:
    """Return the label of each slice: 1 with a lesion, 0 without, NaN if unknown."""
    array = copy.file(*_ARRAYS)
    index = copy.file("Index.csv")
    if array is not None and index is not None:
        return _by_array(array, index, rows)
    listed = copy.file("labels.csv")
    if listed is not None:
        return _by_table(listed, rows)
    if needed:
        raise copy.missing(
            "slice labels (Index.csv with Slice-level-labels.npy, or labels.csv), which "
            "slices='labelled' needs"
        )
    return np.full(len(rows), np.nan)


def _by_array(path: Path, index: Path, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    try:
        array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise InvalidFileError(f"{str(path)!r} cannot be read as an array: {error}") from error
    table = read_table(index)
    column = next((name for name in table.columns if "folder" in name.casefold()), None)
    if column is None or array.ndim != 2 or len(array) != len(table):
        raise InvalidFileError(
            f"{str(path)!r}, of shape {array.shape}, does not have a row for each of the "
            f"{len(table)} patients of {str(index)!r}"
        )
    row_of = {str(patient).strip(): row for row, patient in enumerate(table[column])}
    lesion = np.full(len(rows), np.nan)
    for patient in rows["group"].unique():
        if patient in row_of:
            index_of = np.flatnonzero(rows["group"] == patient)
            order = _from_the_head(rows.iloc[index_of])[: array.shape[1]]
            labels: Any = array[row_of[patient]]
            lesion[index_of[order]] = labels[: len(order)] > 0
    return lesion


def _from_the_head(part: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the order of a patient's slices by decreasing SliceLocation.

    Positions give the same order or its reverse. SliceLocation is read only of the first and last
    slice, to find out which.
    """
    position = part["position"].to_numpy(np.float64)
    if np.isnan(position).any():
        position = np.array([_location(path) for path in part["path"]])
        if np.isnan(position).any():
            raise InvalidFileError(
                f"{str(part['path'].iloc[0].parent)!r} has slices without position, so that slice "
                "labels cannot be assigned"
            )
    order = np.argsort(-position, kind="stable")
    first, last = (_location(part["path"].iloc[i]) for i in (order[0], order[-1]))
    return order[::-1] if first < last else order


def _location(path: Path) -> float:
    with guarded(path):
        value = DicomFile(path).tag("SliceLocation")
    return float("nan") if value is None else float(value)


def _by_table(path: Path, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    table = read_table(path)
    require_columns(table, ("patient", "file", "lesion"), origin=repr(str(path)))
    keys = zip(table["patient"], table["file"], strict=True)
    lesion_of = dict(zip(keys, table["lesion"].astype(float), strict=True))
    found = zip(rows["group"], (p.name for p in rows["path"]), strict=True)
    return np.array([lesion_of.get(key, np.nan) for key in found])

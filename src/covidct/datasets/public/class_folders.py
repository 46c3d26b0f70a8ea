"""Datasets of pictures in class folders, with or without a folder per patient or scan."""

from __future__ import annotations

import logging

import pandas as pd

from ..._text import some
from ..ct_dataset import CTDataset, OnError, StrPath
from ..gray import WindowChoice
from ..info import DatasetInfo
from ..tabular import read_table
from .local_copy import LocalCopy, plain

__all__ = ["load_cov19_ct_db", "load_ictcf", "load_sars_cov_2_ct_multiclass"]

logger = logging.getLogger(__name__)


def load_sars_cov_2_ct_multiclass(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the slices of the COVID multiclass dataset, which has three classes and known patients.

    Patients' folders have unique names only within a class, so that the id of a patient contains
    the class.

    Parameters
    ----------
    root : str or path-like
        Folder with ``Covid``, ``Healthy`` and ``Others``, at any depth.
    info : DatasetInfo
        Entry of the registry.
    positive, negative : str or sequence of str, optional
        Labels of both classes, as in :func:`covidct.datasets.folder.load`; by default "Covid"
        against "Healthy" and "Others".
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out files that cannot be read.

    Returns
    -------
    CTDataset
        Slices with patients.

    Raises
    ------
    FileNotFoundError
        If no class folder contains slices, or slices are not in a folder per patient.
    """
    copy = LocalCopy(root, info)
    labels = {"covid": "Covid", "healthy": "Healthy", "others": "Others", "other": "Others"}
    table = _in_folders(copy, copy.by_class(copy.pictures, labels), "patient")
    table["group"] = [
        f"{label}/{below[0]}" for label, below in zip(table["label"], table["below"], strict=True)
    ]
    return copy.dataset_of_pictures(
        table.drop(columns=["above", "below"]),
        origin="the listing of the folders",
        positive=positive,
        negative=negative,
        window=window,
        on_error=on_error,
    )


def load_ictcf(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the slices of iCTCF, whose patients are unknown.

    Parameters
    ----------
    root : str or path-like
        Folder with ``pCT``, ``nCT`` and, optionally, ``NiCT``, at any depth.
    info : DatasetInfo
        Entry of the registry.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "pCT" (lesions) against "nCT" (none), without "NiCT"
        (no usable lung).
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out files that cannot be read.

    Returns
    -------
    CTDataset
        Slices without groups.

    Raises
    ------
    FileNotFoundError
        If no class folder contains slices.
    """
    copy = LocalCopy(root, info)
    table = copy.by_class(copy.pictures, {"pct": "pCT", "nct": "nCT", "nict": "NiCT"})
    return copy.dataset_of_pictures(
        table.drop(columns=["above", "below"]),
        origin="the listing of the folders",
        positive=positive,
        negative=negative,
        window=window,
        on_error=on_error,
    )


def load_cov19_ct_db(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the labeled scans of COV19-CT-DB, with train and val as the official split.

    Patients are unknown, so that the groups are scans. If there are lists with the columns
    ``ct_scan_name`` and ``data_centre``, the center becomes the source.

    Parameters
    ----------
    root : str or path-like
        Folder with the parts of the set, at any depth.
    info : DatasetInfo
        Entry of the registry.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "covid" against "non-covid".
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out files that cannot be read.

    Returns
    -------
    CTDataset
        Slices in the order of their numbers.

    Raises
    ------
    FileNotFoundError
        If no class folder contains slices, or slices are not in a folder per scan.
    """
    copy = LocalCopy(root, info)
    labels = {f"covid{k}": "covid" for k in ("", 0, 1, 2, 3)}
    labels |= {f"non{name}": "non-covid" for name in labels}
    table = _in_folders(copy, copy.by_class(copy.pictures, labels), "scan")
    table["split"] = [_part(above) for above in table["above"]]
    if not table["split"].isin(["train", "val"]).any():
        del table["split"]
    else:
        table["split"] = table["split"].fillna("train")  # covid1/, ... are in neither
    table["group"] = [
        "/".join(name.split("/")[: len(above) + 2])
        for name, above in zip(table["path"], table["above"], strict=True)
    ]
    _add_centers(copy, table)
    hidden = sum("/test/" in f"/{name.casefold()}" for name in copy.pictures)
    if hidden:
        logger.info("%d slices of the test part have no public labels and are left out", hidden)
    return copy.dataset_of_pictures(
        table.drop(columns=["above", "below"]),
        origin="the listing of the folders",
        positive=positive,
        negative=negative,
        window=window,
        on_error=on_error,
    )


def _part(above: tuple[str, ...]) -> str | None:
    names = {plain(name) for name in above}
    if names & {"val", "valid", "validation"}:
        return "val"
    return "train" if names & {"train", "training"} else None


def _add_centers(copy: LocalCopy, table: pd.DataFrame) -> None:
    """Add the source of each scan if the lists contain exactly one for each."""
    centers: dict[tuple[str, str, str], set[str]] = {}
    for split, names in (("train", ("train",)), ("val", ("validation", "val"))):
        for label in ("covid", "non_covid"):
            path = copy.file(*(f"{name}_{label}.csv" for name in names))
            if path is None:
                return
            listed = read_table(path)
            if not {"ct_scan_name", "data_centre"} <= set(listed.columns):
                return
            for scan, center in zip(listed["ct_scan_name"], listed["data_centre"], strict=True):
                key = (split, label.replace("_", "-"), str(scan))
                centers.setdefault(key, set()).add(str(center))
    if "split" not in table:
        return
    scans = zip(table["split"], table["label"], table["below"], strict=True)
    found = [centers.get((split, label, below[0]), set()) for split, label, below in scans]
    folders = table.assign(scan=[below[0] for below in table["below"]])
    repeated = (folders.groupby(["split", "label", "scan"])["group"].nunique() > 1).any()
    if repeated or not all(len(one) == 1 for one in found):
        logger.warning(
            "the lists do not give one center for each scan; the column 'source' is left out"
        )
        return
    table["source"] = [f"center {min(one)}" for one in found]


def _in_folders(copy: LocalCopy, table: pd.DataFrame, kind: str) -> pd.DataFrame:
    flat = [name for name, below in zip(table["path"], table["below"], strict=True) if not below]
    if flat:
        raise copy.missing(
            f"folder per {kind} below the class folders for {len(flat)} slices: {some(flat)}"
        )
    return table

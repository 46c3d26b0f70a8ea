"""COVID-CTset: TIFF files with label and patient in their names."""

from __future__ import annotations

import logging
import re

import pandas as pd

from ...errors import InvalidFileError
from ..ct_dataset import CTDataset, OnError, StrPath
from ..gray import WindowChoice
from ..info import DatasetInfo
from ..tabular import require_columns
from .local_copy import LocalCopy

__all__ = ["load"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"([^/]+)_(patient\d+)_(SR_\d+)_IM\d+\.\w+$", re.I)
_RAW = re.compile(r"(?:^|/)(patient\d+)/(SR_\d+)/[^/]+$", re.I)
_LABELS = {"covid": "COVID-19", "normal": "Normal", "positive": "COVID-19", "negative": "Normal"}


def load(
    root: StrPath,
    *,
    info: DatasetInfo,
    fold: int | None = None,
    positive: object = None,
    negative: object = None,
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load COVID-CTset: the labeled slices or, without labels, all slices of the raw series.

    The labels of labeled slices are read from ``all.csv`` if it exists, else from the first part of
    the file name, which contains "covid" for COVID-19. The labels of raw series are those of the
    patients in ``Patient_details.csv``.

    Parameters
    ----------
    root : str or path-like
        Folder with the TIFF files, at any depth.
    info : DatasetInfo
        Entry of the registry.
    fold : {1, 2, 3, 4, 5}, optional
        Fold of the authors, whose lists (such as ``train1.csv``, ``validation1.csv`` and
        ``test1.csv``) become the official split. Slices in none of the lists are left out. A slice
        in several lists belongs to test, else to val. None: no official split.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "COVID-19" against "Normal".
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units, which are stored with an offset of 1024.
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out files that cannot be read.

    Returns
    -------
    CTDataset
        Slices with the column ``reconstruction`` in `table` (SR_2, SR_3 or SR_4).

    Raises
    ------
    FileNotFoundError
        If there are no slices, or the list of a training or test part is missing.
    covidct.errors.InvalidFileError
        If a list is malformed or does not match the files.
    ValueError
        If `fold` is not 1 to 5, or is given for raw series.
    """
    if fold is not None and fold not in range(1, 6):
        raise ValueError(f"fold must be 1 to 5 or None, got {fold!r}")
    copy = LocalCopy(root, info)
    matches = [(name, match) for name in copy.pictures if (match := _NAME.search(name))]
    if matches:
        rows = [
            (name, "COVID-19" if "covid" in m[1].casefold() else "Normal", m[2].lower(), m[3])
            for name, m in matches
        ]
        table = pd.DataFrame(rows, columns=["path", "label", "group", "reconstruction"])
        table = _with_listed_labels(copy, table)
    else:
        table = _raw(copy)
        if fold is not None:
            raise ValueError(f"fold={fold} applies to the labeled slices, not to raw series")
    if fold is not None:
        table = _with_fold(copy, table, fold)
    return copy.dataset_of_pictures(
        table,
        origin="the listing of the files",
        positive=positive,
        negative=negative,
        window=window,
        on_error=on_error,
    )


def _listed(copy: LocalCopy, name: str) -> dict[str, str]:
    """Read a list of file names and classes."""
    table = copy.table(name)
    require_columns(table, ("filename", "class"), origin=name)
    labels = {}
    for file, label in zip(table["filename"], table["class"], strict=True):
        if str(label).casefold() not in _LABELS:
            raise InvalidFileError(f"{name} has the class {label!r}; it must be covid or normal")
        labels[str(file).replace("\\", "/").rpartition("/")[2]] = _LABELS[label.casefold()]
    return labels


def _with_listed_labels(copy: LocalCopy, table: pd.DataFrame) -> pd.DataFrame:
    if copy.file("all.csv") is None:
        return table
    listed = _listed(copy, "all.csv")
    names = table["path"].str.rpartition("/")[2]
    table = table.assign(label=names.map(listed).fillna(table["label"]))
    if missing := len(set(listed) - set(names)):
        logger.warning("%d files of all.csv are not in %s", missing, copy.root)
    return table


def _with_fold(copy: LocalCopy, table: pd.DataFrame, fold: int) -> pd.DataFrame:
    split_of: dict[str, str] = {}
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        if name == "validation" and copy.file(f"validation{fold}.csv") is None:
            continue
        split_of |= dict.fromkeys(_listed(copy, f"{name}{fold}.csv"), split)
    splits = table["path"].str.rpartition("/")[2].map(split_of)
    logger.info("%d slices are in no list of fold %d", splits.isna().sum(), fold)
    if splits.isna().all():
        raise InvalidFileError(
            f"the lists of fold {fold} name none of the files in {str(copy.root)!r}"
        )
    return table.assign(split=splits)[splits.notna()].reset_index(drop=True)


def _raw(copy: LocalCopy) -> pd.DataFrame:
    """List the raw series, labeled by patient."""
    matches = [(name, match) for name in copy.pictures if (match := _RAW.search(name))]
    if not matches:
        raise copy.missing("files such as 137covid_patient1_SR_2_IM00010.tif")
    details = copy.table("Patient_details.csv", "Patient*details*.csv")
    needed = ("Patient ID", "COVID-19 Infection")
    require_columns(details, needed, origin="Patient_details.csv")
    infection = dict(zip(details[needed[0]].str.casefold(), details[needed[1]], strict=True))
    rows = [
        (name, _LABELS.get(str(infection.get(m[1].casefold())).casefold()), m[1].lower(), m[2])
        for name, m in matches
    ]
    table = pd.DataFrame(rows, columns=["path", "label", "group", "reconstruction"])
    unknown = sorted(set(table.loc[table["label"].isna(), "group"]))
    if unknown:
        raise InvalidFileError(
            f"Patient_details.csv does not give the infection of {len(unknown)} patients, such as "
            f"{unknown[0]!r}"
        )
    return table

"""Loader of CC-CCII: scans in folders, with lists of faulty slices and of an unofficial split."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Literal

import pandas as pd

from ...errors import InvalidFileError
from ..ct_dataset import CTDataset, OnError, StrPath
from ..gray import WindowChoice
from ..info import DatasetInfo
from ..tabular import require_columns
from .local_copy import LocalCopy

__all__ = ["load"]

logger = logging.getLogger(__name__)

_LABELS = {"ncp": "NCP", "covid19": "NCP", "covid": "NCP", "cp": "CP", "normal": "Normal"}
_FAULTS = "CT_cleaned_v2.csv"


def load(
    root: StrPath,
    *,
    info: DatasetInfo,
    faulty: Literal["keep", "clean", "drop"] = "keep",
    masked: Literal["keep", "drop"] = "keep",
    split: Literal["hkbu"] | None = None,
    positive: object = None,
    negative: object = None,
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the scans of CC-CCII, with patients.

    Parameters
    ----------
    root : str or path-like
        Folder with ``NCP`` (or ``COVID19``), ``CP`` and ``Normal``, at any depth.
    info : DatasetInfo
        Entry of the registry.
    faulty : {"keep", "clean", "drop"}, default="keep"
        Treatment of the scans with repeated or foreign slices that ``CT_cleaned_v2.csv`` in the
        copy lists: ``"clean"`` leaves out these slices, and scans that the list discards, and
        orders the remaining slices; ``"drop"`` leaves out all of these scans.
    masked : {"keep", "drop"}, default="keep"
        ``"drop"`` leaves out the scans that show the lung only, by the same list. Most are normal,
        so that the black background predicts the class.
    split : {"hkbu"}, optional
        ``"hkbu"`` uses the lists ``ct_train.json``, ``ct_val.json`` and ``ct_test.json`` in the
        copy, and leaves out slices that they do not contain.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "NCP" against "CP" and "Normal".
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out files that cannot be read.

    Returns
    -------
    CTDataset
        Dataset whose `table` contains the scan of each slice in the column ``scan``.

    Raises
    ------
    FileNotFoundError
        If there are no slices in folders per patient and scan, or a needed list is missing.
    covidct.errors.InvalidFileError
        If a list is malformed.
    ValueError
        If an option has an invalid value.
    """
    for name, value, choices in (
        ("faulty", faulty, ("keep", "clean", "drop")),
        ("masked", masked, ("keep", "drop")),
        ("split", split, ("hkbu", None)),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {choices}, got {value!r}")
    copy = LocalCopy(root, info)
    table = copy.by_class(copy.pictures, _LABELS)
    table = table[table["below"].str.len() >= 2]
    if table.empty:
        raise copy.missing("slices in a folder per patient and scan, such as NCP/16/1164/0000.png")
    below = table.pop("below")
    patient = [parts[-2] for parts in below]
    table["group"] = [f"{c}_{p}" for c, p in zip(table["label"], patient, strict=True)]
    table["scan"] = [parts[-1] for parts in below]
    table = table.drop(columns="above")
    table["key"] = [
        (c, p, s) for c, p, s in zip(table["label"], patient, table["scan"], strict=True)
    ]
    if faulty != "keep" or masked != "keep":
        table = _without_faults(copy, table, faulty=faulty, masked=masked)
    if split is not None:
        table = _with_split(copy, table)
    table = table.drop(columns="key").reset_index(drop=True)
    return copy.dataset_of_pictures(
        table,
        origin="the listing of the folders",
        positive=positive,
        negative=negative,
        window=window,
        on_error=on_error,
    )


def _without_faults(
    copy: LocalCopy, table: pd.DataFrame, *, faulty: str, masked: str
) -> pd.DataFrame:
    """Leave out slices and scans by the list of faults."""
    faults = copy.table(_FAULTS, "CT_cleaned*.csv")
    columns = ("cls", "pid", "scan_id", "is_seg", "is_repeat", "repeat_ids", "re_order")
    require_columns(faults, columns, origin=f"{_FAULTS} in {str(copy.root)!r}")
    keys = list(zip(faults["cls"], faults["pid"], faults["scan_id"], strict=True))
    dropped = set()
    bad: dict[tuple[str, str, str], set[int]] = {}
    order: dict[tuple[str, str, str], list[int]] = {}
    facts = zip(keys, faults["is_seg"], faults["repeat_ids"], faults["re_order"], strict=True)
    for key, is_masked, repeated, in_order in facts:
        is_faulty = isinstance(repeated, str) or isinstance(in_order, str)
        if (masked == "drop" and is_masked == "1") or (faulty == "drop" and is_faulty):
            dropped.add(key)
        elif faulty == "clean":
            if repeated == "discard" or in_order == "discard":
                dropped.add(key)
            elif isinstance(repeated, str):
                bad[key] = set(_numbers(repeated, ";"))
            if isinstance(in_order, str) and key not in dropped:
                order[key] = [-1] if in_order == "reverse" else _numbers(in_order, "+")
    number = [_slice_number(name) for name in table["path"]]
    kept = [
        key not in dropped and n not in bad.get(key, ())
        for key, n in zip(table["key"], number, strict=True)
    ]
    logger.info(
        "%s: %d slices of %d scans are left out as faulty or masked",
        copy.root,
        len(kept) - sum(kept),
        len({key for key, keep in zip(table["key"], kept, strict=True) if not keep}),
    )
    rank = {key: {n: i for i, n in enumerate(numbers)} for key, numbers in order.items()}
    place = [
        -n if order.get(key) == [-1] else rank.get(key, {}).get(n, n)
        for key, n in zip(table["key"], number, strict=True)
    ]
    scan_number = {key: i for i, key in enumerate(dict.fromkeys(table["key"]))}
    scan = [scan_number[key] for key in table["key"]]
    table = table.assign(place=place, number_of_scan=scan)[kept]
    if table.empty:
        raise ValueError(f"the options leave no slice of {str(copy.root)!r}; use 'keep'")
    return table.sort_values(["number_of_scan", "place"], kind="stable").drop(
        columns=["place", "number_of_scan"]
    )


def _numbers(text: str, separator: str) -> list[int]:
    """Read ranges such as ``0-46;132``, including both ends."""
    numbers: list[int] = []
    for part in text.split(separator):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise InvalidFileError(f"{_FAULTS} has the malformed range {text!r}")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _slice_number(name: str) -> int:
    """Return the number of a slice, as used in the list of faults."""
    digits = re.findall(r"\d+", Path(name).stem)
    return int(digits[-1]) if digits else -1


def _with_split(copy: LocalCopy, table: pd.DataFrame) -> pd.DataFrame:
    """Add the split of the lists of HKBU; slices that they do not contain are left out."""
    split_of = {}
    for split in ("train", "val", "test"):
        path = copy.file(f"ct_{split}.json")
        if path is None and split == "val":
            continue
        if path is None:
            raise copy.missing(f"list 'ct_{split}.json' for split='hkbu'")
        try:
            for label, patients in json.loads(path.read_text(encoding="utf-8")).items():
                for patient, scans in patients.items():
                    for scan, names in scans.items():
                        for name in names:
                            split_of[label, patient, scan, name] = split
        except (ValueError, AttributeError, TypeError) as error:
            raise InvalidFileError(
                f"{str(path)!r} is not a list of classes, patients, scans and slices: {error}"
            ) from error
    names = [name.rpartition("/")[2] for name in table["path"]]
    found = [split_of.get((*key, name)) for key, name in zip(table["key"], names, strict=True)]
    listed = [value is not None for value in found]
    if not any(listed):
        raise InvalidFileError(f"the lists of the split name no slice of {str(copy.root)!r}")
    logger.info("%s: %d slices are in no list of the split", copy.root, len(listed) - sum(listed))
    return table.assign(split=pd.Series(found, table.index, dtype=object))[listed]

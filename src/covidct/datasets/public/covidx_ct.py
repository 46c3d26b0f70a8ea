"""COVIDx CT: lists of slices with classes, bounding boxes and an official split."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from ..._text import some
from ...errors import InvalidFileError
from ..ct_dataset import CTDataset, OnError, StrPath
from ..gray import WindowChoice
from ..info import DatasetInfo
from ..tabular import read_table, require_columns
from .local_copy import LocalCopy

__all__ = ["load"]

logger = logging.getLogger(__name__)

#: Released versions. B has the validation and test lists of A.
Version = Literal["1", "2A", "2B", "3A", "3B"]

_LABELS = {"0": "Normal", "1": "Pneumonia", "2": "COVID-19"}
_BOX = ["xmin", "ymin", "xmax", "ymax"]

# Patterns of file names, with patient and source. In those of COVID-CTset, the class comes first.
_NAMES = (
    (r"((?:NCP|CP|Normal)_\d+)_\d+_", "CNCB"),
    (r"[^_]+_(patient\d+)_", "COVID-CTset"),
    (r"(volume-covid19-A-\d+(?:_\d+)?)[_-]", "TCIA"),
    (r"(LIDC-IDRI-\d+)-", "LIDC-IDRI"),
    (r"(coronacases_\d+)-", "COVID-19-CT-Seg"),
    (r"(radiopaedia_\d+_\d+)_", "COVID-19-CT-Seg"),
    (r"(radiopaedia-\d+)-", "radiopaedia.org"),
    (r"(HUST-Patient\d+)-", "iCTCF"),
    (r"(study_\d+)-", "MosMedData"),
    (r"(COVIDCTMD-[A-Za-z]+\d+)-", "COVID-CT-MD"),
    (r"(STOIC-\d+)-", "STOIC"),
    (r"(A\d{6})-", "Stony Brook"),
)


def load(
    root: StrPath,
    *,
    info: DatasetInfo,
    version: Version = "3A",
    positive: object = None,
    negative: object = None,
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load a version of COVIDx CT with its official split, patients and bounding boxes.

    The patient of a slice is the longest id in ``metadata.csv`` with which the file name begins.
    Without such an id, the patient is read from the file name by known patterns. The numbers of
    slices of both kinds are logged.

    Parameters
    ----------
    root : str or path-like
        Folder with the lists, ``metadata.csv`` and the images, at any depth.
    info : DatasetInfo
        Entry of the registry.
    version : {"1", "2A", "2B", "3A", "3B"}, default="3A"
        Version to load.
    positive, negative : str or sequence of str, optional
        Labels of both classes, as in :func:`covidct.datasets.folder.load`; by default "COVID-19"
        against "Normal" and "Pneumonia".
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out listed images that are missing.

    Returns
    -------
    CTDataset
        Slices in the order of the lists (train, val, test). `table` contains the bounding box of
        the body in pixels (``xmin``, ``ymin`` and, exclusive, ``xmax``, ``ymax``) and the columns
        of the metadata.

    Raises
    ------
    FileNotFoundError
        If a list of the version is missing.
    covidct.errors.InvalidFileError
        If a line of a list is malformed, or listed images are missing.
    ValueError
        If `version` is not one of the five.
    """
    if version not in get_args(Version):
        raise ValueError(
            f"version must be one of {', '.join(map(repr, get_args(Version)))}; got {version!r}"
        )
    copy = LocalCopy(root, info)
    table = _lists(copy, version)
    # Of images with the same name, the one in the folder of the version is taken.
    images = copy.by_name(sorted(copy.pictures, key=lambda name: _preference(name, version)))
    table = table.join(_patients(copy, table["path"]))
    table["path"] = [images.get(name, name) for name in table["path"]]
    return copy.dataset_of_pictures(
        table,
        origin=f"the lists of COVIDx CT-{version}",
        positive=positive,
        negative=negative,
        window=window,
        on_error=on_error,
    )


def _preference(name: str, version: str) -> int:
    folders = name.casefold().split("/")
    return 2 * (f"{version}_images".casefold() in folders) + (f"{version[0]}a_images" in folders)


def _lists(copy: LocalCopy, version: str) -> pd.DataFrame:
    """Read the lists of train, val and test."""
    parts = []
    for split in ("train", "val", "test"):
        versions = (version,) if split == "train" else (version, version.replace("B", "A"))
        patterns = [f"{split}_COVIDx_CT-{name}.txt" for name in versions]
        if version == "1":
            patterns.append(f"{split}_COVIDx[-_]CT.txt")
        path = copy.file(*patterns)
        if path is None:
            raise copy.missing(f"list {patterns[-1] if version != '1' else patterns[0]!r}")
        parts.append(_read_list(path).assign(split=split))
    return pd.concat(parts, ignore_index=True)


def _read_list(path: Path) -> pd.DataFrame:
    columns = ["path", "label", *_BOX]
    expected = "each line is NAME.png, class (0, 1 or 2) and a box of four numbers"
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None, dtype=str)
        if table.shape[1] != len(columns):
            raise ValueError(f"it has {table.shape[1]} columns")
        table.columns = columns
        table = table.astype(dict.fromkeys(_BOX, "int32"))
    except (ValueError, OverflowError) as error:
        raise InvalidFileError(f"{str(path)!r} is malformed ({error}); {expected}") from error
    if wrong := sorted(set(table["label"].astype(str)) - set(_LABELS)):
        raise InvalidFileError(f"{str(path)!r} has the class {some(wrong)}; {expected}")
    table["label"] = table["label"].map(_LABELS)
    return table


def _patients(copy: LocalCopy, names: Iterable[str]) -> pd.DataFrame:
    """Find the patient and source of each image in metadata.csv, or else in its name."""
    path = copy.file("metadata.csv")
    known = pd.DataFrame(columns=["source"], dtype=str)
    if path is not None:
        known = read_table(path)
        require_columns(known, ["patient id"], origin=repr(str(path)))
        known = known.drop_duplicates("patient id").set_index("patient id")
    ids = frozenset(known.index)
    listed = {name: _listed_patient(name, ids) for name in names}
    read = {name: _named_patient(name) for name, patient in listed.items() if patient is None}
    logger.info(
        "patients of COVIDx CT: %d slices by metadata.csv, %d by the file name",
        len(listed) - len(read),
        len(read),
    )
    if unmatched := [name for name, (_, source) in read.items() if not source]:
        logger.warning(
            "the names of %d slices have an unknown form; the part before the slice number "
            "is used as the patient: %s",
            len(unmatched),
            some(unmatched),
        )
    found = pd.DataFrame({"group": [listed[name] or read[name][0] for name in names]})
    found = found.join(known, on="group")
    by_name = [read[name][1] or "unknown" if name in read else None for name in names]
    found["source"] = found["source"].fillna(pd.Series(by_name, dtype=object))
    return found


def _listed_patient(name: str, ids: frozenset[str]) -> str | None:
    """Return the longest id with which a name begins, followed by a separator."""
    if not ids:
        return None
    name = re.sub(r"^[^_]+_(?=patient\d+_)", "", name)
    for match in reversed(list(re.finditer(r"[-_.]", name))):
        if name[: match.start()] in ids:
            return name[: match.start()]
    return None


def _named_patient(name: str) -> tuple[str, str]:
    """Read the patient and source from a file name; the source is empty if the form is unknown."""
    for pattern, source in _NAMES:
        if match := re.match(pattern, name):
            return match[1], source
    return re.sub(r"[-_]\d+\.\w+$", "", name), ""

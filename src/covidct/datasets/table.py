"""Datasets from a table (CSV, Excel or DataFrame) of files, labels, patients and splits."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._text import printable, some
from ..errors import InvalidFileError, UnknownNameError
from .ct_dataset import CTDataset, OnError, StrPath, relative_names
from .gray import WindowChoice
from .groups import Groups
from .info import DatasetInfo
from .labels import one_spelling, plain_label
from .rows import SliceChoice, as_dataset, check_slices, slice_rows
from .slices import Found, find_slices
from .tabular import match_files, read_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "dataset_of_table", "load"]

logger = logging.getLogger(__name__)

#: Usual names, in lower case, of the columns for paths, labels, groups, splits, sources and slices.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": (
        *("path", "file", "filename", "file_name", "file name", "filepath", "file_path", "image"),
        *("image_path", "imagepath", "image_name", "img", "img_path", "relative path"),
    ),
    "label": ("label", "class", "finding", "diagnosis", "category", "target"),
    "group": (
        *("group", "patient", "patient_id", "patientid", "patient id", "patient_name"),
        *("subject", "subject_id", "subjectid", "case_id"),
    ),
    "split": ("split", "set", "subset", "partition"),
    "source": ("source", "site", "hospital", "center", "centre", "institution"),
    "slice": ("slice", "frame", "slice_index"),
}

_SPLITS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "ts", "te"), "test"),
}


def load(
    root: StrPath | pd.DataFrame,
    *,
    info: DatasetInfo,
    images: StrPath | None = None,
    columns: Mapping[str, str] | None = None,
    positive: object = None,
    negative: object = None,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    r"""Load the slices or volumes that a table lists.

    Parameters
    ----------
    root : str, path-like or DataFrame
        CSV file (comma, semicolon, tab or vertical bar; UTF-8 or cp1252; also ``.csv.gz``), Excel
        file, or a pandas DataFrame, whose named index levels count as columns; one row per slice,
        volume file or folder of a DICOM series. Labels that differ only in case, blanks or kinds
        of hyphens are one label, with a logged warning.
    info : DatasetInfo
        Entry of the registry.
    images : str or path-like, optional
        Folder to which the paths in the table are relative. None: the folder of the table, or no
        folder for a DataFrame of absolute paths. Separators and Unicode forms of paths may differ,
        and suffix or folders may be missing if the name alone is unambiguous.
    columns : mapping of str to str, optional
        Column of the table for ``path``, ``label``, ``group`` (the patient), ``split``, ``source``
        and ``slice`` (index of the slice in its file, from 0). Columns that are not given are found
        by their usual names, such as "filename" or "patient_id", and logged.
    positive : str or sequence of str, optional
        Labels of COVID-19. None: the one with a usual name, such as "COVID-19".
    negative : str or sequence of str, optional
        Labels of class 0. None: all labels but `positive`. Rows with other labels are left out.
    slices : {"lung", "all"} or tuple of (int, int), default="lung"
        Slices to take of each volume, unless the table has a column ``slice``.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units and gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out rows whose file is missing or has several labels.

    Returns
    -------
    CTDataset
        Slices in the order of the table. `metadata` contains the other columns of the table.

    Raises
    ------
    FileNotFoundError
        If the table or the folder of images does not exist.
    covidct.errors.InvalidFileError
        If the table cannot be read, lacks a column, has two columns of one name, or lists missing
        files or slices, or a file with two labels.
    covidct.errors.UnknownNameError
        If `columns` has an unknown key, or a column that is not in the table.
    TypeError
        If `root` is not one of these.
    ValueError
        If it is unclear which label is COVID-19, a value of the split is unknown, or a DataFrame
        of relative paths is given without `images`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> import covidct
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("1.png", "2.png"):
    ...     Image.new("L", (60, 40)).save(folder / name)
    >>> _ = (folder / "slices.csv").write_text(
    ...     "filename,finding,patientid\n1.png,COVID-19,p1\n2.png,CAP,p2\n"
    ... )
    >>> covidct.load_dataset("table", folder / "slices.csv")
    CTDataset 'table': 2 slices (1 COVID-19, 1 CAP), 2 patients
    """
    check_slices(slices)
    table, origin = _table(root)
    chosen = _columns(table, columns or {}, origin)
    if images is None and not isinstance(root, str | os.PathLike):
        folder, places = _absolute(table[chosen["path"]].dropna())
    else:
        folder = _image_folder(Path(str(root)).parent if images is None else images)
        places = [folder]
    found = find_slices(places, root=folder, on_error=on_error)
    if isinstance(root, str | os.PathLike):  # do not list the table as left out
        aside = [(path, reason) for path, reason in found.set_aside if path != Path(root)]
        found = found._replace(set_aside=aside)
    return dataset_of_table(
        table,
        folder,
        info=info,
        columns=chosen,
        origin=origin,
        found=found,
        positive=positive,
        negative=negative,
        slices=slices,
        window=window,
        on_error=on_error,
    )


def dataset_of_table(
    table: pd.DataFrame,
    folder: Path,
    *,
    info: DatasetInfo,
    columns: Mapping[str, str] | None = None,
    origin: str,
    found: Found,
    positive: object = None,
    negative: object = None,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
    masks: Sequence[str] = (),
) -> CTDataset:
    """Create a dataset from a table of slices and volumes.

    It is used by the loader ``"table"`` and by the loaders of public sets, which create the table
    from the label files of a set.

    Parameters
    ----------
    table : DataFrame
        One row per slice, volume file or folder.
    folder : Path
        Folder to which the paths are relative.
    info : DatasetInfo
        Entry of the registry.
    columns : mapping of str to str, optional
        Column of the table for each key of :data:`COLUMNS`. None: the columns of the same names.
    origin : str
        Name of the table in messages.
    found : Found
        Slices that were found in `folder`.
    positive, negative, slices, window, on_error
        As in :func:`load`.
    masks : sequence of str, default=()
        Kinds of masks, such as ``"lesion"``; their files are in the columns ``lesion_mask``, ...

    Returns
    -------
    CTDataset
        Slices in the order of the table. `metadata` contains the other columns of the table.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the table lists missing files, or a file with two labels.
    ValueError
        If it is unclear which label is COVID-19, or a value of the split is unknown.
    """
    check_slices(slices)
    chosen = dict(columns or {name: name for name in COLUMNS if name in table.columns})
    table = _usable_rows(table, chosen, origin)
    rows, skipped = _match(
        table, chosen, folder, found, origin=origin, slices=slices, on_error=on_error
    )
    own = [name for name in table.columns if name not in rows.columns]
    rows = rows.join(table[own], on="row")
    return as_dataset(
        rows,
        _groups(rows, chosen, info, origin),
        info=info,
        root=folder,
        positive=positive,
        negative=negative,
        window=window,
        skipped=skipped,
        masks=masks,
        metadata=[name for name in own if name.removesuffix("_mask") not in masks],
    )


def _table(root: StrPath | pd.DataFrame) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    if isinstance(root, pd.DataFrame):
        if (double := root.columns[root.columns.duplicated()]).size:
            raise InvalidFileError(
                f"the table has the column {double[0]!r} twice; drop one of them"
            )
        index = root.index.to_frame(index=False)
        named = [name for name in root.index.names if name not in {None, *root.columns}]
        return pd.concat([index[named], root.reset_index(drop=True)], axis=1), "the table"
    if not isinstance(root, str | os.PathLike):
        raise TypeError(
            f"root must be a CSV or Excel file or a pandas DataFrame, got a "
            f"{type(root).__module__}.{type(root).__qualname__}; convert it with "
            "pandas.DataFrame(...) or its own to_pandas()"
        )
    path = Path(root)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is not a file; give a CSV or Excel file")
    return read_table(path), repr(str(path))


def _absolute(listed: pd.Series) -> tuple[Path, list[Path]]:
    """Return the folder that absolute paths have in common, and those that exist."""
    paths = [Path(str(path)) for path in listed]
    try:
        if not all(path.is_absolute() for path in paths):
            raise ValueError("some are relative")
        folder = Path(os.path.commonpath([path.parent for path in paths] or [Path.cwd()]))
    except ValueError:  # also paths on two drives of Windows
        raise ValueError(
            "a DataFrame needs images, the folder that its paths are in, unless all of them are "
            "absolute and on one drive"
        ) from None
    return folder, [path for path in paths if path.exists()]


def _image_folder(images: StrPath) -> Path:
    folder = Path(images).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{str(folder)!r} is not a folder; give the one with the images")
    return folder


def _columns(table: pd.DataFrame, given: Mapping[str, str], origin: str) -> dict[str, str]:
    """Choose the column for each key of COLUMNS: the given one, or one with a usual name."""
    chosen = {}
    for meaning, column in given.items():
        if meaning not in COLUMNS:
            raise UnknownNameError.among("meaning of a column", meaning, COLUMNS)
        if column not in table.columns:
            raise UnknownNameError.among(f"column of {origin}", column, map(str, table.columns))
        chosen[meaning] = column
    folded = {str(name).casefold().strip(): str(name) for name in table.columns}
    for meaning, usual in COLUMNS.items():
        found = next((folded[name] for name in usual if name in folded), None)
        if meaning not in chosen and found is not None and found not in chosen.values():
            chosen[meaning] = found
    for meaning in ("path", "label"):
        if meaning not in chosen:
            raise InvalidFileError(
                f"{origin} has no column for {meaning!r} with a usual name; name it with "
                f"columns={{{meaning!r}: ...}} (on the command line --columns {meaning}=...). "
                f"Its columns are {some(map(str, table.columns), limit=20)}"
            )
    logger.info("columns of %s: %s", origin, ", ".join(f"{k}={v}" for k, v in chosen.items()))
    return chosen


def _usable_rows(table: pd.DataFrame, chosen: Mapping[str, str], origin: str) -> pd.DataFrame:
    """Drop repeated rows and rows without a path or label, and log their numbers."""
    empty = table[chosen["path"]].isna() | table[chosen["label"]].isna()
    if empty.any():
        logger.warning(
            "%d rows of %s have no path or no label and are left out: rows %s",
            empty.sum(),
            origin,
            some(str(row + 2) for row in np.flatnonzero(empty)),
        )
    table = table[~empty]
    repeated = table.astype(str).duplicated()
    if repeated.any():
        logger.warning(
            "%d rows of %s repeat another row and are taken once: %s",
            repeated.sum(),
            origin,
            some(table.loc[repeated, chosen["path"]].astype(str)),
        )
    table = table[~repeated].reset_index(drop=True)
    if table.empty:
        raise InvalidFileError(f"{origin} has no row with a path and a label")
    return table


def _match(
    table: pd.DataFrame,
    chosen: Mapping[str, str],
    folder: Path,
    found: Found,
    *,
    origin: str,
    slices: SliceChoice,
    on_error: OnError,
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Return one row per listed slice, with label, split and source, and the skipped files."""
    by_frame = "slice" in chosen
    every = slice_rows(found, slices="all" if by_frame else slices)
    files = relative_names(every["path"], folder)
    above = f"{folder.absolute().as_posix().rstrip('/')}/"  # of absolute paths
    listed = [str(path).replace("\\", "/").removeprefix(above) for path in table[chosen["path"]]]
    match = match_files(listed, files, folders=True)
    pairs = _pairs(table, chosen, match.files_of, every, by_frame=by_frame)
    labels = one_spelling(table[chosen["label"]].map(plain_label), where=origin)
    missing = [row for row, matched in enumerate(match.files_of) if not matched]
    skipped = _refuse_or_skip(
        table, chosen, labels, folder, missing, found, pairs, origin, on_error
    )
    bad = {row for row, _ in pairs} & skipped.keys()
    pairs = [(row, i) for row, i in pairs if row not in bad]
    used = {i for _, i in pairs}
    if extra := [name for i, name in enumerate(files) if i not in used and match.row_of[i] < 0]:
        logger.warning(
            "%d slices in %s are not in %s and are left out: %s",
            len(extra),
            folder,
            origin,
            some(dict.fromkeys(extra)),
        )
    if not pairs:
        raise InvalidFileError(f"none of the files that {origin} lists is in {str(folder)!r}")
    rows = every.iloc[[i for _, i in pairs]].reset_index(drop=True)
    rows["row"] = [row for row, _ in pairs]
    rows["label"] = [labels[row] for row in rows["row"]]
    for meaning in ("split", "source", "group"):
        if meaning in chosen:
            rows[meaning] = table[chosen[meaning]].iloc[rows["row"]].tolist()
    if "split" in chosen:
        rows = _with_splits(rows, chosen, origin)
    if "source" in chosen and rows["source"].isna().any():
        logger.warning("%s: the source of some rows is empty; it is called 'unknown'", origin)
        rows["source"] = rows["source"].fillna("unknown")
    skipped_rows = [
        (str(table[chosen["path"]].iloc[row]), reason) for row, reason in skipped.items()
    ]
    aside = [(printable(path.relative_to(folder).as_posix()), why) for path, why in found.set_aside]
    return rows, [*skipped_rows, *aside]


def _pairs(
    table: pd.DataFrame,
    chosen: Mapping[str, str],
    files_of: Sequence[Sequence[int]],
    every: pd.DataFrame,
    *,
    by_frame: bool,
) -> list[tuple[int, int]]:
    """Pair rows of the table with slices."""
    if not by_frame:
        return [(row, i) for row, files in enumerate(files_of) for i in files]
    frames = every["frame"].to_numpy()
    several = every["path"].map(every["path"].value_counts()).to_numpy() > 1
    pairs = []
    for row, files in enumerate(files_of):
        wanted = table[chosen["slice"]].iloc[row]
        for i in files:
            if not several[i] or _whole(wanted) == frames[i]:
                pairs.append((row, i))
    return pairs


def _whole(value: Any) -> int | None:
    """Return the number of a slice; None for an empty cell or other text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _refuse_or_skip(
    table: pd.DataFrame,
    chosen: Mapping[str, str],
    labels: Sequence[str],
    folder: Path,
    missing: Sequence[int],
    found: Found,
    pairs: Sequence[tuple[int, int]],
    origin: str,
    on_error: OnError,
) -> dict[int, str]:
    """Raise for missing files and contradictory labels, or return the rows to leave out."""
    paths = table[chosen["path"]].astype(str)
    labels_of: dict[int, set[str]] = {}
    rows_of: dict[int, list[int]] = {}
    for row, i in pairs:
        labels_of.setdefault(i, set()).add(labels[row])
        rows_of.setdefault(i, []).append(row)
    contradictory = [
        row for i, several in labels_of.items() if len(several) > 1 for row in rows_of[i]
    ]
    twice = [row for i, rows in rows_of.items() if len(labels_of[i]) == 1 for row in rows[1:]]
    reasons = dict.fromkeys(missing, "no such file")
    reasons |= dict.fromkeys(contradictory, "listed under several labels")
    unpaired = sorted(set(range(len(table))) - {row for row, _ in pairs} - reasons.keys())
    reasons |= dict.fromkeys(unpaired, "no such slice in the file")
    if reasons and on_error == "raise":
        parts = []
        if missing:
            parts.append(
                f"{len(missing):,} listed files are not in {str(folder)!r}: "
                f"{some(paths.iloc[row] for row in missing)}"
            )
        if contradictory:
            names = dict.fromkeys(paths.iloc[row] for row in contradictory)
            parts.append(f"{len(names):,} files are listed under several labels: {some(names)}")
        if unpaired:
            wanted = table[chosen["slice"]].astype(object).fillna("no slice")
            names = dict.fromkeys(f"{wanted.iloc[row]} of {paths.iloc[row]}" for row in unpaired)
            parts.append(
                f"{len(unpaired):,} rows name a slice that the file lacks (slices count from 0): "
                f"{some(names)}"
            )
        if aside := found.set_aside:
            parts.append(
                f"{len(aside):,} files cannot be used, such as {aside[0][0].name!r}: {aside[0][1]}"
            )
        raise InvalidFileError(
            f"{origin} does not match the images: {'; '.join(parts)}. Correct the table or "
            "images=, or leave these rows out with on_error='skip' (--on-error skip)"
        )
    if reasons:
        logger.warning(
            "%d rows of %s are left out: %s",
            len(reasons),
            origin,
            some(paths.iloc[row] for row in reasons),
        )
    if twice:
        logger.warning(
            "%d rows of %s list a slice that an earlier row lists; only the first is used: %s",
            len(twice),
            origin,
            some(paths.iloc[row] for row in twice),
        )
        reasons |= dict.fromkeys(twice, "listed in an earlier row")
    return reasons


def _with_splits(rows: pd.DataFrame, chosen: Mapping[str, str], origin: str) -> pd.DataFrame:
    """Replace the names of splits by train, val and test; warn about patients in several parts."""
    column = chosen["split"]
    if (empty := rows["split"].isna()).any():
        raise ValueError(
            f"column {column!r} of {origin} is empty for {empty.sum():,} slices, such as "
            f"{some(rows.loc[empty, 'path'].map(str))}; it must contain train, val or test"
        )
    unknown = sorted({str(v) for v in rows["split"] if str(v).casefold().strip() not in _SPLITS})
    if unknown:
        raise ValueError(
            f"column {column!r} of {origin} must contain train, val or test, got {some(unknown)}"
        )
    rows["split"] = [_SPLITS[str(value).casefold().strip()] for value in rows["split"]]
    if "group" in rows:
        number = rows.groupby("group")["split"].nunique()
        if several := number[number > 1].index.astype(str).tolist():
            logger.warning(
                "%d of %d patients have slices in several parts of the split in %s: %s",
                len(several),
                len(number),
                origin,
                some(several),
            )
    return rows


def _groups(
    rows: pd.DataFrame, chosen: Mapping[str, str], info: DatasetInfo, origin: str
) -> Groups:
    """Return the patients: those of the table, or else PatientID of DICOM files."""
    kind = info.group_kind or "patient"
    if "group" in chosen:
        values: list[Any] = rows["group"].tolist()
        missing = rows["group"].isna()
        if missing.any():
            logger.warning(
                "patients are unknown: column %r of %s is empty for %d slices, such as %s",
                chosen["group"],
                origin,
                missing.sum(),
                some(rows.loc[missing, "path"].map(str)),
            )
            return Groups(None)
        return Groups([plain_label(value) for value in values], kind)
    return Groups(None) if rows["patient"].isna().any() else Groups(rows["patient"].tolist())

"""Search for the patients of slices in lists, DICOM headers and folder names."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .._text import some
from ..errors import InvalidFileError
from .labels import plain_label
from .tabular import match_files, read_table, require_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GroupChoice", "Groups", "find_groups"]

logger = logging.getLogger(__name__)

#: Choice of groups: ``"auto"``, ``"folder"``, ``"dicom"``, the path of a list, or None.
GroupChoice = str | os.PathLike[str] | None

# Usual names of folders with the slices of several patients.
_NOT_PATIENTS = frozenset(
    {
        *("images", "image", "imgs", "img", "masks", "mask", "slices", "data", "ct", "scans"),
        *("png", "jpg", "jpeg", "dcm", "dicom", "nifti", "nii", "train", "val", "test"),
        *("training", "validation", "testing"),
    }
)


class Groups(NamedTuple):
    """Groups of slices and their origin.

    Attributes
    ----------
    values : list of str or None
        Group of each slice; None if unknown.
    kind : str
        Kind of the groups: ``"patient"`` or ``"volume"``.
    origin : str
        Source of the groups, for messages.
    """

    values: list[str] | None
    kind: str = "patient"
    origin: str = ""


def find_groups(
    rows: pd.DataFrame, root: Path, choice: GroupChoice, *, per_class: bool = False
) -> Groups:
    """Find the patient of each slice.

    ``"auto"`` takes the first of: the list ``groups.csv`` in `root`; PatientID of DICOM files,
    if it distinguishes patients; the sub-folder of each patient below the class folders; and, if
    all slices belong to volumes, the volume.

    Parameters
    ----------
    rows : DataFrame
        One row per slice with the columns ``path``, ``label`` (the class folder), ``volume`` and
        ``patient`` (a pseudonym, or None).
    root : Path
        Folder of the class folders.
    choice : "auto", "folder", "dicom", path or None
        Source of the groups; with None, they stay unknown.
    per_class : bool, default=False
        True if folders of the same name in two classes belong to two patients.

    Returns
    -------
    Groups
        The groups; their origin is logged.

    Raises
    ------
    covidct.errors.InvalidFileError
        If a list of groups does not match the slices.
    ValueError
        If the groups of this dataset cannot be found by `choice`.
    """
    if choice is None or choice == "none":
        return Groups(None)
    ways = {"folder": _by_folder, "dicom": _by_patient_id}
    if choice == "auto":
        found = _automatic(rows, root)
    elif str(choice) in ways:
        found, reason = ways[str(choice)](rows)
        if reason:
            raise ValueError(f"groups={choice!r} cannot be used for {str(root)!r}: {reason}")
    else:
        found = _from_list(rows, root, Path(choice).expanduser())
    if found.values is not None:
        logger.info("%s groups by %s", root, found.origin)
        if per_class and found.origin == "folder":
            pairs = zip(rows["label"], found.values, strict=True)
            found = found._replace(values=[f"{label}/{value}" for label, value in pairs])
        _warn_of_both_classes(found, rows)
    return found


def _automatic(rows: pd.DataFrame, root: Path) -> Groups:
    if (root / "groups.csv").is_file():
        return _from_list(rows, root, root / "groups.csv")
    for way in (_by_patient_id, _by_folder, _by_volume):
        found, reason = way(rows)
        if found.values is not None and not reason:
            return found
        if reason and found.values is not None:
            logger.warning("%s: %s", root, reason)
    return Groups(None)


def _by_patient_id(rows: pd.DataFrame) -> tuple[Groups, str]:
    """Use the pseudonyms of PatientID; return also a reason if they cannot be used."""
    patients = rows["patient"]
    known = patients.notna()
    if not known.any():
        return Groups(None), "no slice has a PatientID in its header"
    if not known.all():
        missing = rows.loc[~known, "path"].map(str)
        return (
            Groups(patients.tolist()),
            (
                f"PatientID is not used, since {len(missing):,} of {len(rows):,} slices have none: "
                f"{some(missing)}"
            ),
        )
    units = rows["volume"].where(rows["volume"] != "", rows["path"].map(str))
    if patients.nunique() == 1 and units.nunique() > 1:
        return (
            Groups(patients.tolist()),
            (
                f"PatientID is not used, since all {len(rows):,} slices have the same one, as "
                "after anonymization"
            ),
        )
    return Groups(patients.tolist(), "patient", "PatientID"), ""


def _by_folder(rows: pd.DataFrame) -> tuple[Groups, str]:
    """Use the first folder below the class folder of each slice."""
    inside = [parts[0] if len(parts) > 1 else "" for parts in rows["below"]]
    if not all(inside):
        flat = rows.loc[[not name for name in inside], "path"].map(str)
        return Groups(None), f"{len(flat):,} slices are not in a folder per patient: {some(flat)}"
    names = set(inside)
    if len(names) < 2:
        return Groups(None), f"all slices are in folders named {inside[0]!r}"
    if all(name.casefold() in _NOT_PATIENTS for name in names):
        return Groups(None), f"the folders are not named after patients: {some(sorted(names))}"
    return Groups(inside, "patient", "folder"), ""


def _by_volume(rows: pd.DataFrame) -> tuple[Groups, str]:
    if (rows["volume"] == "").any() or rows["volume"].nunique() < 2:
        return Groups(None), "not all slices belong to volumes"
    return Groups(rows["volume"].tolist(), "volume", "volume, since patients are unknown"), ""


def _from_list(rows: pd.DataFrame, root: Path, path: Path) -> Groups:
    """Read a list with the columns path and group."""
    if not path.is_file():
        raise FileNotFoundError(
            f"groups must be 'auto', 'folder', 'dicom', None or a CSV file with the columns path "
            f"and group; {str(path)!r} does not exist"
        )
    table = read_table(path)
    require_columns(table, ("path", "group"), origin=repr(str(path)))
    if (empty := table["group"].isna() | (table["group"].str.strip() == "")).any():
        raise InvalidFileError(
            f"{str(path)!r} names no group for {some(table.loc[empty, 'path'])}; give each a group"
        )
    files = [file.relative_to(root).as_posix() for file in rows["path"]]
    match = match_files(table["path"].tolist(), files, folders=True)
    _refuse_mismatch(path, root, match.unknown, match.twice, match.left)
    groups = table["group"].map(plain_label).tolist()
    return Groups([groups[row] for row in match.row_of], "patient", f"{path.name}")


def _refuse_mismatch(
    path: Path, root: Path, unknown: Sequence[str], twice: Sequence[str], left: Sequence[str]
) -> None:
    problems = {
        "listed twice": twice,
        "listed, but not among the slices": unknown,
        "slices that are not listed": left,
    }
    found = [f"{len(names):,} {kind}: {some(names)}" for kind, names in problems.items() if names]
    if found:
        raise InvalidFileError(
            f"{str(path)!r} does not match the slices in {str(root)!r}: {'; '.join(found)}. Paths "
            "are relative to the root, such as 'COVID/a.png', or name a folder or volume"
        )


def _warn_of_both_classes(found: Groups, rows: pd.DataFrame) -> None:
    labels_of: dict[str, set[str]] = {}
    for group, label in zip(found.values or (), rows["label"], strict=True):
        labels_of.setdefault(group, set()).add(label)
    both = sorted(group for group, labels in labels_of.items() if len(labels) > 1)
    if both:
        logger.warning(
            "%d of %d %ss have slices of several classes: %s; if these are different patients "
            "with equal names, give a list with groups=FILE",
            len(both),
            len(labels_of),
            found.kind,
            some(both),
        )

"""Loader of class folders: one folder of images, DICOM files or volumes for each label."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from .._text import printable, some
from ._listing import folders_in, list_slices
from .ct_dataset import CTDataset, OnError, StrPath
from .gray import WindowChoice
from .groups import GroupChoice, find_groups
from .info import DatasetInfo
from .labels import binarize, one_spelling, plain_label
from .rows import (
    SliceChoice,
    as_dataset,
    check_slices,
    set_masks_aside,
    set_missing_aside,
    slice_rows,
)
from .slices import Found, find_slices

__all__ = ["load"]

logger = logging.getLogger(__name__)

# Names of the parts of a split.
_PARTS = ("train", "training", "val", "valid", "validation", "test", "testing", "dev")


def load(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    groups: GroupChoice = "auto",
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load slices from class folders.

    Each folder in `root` is a label. It contains image files, DICOM files (single slices or series)
    and volumes (NIfTI, MHA, MHD, NRRD) at any depth. Files are sorted by name, the slices of a
    volume from the feet to the head. Hidden files are ignored; other files that are not slices are
    left out and named in a logged warning.

    Parameters
    ----------
    root : str or path-like
        Folder of the class folders.
    info : DatasetInfo
        Entry of the registry. Its `classes`, or `positive` and `negative`, name the class folders
        if they are given.
    positive : str or sequence of str, optional
        Class folders of COVID-19. By default, the one with a usual name, such as "COVID".
    negative : str or sequence of str, optional
        Class folders of class 0. By default, all other folders. Slices of folders in neither class
        are left out, and counted in a logged warning.
    groups : {"auto", "folder", "dicom"}, path-like or None, default="auto"
        Source of the patient of each slice. A path names a CSV file with the columns ``path``
        (relative to `root`: a slice, a volume or a folder) and ``group``; ``"dicom"`` takes
        PatientID (as a pseudonym), ``"folder"`` the sub-folders of the class folders. ``"auto"``
        takes the first available one of ``root/groups.csv``, PatientID, sub-folders and volumes,
        and logs which one. With None, patients are unknown.
    slices : {"lung", "all"} or tuple of (int, int), default="lung"
        Slices to take of each volume: those that show lung (see
        :func:`covidct.datasets.lung.lung_slices`), all, or a range counted from the feet.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units and gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out files that cannot be used.

    Returns
    -------
    CTDataset
        Dataset whose `labels` are the names of the class folders.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or has no class folder with slices, or a slice is not a file.
    ValueError
        If it is unclear which class is COVID-19, or an option has an invalid value.
    covidct.errors.InvalidFileError
        If the list of groups does not match the slices, or a volume cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> import covidct
    >>> root = Path(tempfile.mkdtemp())
    >>> for label in ("covid", "normal", "cap"):
    ...     (root / label).mkdir()
    ...     Image.new("L", (60, 40)).save(root / label / "1.png")
    >>> dataset = covidct.load_dataset("folder", root)
    >>> dataset.labels.tolist(), dataset.targets.tolist(), dataset.classes
    (['cap', 'covid', 'normal'], [0, 1, 0], ('non-covid', 'covid'))
    """
    import pandas as pd

    check_slices(slices)
    root = Path(root)
    found = _class_folders(root, on_error=on_error)
    parts = []
    for label, listing in found.items():
        rows = slice_rows(listing, slices=slices)
        rows["label"] = label
        rows["below"] = [path.relative_to(root / label).parts for path in rows["path"]]
        parts.append(rows)
    rows = pd.concat(parts, ignore_index=True)
    rows["label"] = one_spelling(map(plain_label, rows["label"]), where=str(root))
    rows, masks = set_masks_aside(rows, root)
    rows, gone = set_missing_aside(rows, root) if on_error == "skip" else (rows, [])
    skipped = [
        (printable(path.relative_to(root).as_posix()), reason)
        for listing in found.values()
        for path, reason in listing.set_aside
    ]
    known = find_groups(rows, root, groups, per_class=info.ids_per_class)
    if info.group_kind and known.kind == "patient":
        known = known._replace(kind=info.group_kind)
    try:
        return as_dataset(
            rows,
            known,
            info=info,
            root=root,
            positive=positive,
            negative=negative,
            window=window,
            skipped=[*skipped, *masks, *gone],
        )
    except ValueError as error:
        if hint := _nested(root, list(found)):
            raise type(error)(f"{error}{hint}") from error
        raise


def _class_folders(root: Path, *, on_error: OnError) -> dict[str, Found]:
    """Find the slices of each class folder; files outside of them are logged."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"{os.fspath(root)!r} is not a folder; it should contain a folder for each class"
        )
    found = {
        folder.name: find_slices(folder, root=root, on_error=on_error)
        for folder in folders_in(root)
    }
    classes = {
        name: listing for name, listing in found.items() if listing.volumes or listing.images
    }
    empty = [name for name in found if name not in classes]
    outside = list_slices(root, recursive=False).slices
    if not classes:
        raise FileNotFoundError(
            f"{os.fspath(root)!r} should contain a folder with slices for each class, such as "
            f"'COVID' and 'non-COVID'; {_describe_content(root, found, outside)}"
        )
    if empty:
        logger.warning("%s: no slices were found in its folders %s", root, some(empty))
    if outside:
        logger.warning(
            "%d files in %s are outside the class folders and left out: %s",
            len(outside),
            root,
            some(path.name for path in outside),
        )
    return classes


def _describe_content(root: Path, found: dict[str, Found], outside: list[Path]) -> str:
    if outside:
        return f"it contains {len(outside)} slices, but no folders with slices"
    if not found:
        return "it contains no folders"
    reasons = [
        f"{path.relative_to(root).as_posix()!r}: {reason}"
        for listing in found.values()
        for path, reason in listing.set_aside
    ]
    folders = f"no slices were found in its folders {some(found)}"
    more = ["..."] if len(reasons) > 3 else []
    return f"{folders} ({'; '.join([*reasons[:3], *more])})" if reasons else folders


def _nested(root: Path, names: list[str]) -> str:
    """Return advice if the folders are parts, such as "train" and "test", or sites with classes."""
    inner = [{folder.name for folder in folders_in(root / name)} for name in names]
    every = sorted(set().union(*inner))
    content = some(every, limit=6)
    if any(name.casefold() in _PARTS for name in names):
        is_split = len(every) > 1 and all(classes == inner[0] for classes in inner)
        if not is_split:
            return ""
        return f". Each of these folders contains {content}: give one of them as the root"
    with suppress(ValueError):
        if all(inner) and len(names) > 1 and binarize(every, where=os.fspath(root)).targets.any():
            sites = " ".join(f"folder@{name}={root / name}" for name in names)
            return (
                f". Each of these folders contains class folders: {content}. Load each of them as "
                "a dataset, and join these with covidct.concat (on the command line --dataset "
                f"{sites})"
            )
    return ""

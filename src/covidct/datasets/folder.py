"""Slices of one's own: two class folders, and optionally a list of patients."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from .._text import printable
from ..errors import InvalidFileError
from ._listing import Listing, folders_in, list_slices
from ._parallel import some
from .ct_dataset import CTDataset, OnError, StrPath
from .info import DatasetInfo

__all__ = ["load"]

logger = logging.getLogger(__name__)

# Folder names in lower case, letters and digits only. The first say COVID-19 whatever the other
# folder is called; the second only beside their opposite.
_COVID = frozenset(
    {
        *("covid", "covid19", "covid19positive", "covidpositive", "ctcovid", "pcovid"),
        *("positivecovid", "sarscov2", "sarscov2positive"),
    }
)
_OPPOSITES = {"1": "0", "pos": "neg", "positive": "negative", "true": "false", "yes": "no"}


def load(
    root: StrPath,
    *,
    info: DatasetInfo,
    groups: StrPath | None = None,
    positive: str | None = None,
    on_error: OnError = "raise",
) -> CTDataset:
    """Load slices from two class folders.

    Files are sorted by name. Hidden files are passed over; other files that are no slices are
    passed over as well, and named in a logged warning.

    Parameters
    ----------
    root
        Folder of the two class folders, which may hold folders in turn. Slices are image files,
        and DICOM files of any suffix.
    info
        The entry of the registry. Its ``classes`` tell which folder is COVID-19 where both are
        called so.
    groups
        CSV file with the columns ``path`` (relative to ``root``, with forward slashes) and
        ``group`` (such as the patient), one row per slice; by default ``root/groups.csv`` where
        that exists.
    positive
        Name of the COVID-19 class folder, where it cannot be told from the usual names.
    on_error
        ``"skip"`` leaves out what is no file, such as a link to nothing.

    Returns
    -------
    CTDataset
        Its ``classes`` are the names of the folders.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or not two class folders in it, or a slice is no file.
    ValueError
        If it is unclear which class is COVID-19.
    covidct.errors.InvalidFileError
        If the list of groups does not match the slices.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> import covidct
    >>> root = Path(tempfile.mkdtemp())
    >>> for label in ("covid", "normal"):
    ...     (root / label).mkdir()
    ...     Image.new("L", (60, 40)).save(root / label / "1.png")
    >>> dataset = covidct.load_dataset("folder", root)
    >>> dataset.names, dataset.targets.tolist(), dataset.classes
    (('covid/1.png', 'normal/1.png'), [1, 0], ('normal', 'covid'))
    """
    root = Path(root)
    listings = _class_listings(root)
    if positive is None and info.classes is not None and set(info.classes) == set(listings):
        positive = info.classes[1]
    covid = _positive_class(list(listings), positive, root)
    other = next(name for name in listings if name != covid)
    paths = [path for listing in listings.values() for path in listing.slices]
    targets = np.repeat(
        [int(name == covid) for name in listings],
        [len(listing.slices) for listing in listings.values()],
    )
    table = root / "groups.csv" if groups is None else Path(groups)
    known = groups is not None or table.is_file()
    names = [path.relative_to(root).as_posix() for path in paths]
    labels = _read_groups(table, names) if known else None
    kept = [i for i, path in enumerate(paths) if on_error == "raise" or path.is_file()]
    left_out = sorted(set(range(len(paths))) - set(kept))
    return CTDataset(
        [paths[i] for i in kept],
        targets[kept],
        None if labels is None else [labels[i] for i in kept],
        classes=(other, covid),
        name=info.name,
        root=root,
        group_kind=info.group_kind or "patient",
        skipped=[(printable(names[i]), _no_file(paths[i])) for i in left_out],
    )


def _no_file(path: Path) -> str:
    reason = f"{str(path)!r} is no file (but a link to nothing, a pipe or a device)"
    logger.warning("%s; it is left out", reason)
    return reason


def _class_listings(root: Path) -> dict[str, Listing]:
    """List both class folders; what else lies in ``root`` is logged, not lost in silence."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"{os.fspath(root)!r} is no folder; it should hold two class folders"
        )
    listings = {folder.name: list_slices(folder) for folder in folders_in(root)}
    classes = {name: listing for name, listing in listings.items() if listing.slices}
    if len(classes) != 2:
        found = [f"{name!r} ({len(listing.slices)} slices)" for name, listing in listings.items()]
        raise FileNotFoundError(
            f"{os.fspath(root)!r} should hold two class folders with slices, such as 'COVID' and "
            f"'non-COVID'; found {', '.join(found) or 'no folder'}{_nested(root, list(classes))}"
        )
    beside = list_slices(root, recursive=False).slices
    others = [path for listing in listings.values() for path in listing.others]
    for paths, why in ((beside, "lie outside the class folders"), (others, "are no slices")):
        if paths:
            names = some(path.relative_to(root).as_posix() for path in paths)
            logger.warning("%d files in %s %s: passed over %s", len(paths), root, why, names)
    return classes


def _nested(root: Path, names: list[str]) -> str:
    """Recognize parts of a set, such as "train" and "test", each with the same two classes."""
    inner = [{folder.name for folder in folders_in(root / name)} for name in names]
    if not inner or any(len(classes) != 2 or classes != inner[0] for classes in inner):
        return ""
    classes = " and ".join(map(repr, sorted(inner[0])))
    return f". Each of them holds {classes}: give one of them as the root"


def _positive_class(names: list[str], positive: str | None, root: Path) -> str:
    """Tell which of two folder names stands for COVID-19."""
    if positive is not None:
        if positive not in names:
            raise ValueError(f"positive must be one of the class folders {names}, got {positive!r}")
        return positive
    plain = {name: re.sub(r"[\W_]+", "", name.casefold()) for name in names}
    covid = [
        name
        for name, other in (names, names[::-1])
        if plain[name] in _COVID or plain[other] == _OPPOSITES.get(plain[name])
    ]
    if len(covid) != 1:
        raise ValueError(
            f"cannot tell which of the folders {names} in {os.fspath(root)!r} is COVID-19; "
            f"say so with positive={names[0]!r} or positive={names[1]!r} (on the command line "
            f"--positive){_nested(root, names)}"
        )
    return covid[0]


def _read_groups(table: Path, names: list[str]) -> list[str]:
    """Read the group of every slice, refusing a list that does not match the slices exactly."""
    rows = _read_rows(table)
    counts = Counter(path for path, _ in rows)
    known = set(names)
    faults = {
        "listed twice": [path for path, count in counts.items() if count > 1],
        "listed, but no slice": [path for path in counts if path not in known],
        "slices that are not listed": [name for name in names if name not in counts],
        "without a group": [path for path, group in rows if not group],
    }
    told = [f"{len(paths)} {what}: {some(paths)}" for what, paths in faults.items() if paths]
    if told:
        raise InvalidFileError(
            f"{table} does not match the slices below {table.parent}: {'; '.join(told)}. "
            "Paths are relative to the root, such as 'COVID/a.png'"
        )
    groups = dict(rows)
    return [groups[name] for name in names]


def _read_rows(table: Path) -> list[tuple[str, str]]:
    # Spreadsheets write a byte-order mark, which "utf-8-sig" takes away.
    with table.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            rows = list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidFileError(f"{table} is no CSV file in UTF-8: {error}") from error
    if not {"path", "group"} <= set(columns):
        raise InvalidFileError(
            f"{table} needs the columns path,group; it has {', '.join(columns) or 'none'}"
        )
    return [(row["path"] or "", (row["group"] or "").strip()) for row in rows]

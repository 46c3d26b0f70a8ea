"""Tables with one row per slice that was found in files, from which datasets are created."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._text import printable, some
from ..errors import InvalidFileError
from ._listing import MASK_WORDS, names_mask, words_of
from .ct_dataset import CTDataset, relative_names
from .gray import WindowChoice
from .groups import Groups
from .info import DatasetInfo
from .labels import as_spelled, binarize
from .lung import lung_slices
from .reading import read_image
from .slices import Found, FoundVolume

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SliceChoice",
    "as_dataset",
    "check_slices",
    "set_masks_aside",
    "set_missing_aside",
    "slice_rows",
]

logger = logging.getLogger(__name__)

#: Choice of the slices of a volume: those that show lung, all, those with slice labels, or a
#: range (first, last), both included and counted from 0 at the feet.
SliceChoice = Literal["lung", "all", "labelled"] | tuple[int, int]


def check_slices(slices: object, *, labelled: bool = False) -> None:
    """Raise ValueError unless `slices` is a choice of slices that the loader offers."""
    if slices in ("lung", "all") or (labelled and slices == "labelled"):
        return
    if slices == "labelled":
        raise ValueError("slices='labelled' needs labels of slices, which this dataset lacks")
    if not isinstance(slices, str) and isinstance(slices, Sequence) and len(slices) == 2:
        first, last = slices
        if isinstance(first, int) and isinstance(last, int) and 0 <= first <= last:
            return
    raise ValueError(
        "slices must be 'lung', 'all', 'labelled' or (first, last), two integers from 0 on; got "
        f"{slices!r}"
    )


def slice_rows(found: Found, *, slices: SliceChoice = "lung") -> pd.DataFrame:
    """Return a table with one row per slice: all pictures, and the chosen slices of volumes.

    Parameters
    ----------
    found : Found
        Volumes and pictures.
    slices : {"lung", "all"} or tuple of (int, int), default="lung"
        Slices to take of each volume. All pictures are taken.

    Returns
    -------
    DataFrame
        Columns ``path``, ``frame``, ``volume`` (``""`` for pictures), ``position`` and
        ``patient``.
    """
    import pandas as pd

    parts = [_volume_rows(volume, _chosen(volume, slices)) for volume in found.volumes]
    images = {
        "path": list(found.images),
        "frame": 0,
        "volume": "",
        "position": np.nan,
        "patient": [found.patients.get(path) for path in found.images],
    }
    if found.images or not parts:
        parts.append(pd.DataFrame(images))
    return pd.concat(parts, ignore_index=True)


def _volume_rows(volume: FoundVolume, chosen: npt.NDArray[np.bool_]) -> pd.DataFrame:
    import pandas as pd

    index = np.flatnonzero(chosen)
    return pd.DataFrame(
        {
            "path": [volume.paths[i] for i in index],
            "frame": [volume.frames[i] for i in index],
            "volume": volume.name,
            "position": np.asarray(volume.positions, np.float64)[index],
            "patient": volume.patient,
        }
    )


def _chosen(volume: FoundVolume, slices: SliceChoice) -> npt.NDArray[np.bool_]:
    n = len(volume.paths)
    if slices == "lung":
        lung = lung_slices(volume)
        if lung.any():
            return lung
        logger.warning("no slice of %s was recognized as lung; all are used", volume.name)
    elif not isinstance(slices, str):
        first, last = slices
        number = np.arange(n)
        chosen: npt.NDArray[np.bool_] = (number >= first) & (number <= last)
        if not chosen.any():
            raise ValueError(
                f"slices={tuple(slices)} chooses none of the {n} slices of {volume.name!r}"
            )
        return chosen
    return np.ones(n, bool)


def set_masks_aside(rows: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Leave out segmentation masks in the folders of the slices.

    A file is a mask if its name is that of a slice, except for a word such as "mask" in its name or
    folder, and if it has at most two gray levels, which is checked for a few files of each folder.

    Returns
    -------
    rows : DataFrame
        Rows of the slices.
    skipped : list of (str, str)
        Name of each mask, and the reason.
    """
    relative = [path.relative_to(root) for path in rows["path"]]
    plain = {_without_mask_words(path) for path in relative if not _names_mask(path)}
    suspects: dict[str, list[int]] = {}
    for i, path in enumerate(relative):
        if _names_mask(path) and _without_mask_words(path) in plain:
            suspects.setdefault(path.parent.as_posix(), []).append(i)
    masks = [i for group in suspects.values() if _are_masks(rows["path"], group) for i in group]
    if not masks:
        return rows, []
    names = [printable(relative[i].as_posix()) for i in masks]
    logger.warning(
        "%s: %d of %d files are masks (two gray levels, named after slices) and are left out: %s",
        root,
        len(masks),
        len(rows),
        some(names),
    )
    kept = rows.drop(index=rows.index[masks]).reset_index(drop=True)
    return kept, [(name, "mask, not a slice") for name in names]


def set_missing_aside(rows: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Leave out rows whose path is not a file, and log their number.

    Returns
    -------
    rows : DataFrame
        Rows of files.
    skipped : list of (str, str)
        Name of each other path, and the reason.
    """
    missing = [path for path in rows["path"] if not path.is_file()]
    if not missing:
        return rows, []
    names = [printable(name) for name in relative_names(missing, root)]
    logger.warning("%s: %d paths are not files and are left out: %s", root, len(names), some(names))
    kept = rows[~rows["path"].isin(missing)].reset_index(drop=True)
    reason = "not a file (but a link to nothing, a pipe or a device)"
    return kept, [(name, reason) for name in names]


def _names_mask(path: PurePath) -> bool:
    return any(names_mask(part) for part in _parts(path))


def _without_mask_words(path: PurePath) -> tuple[str, ...]:
    # "images/7.png" and "masks/7.png" both become ("7",).
    drop = (*MASK_WORDS, "image", "images", "img", "imgs")
    parts = ("_".join(word for word in words_of(part) if word not in drop) for part in _parts(path))
    return tuple(part for part in parts if part)


def _parts(path: PurePath) -> tuple[str, ...]:
    stem = path.name.removesuffix(
        "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
    )
    return (*path.parent.parts, stem)


def _are_masks(paths: pd.Series[Any], group: list[int]) -> bool:
    sample = [group[k] for k in np.linspace(0, len(group) - 1, min(len(group), 3)).astype(int)]
    return all(_has_two_levels(Path(str(paths.iloc[i]))) for i in sample)


def _has_two_levels(path: Path) -> bool:
    try:
        image: Image.Image = read_image(path)
    except (InvalidFileError, OSError):
        return False
    colors = image.convert("RGBA").getcolors(2)
    return colors is not None


def as_dataset(
    rows: pd.DataFrame,
    groups: Groups,
    *,
    info: DatasetInfo,
    root: Path,
    positive: object,
    negative: object,
    window: WindowChoice,
    skipped: Iterable[tuple[str, str]] = (),
    masks: Sequence[str] = (),
    metadata: Sequence[str] = (),
) -> CTDataset:
    """Create a dataset from labeled rows, without those whose label belongs to neither class.

    Parameters
    ----------
    rows : DataFrame
        As from :func:`slice_rows`, with ``label`` and, where known, ``split`` and ``source``.
    groups : Groups
        Group of each row.
    info : DatasetInfo
        Entry of the registry: name of the dataset and, unless given, the labels of both classes.
    root, window, skipped
        As in :class:`covidct.CTDataset`.
    positive, negative
        As in :func:`covidct.datasets.labels.binarize`.
    masks : sequence of str, default=()
        Kinds of masks, such as ``"lesion"``; their files are in the columns ``lesion_mask``, ...
    metadata : sequence of str
        Further columns of `rows` to keep.

    Returns
    -------
    CTDataset
        One slice per row that is kept.
    """
    labels = rows["label"].tolist()
    if groups.values is not None:
        _warn_about_similar_names(groups, root)
    if positive is None and info.positive:
        occurring = set(labels)
        positive = [n for name in info.positive if (n := as_spelled(name, occurring)) in occurring]
        usual = [n for name in info.negative if (n := as_spelled(name, occurring)) in occurring]
        negative = usual if negative is None and usual else negative
    targets, names = binarize(
        labels, positive=positive, negative=negative, default=info.classes, where=str(root)
    )
    kept = np.flatnonzero(targets >= 0)
    part = rows.iloc[kept]
    in_volumes = bool((part["volume"] != "").any())
    return CTDataset(
        part["path"],
        targets[kept],
        None if groups.values is None else [groups.values[i] for i in kept],
        frames=part["frame"].to_numpy(np.int64),
        labels=part["label"],
        sources=part.get("source"),
        volumes=part["volume"] if in_volumes else None,
        positions=part["position"] if in_volumes else None,
        official_split=part.get("split"),
        metadata=part[list(metadata)] if metadata else None,
        mask_files={kind: part[f"{kind}_mask"].tolist() for kind in masks},
        classes=names,
        name=info.name,
        root=root,
        group_kind=groups.kind,
        window=window,
        skipped=skipped,
    )


def _warn_about_similar_names(groups: Groups, root: Path) -> None:
    """Log a warning about groups whose names differ only in case, blanks or leading zeros."""
    names: dict[str, list[str]] = {}
    for name in dict.fromkeys(groups.values or ()):
        plain = "".join(name.casefold().split())
        names.setdefault(re.sub(r"(?<!\d)0+(?=\d)", "", plain), []).append(name)
    if alike := [several for several in names.values() if len(several) > 1]:
        logger.warning(
            "%s: %d %ss have names like those of another, such as %s; if they are the same, spell "
            "them alike",
            root,
            sum(map(len, alike)),
            groups.kind,
            some(alike[0]),
        )

"""Datasets of volumes with lesion masks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pandas as pd

from .._listing import volume_suffix
from ..ct_dataset import CTDataset, OnError, StrPath
from ..gray import WindowChoice
from ..groups import Groups
from ..info import DatasetInfo
from ..rows import SliceChoice, as_dataset, check_slices, slice_rows
from ..table import dataset_of_table
from .local_copy import LocalCopy, plain
from .slice_labels import labeled_slices, lesions_of_masks

__all__ = ["load_covid_19_ct_seg", "load_medseg_covid_19"]

_MASKS = ("lesion", "lung")


def load_covid_19_ct_seg(
    root: StrPath,
    *,
    info: DatasetInfo,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the 20 volumes of COVID-19-CT-Seg with masks of lesions and lungs.

    The patient is the number of a coronacases volume or the case of a Radiopaedia volume; two of
    these cases have two volumes each.

    Parameters
    ----------
    root : str or path-like
        Folder with the volumes and ``Infection_Mask``, and optionally ``Lung_Mask``, at any depth.
        The file names of the copy at Kaggle, such as ``coronacases_org_001.nii``, are read too.
    info : DatasetInfo
        Entry of the registry.
    slices : {"lung", "all", "labelled"} or tuple of (int, int), default="lung"
        Slices to take of each volume. Of volumes that are not in Hounsfield units, ``"lung"`` takes
        all slices. ``"labelled"`` takes the slices with lesions in their masks.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units; the Radiopaedia volumes are stored as gray values.
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out volumes that cannot be read.

    Returns
    -------
    CTDataset
        Slices with masks: ``masks(i)`` is a dict with the masks ``"lesion"`` and ``"lung"`` of
        slice ``i``.

    Raises
    ------
    FileNotFoundError
        If there are no volumes, or no lesion masks.
    covidct.errors.InvalidFileError
        If a volume cannot be read.
    """
    check_slices(slices, labelled=True)
    copy = LocalCopy(root, info)
    volumes: dict[str, str] = {}
    masks: dict[str, dict[str, Path]] = {kind: {} for kind in _MASKS}
    for name in copy.volumes:
        case = _case(name.rpartition("/")[2])
        if case is None:
            continue
        kind = _kind(name)
        if kind == "volume":
            volumes[case] = name
        elif kind in masks:
            masks[kind][case] = copy.root / name
    if not volumes:
        raise copy.missing("volumes such as coronacases_001.nii.gz")
    if not masks["lesion"]:
        raise copy.missing("lesion masks such as Infection_Mask/coronacases_001.nii.gz")
    table = pd.DataFrame(
        {
            "path": list(volumes.values()),
            "label": "COVID-19",
            # Every case matches, see `_case`.
            "group": [re.match(r"\w+?_\d+", case)[0] for case in volumes],  # type: ignore[index]
            "source": [case.partition("_")[0] for case in volumes],
            **{f"{kind}_mask": [masks[kind].get(case) for case in volumes] for kind in _MASKS},
        }
    )
    dataset = dataset_of_table(
        table,
        copy.root,
        info=info,
        origin="the listing of the folders",
        found=copy.find(table["path"], on_error=on_error),
        slices="all" if slices == "labelled" else slices,
        window=window,
        on_error=on_error,
        masks=_MASKS,
    )
    return _with_lesions(dataset) if slices == "labelled" else dataset


def _with_lesions(dataset: CTDataset) -> CTDataset:
    return labeled_slices(dataset, lesions_of_masks(dataset), set())


def _case(name: str) -> str | None:
    """Return the case of a volume or mask, which is the same for all spellings of its name."""
    if match := re.search(r"coronacases_(?:org_)?(\d+)", name):
        return f"coronacases_{match[1]}"
    if match := re.search(r"radiopaedia_(?:org_covid-19-pneumonia-)?(\d+)_(\d+)_(\d+)", name):
        return "radiopaedia_" + "_".join(match.groups())
    return None


def _kind(name: str) -> str:
    """Return "lesion", "lung", "other" or "volume", by the names of the folders."""
    folders = [plain(part) for part in name.split("/")[:-1]]
    masks = [part for part in folders if "mask" in part]
    if not masks:
        return "volume"
    has_lung, has_infection = "lung" in masks[-1], "infection" in masks[-1]
    if has_lung and has_infection:
        return "other"  # masks with several labels are not read
    return "lesion" if has_infection else "lung" if has_lung else "other"


def load_medseg_covid_19(
    root: StrPath,
    *,
    info: DatasetInfo,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the slices and volumes of MedSeg's dataset, with masks of lesions and lungs.

    Parameters
    ----------
    root : str or path-like
        Folder with ``tr_im.nii.gz`` and ``tr_mask.nii.gz``, or ``rp_im`` and ``rp_msk``, or all of
        them, at any depth.
    info : DatasetInfo
        Entry of the registry.
    slices : {"lung", "all", "labelled"} or tuple of (int, int), default="lung"
        Slices to take of each volume. All 100 slices of ``tr_im``, which are of many patients, are
        taken. ``"labelled"`` takes the slices with lesions in their masks.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units.
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out volumes that cannot be read.

    Returns
    -------
    CTDataset
        Slices with masks: ``masks(i)`` is a dict with the masks ``"lesion"`` (any label) and
        ``"lung"`` of slice ``i``. The groups are files.

    Raises
    ------
    FileNotFoundError
        If there are no images, or no lesion masks.
    covidct.errors.InvalidFileError
        If a volume cannot be read.
    """
    check_slices(slices, labelled=True)
    copy = LocalCopy(root, info)
    files = _medseg_files(copy.volumes)
    if not files:
        raise copy.missing("images such as tr_im.nii.gz or rp_im/1.nii.gz")
    if not any("lesion" in kinds for kinds in files.values()):
        raise copy.missing("lesion masks such as tr_mask.nii.gz or rp_msk/1.nii.gz")
    images = {copy.root / kinds["image"]: kinds for kinds in files.values()}
    found = copy.find([kinds["image"] for kinds in files.values()], on_error=on_error)
    stacks = [v for v in found.volumes if images[v.paths[0]]["image"].endswith(_STACKS)]
    others = [v for v in found.volumes if v not in stacks]
    parts = [
        slice_rows(found._replace(volumes=part, images=[]), slices=choice)
        for part, choice in ((stacks, "all"), (others, "all" if slices == "labelled" else slices))
        if part
    ]
    if not parts:
        raise copy.missing("readable volume")
    rows = pd.concat(parts, ignore_index=True)
    rows["label"] = "COVID-19"
    for kind in _MASKS:
        names = [images[path].get(kind) for path in rows["path"]]
        paths = [None if name is None else copy.root / name for name in names]
        rows[f"{kind}_mask"] = pd.Series(paths, dtype=object)
    dataset = as_dataset(
        rows,
        Groups(rows["volume"].tolist(), info.group_kind, "file"),
        info=info,
        root=copy.root,
        positive=None,
        negative=None,
        window=window,
        masks=_MASKS,
        skipped=[(str(path), reason) for path, reason in found.set_aside],
    )
    return _with_lesions(dataset) if slices == "labelled" else dataset


# Files with single slices of many patients.
_STACKS = ("tr_im.nii.gz", "tr_im.nii", "val_im.nii.gz", "val_im.nii")
_MEDSEG_NAMES = {
    "trim": ("tr", "image"),
    "trmask": ("tr", "lesion"),
    "trlungmasksupdated": ("tr", "lung"),
    "trlungmasks": ("tr", "lung"),
    "valim": ("val", "image"),
    "valmask": ("val", "lesion"),
}
_MEDSEG_FOLDERS = {"rpim": "image", "rpmsk": "lesion", "rplungmsk": "lung"}


def _medseg_files(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the files by case and kind, without cases that have no image."""
    cases: dict[str, dict[str, str]] = {}
    for name in names:
        suffix = volume_suffix(PurePosixPath(name)) or ""
        folder, _, file = name.removesuffix(suffix).rpartition("/")
        kind = next(
            (_MEDSEG_FOLDERS[plain(p)] for p in folder.split("/") if plain(p) in _MEDSEG_FOLDERS),
            None,
        )
        if kind is not None:
            cases.setdefault(f"rp {file}", {})[kind] = name
        elif plain(file) in _MEDSEG_NAMES:
            case, kind = _MEDSEG_NAMES[plain(file)]
            cases.setdefault(case, {})[kind] = name
    return {case: kinds for case, kinds in cases.items() if "image" in kinds}

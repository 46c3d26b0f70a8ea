"""Datasets with labels in tables: Maftouni's slices, MosMedData, STOIC and covid-chestxray."""

from __future__ import annotations

import logging
import re

import pandas as pd

from ..._text import some
from ...errors import InvalidFileError
from ..ct_dataset import CTDataset, OnError, StrPath, relative_names
from ..gray import WindowChoice
from ..info import DatasetInfo
from ..rows import SliceChoice, check_slices
from ..table import dataset_of_table
from ..tabular import require_columns
from .local_copy import LocalCopy
from .slice_labels import labeled_slices, lesions_of_masks, slice_keys

__all__ = [
    "load_covid_chestxray",
    "load_large_covid_19_ct_slices",
    "load_mosmed_1110",
    "load_stoic2021",
]

logger = logging.getLogger(__name__)

# Beginning of the file names of each source: most have the number and author of a reference.
_SOURCES = (
    (r"\d+_Jun_", "COVID-19-CT-Seg"),
    (r"\d+_Morozov_", "MosMedData"),
    (r"\d+_Rahimzadeh_", "COVID-CTset"),
    (r"\d+_Zhao_", "COVID19-CT"),
    (r"\d+_Bjorke_", "MedSeg"),
    (r"\d+_Cohen_", "covid-chestxray"),
    (r"(P|N|normal|cap|cp)\d+_", "COVID-CT-MD"),
)


def load_large_covid_19_ct_slices(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the large COVID-19 CT slice dataset, with patients and original datasets.

    Parameters
    ----------
    root : str or path-like
        Folder with the three ``meta_data_*.csv`` and the images, at any depth.
    info : DatasetInfo
        Entry of the registry.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "COVID-19" against "Normal" and "CAP".
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out listed images that are missing.

    Returns
    -------
    CTDataset
        Slices with the original datasets as `sources`; they are also part of the patients' ids.

    Raises
    ------
    FileNotFoundError
        If a label file is missing.
    covidct.errors.InvalidFileError
        If a label file lacks a column, or listed images are missing.
    """
    copy = LocalCopy(root, info)
    parts = []
    for name, label in (("covid", "COVID-19"), ("normal", "Normal"), ("cap", "CAP")):
        part = copy.table(f"meta_data_{name}.csv")
        require_columns(part, ("File name", "Patient ID"), origin=f"meta_data_{name}.csv")
        parts.append(part.assign(label=label).drop(columns="index", errors="ignore"))
    table = pd.concat(parts, ignore_index=True)
    table["source"] = [_source(name) for name in table["File name"]]
    patients = table["Patient ID"].fillna("unknown").str.strip()
    table["group"] = table["source"] + "/" + patients
    images = copy.by_name(copy.pictures)
    table["path"] = [images.get(name, name) for name in table["File name"]]
    return copy.dataset_of_pictures(
        table,
        origin="the label files",
        positive=positive,
        negative=negative,
        window=window,
        on_error=on_error,
    )


def _source(name: str) -> str:
    return next((source for start, source in _SOURCES if re.match(start, name)), "unknown")


def load_covid_chestxray(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the axial CT images of covid-chestxray-dataset.

    Volumes, which are not part of the repository, are loaded if there are any.

    Parameters
    ----------
    root : str or path-like
        Folder with ``metadata.csv``, ``images`` and, optionally, ``volumes``.
    info : DatasetInfo
        Entry of the registry.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "COVID-19" against all others.
    slices : {"lung", "all"} or tuple of (int, int), default="lung"
        Slices to take of each volume.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units and gray values of more than 8 bits; a tuple is (level, width).
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out listed images that are missing.

    Returns
    -------
    CTDataset
        Slices with the columns of the metadata in `table`, such as the license of each image.

    Raises
    ------
    FileNotFoundError
        If ``metadata.csv`` is missing.
    covidct.errors.InvalidFileError
        If it lacks a column, has no axial CT rows, or lists missing images.
    """
    copy = LocalCopy(root, info)
    table = copy.table("metadata.csv")
    needed = ("patientid", "finding", "view", "modality", "folder", "filename")
    require_columns(table, needed, origin="metadata.csv")
    axial = table["view"].str.casefold().str.strip() == "axial"
    table = table[axial & (table["modality"].str.casefold().str.strip() == "ct")]
    table = table.loc[:, ~table.columns.str.fullmatch(r"column \d+|Unnamed.*")]
    if table.empty:
        raise InvalidFileError(f"metadata.csv in {str(copy.root)!r} has no rows of axial CT")
    listed = table["folder"].fillna("images") + "/" + table["filename"]
    present = {"/".join(name.split("/")[-2:]): name for name in [*copy.pictures, *copy.volumes]}
    table["path"] = [present.get(name, name) for name in listed]
    # Later versions of the table write a finding as a path: Pneumonia/Viral/COVID-19.
    table["label"] = table["finding"].fillna("unknown").str.rpartition("/")[2].str.strip()
    table["group"] = table["patientid"]
    absent = (table["folder"] == "volumes") & ~listed.isin(present)
    if absent.any():
        logger.info("%d volumes of metadata.csv are not in %s", absent.sum(), copy.root)
    table = table[~absent].reset_index(drop=True)
    there = [name for name in table["path"] if name in set(present.values())]
    return dataset_of_table(
        table,
        copy.root,
        info=info,
        origin="the rows of axial CT in metadata.csv",
        found=copy.find(there, on_error=on_error),
        positive=positive,
        negative=negative,
        slices=slices,
        window=window,
        on_error=on_error,
    )


def load_mosmed_1110(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the volumes of MosMedData COVID19_1110, with lesion masks if there are any.

    Parameters
    ----------
    root : str or path-like
        Folder with ``CT-0`` to ``CT-4``, at any depth, and optionally ``masks``. If the volumes are
        not in such folders, their class is read from ``dataset_registry.csv`` (or ``.xlsx``).
    info : DatasetInfo
        Entry of the registry.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "CT-1" to "CT-4" against "CT-0".
    slices : {"lung", "all", "labelled"} or tuple of (int, int), default="lung"
        Slices to take of each volume. ``"labelled"`` takes the slices with lesions of class 1, and
        the slices with lung of class 0. Volumes of class 1 without a mask are left out.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units.
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out volumes that cannot be read.

    Returns
    -------
    CTDataset
        Slices with masks: ``masks(i)["lesion"]`` is the mask of slice ``i`` if its volume has one.

    Raises
    ------
    FileNotFoundError
        If there are no volumes in such folders, and no registry.
    covidct.errors.InvalidFileError
        If the registry lacks a column or lists missing files, or a volume cannot be read.
    """
    check_slices(slices, labelled=True)
    copy = LocalCopy(root, info)
    studies = [name for name in copy.volumes if re.search(r"study_\d+\.\w+(\.gz)?$", name)]
    try:
        table = copy.by_class(studies, {f"ct{k}": f"CT-{k}" for k in range(5)})
        table = table.drop(columns=["above", "below"])
    except FileNotFoundError:
        if copy.file("dataset_registry.*") is None:
            raise
        table = copy.table("dataset_registry.csv", "dataset_registry.xlsx")
        require_columns(table, ("category", "study_file"), origin="dataset_registry")
        there = copy.by_name(studies)
        names = [str(name).rpartition("/")[2] for name in table["study_file"]]
        table = table[["study_id"]].assign(
            path=[there.get(name, name) for name in names], label=table["category"]
        )
    table["group"] = table["path"].str.extract(r"(study_\d+)", expand=False)
    if (unknown := table["group"].isna()).any():
        raise InvalidFileError(
            f"dataset_registry in {str(copy.root)!r} has a study_file that names no study: "
            f"{some(table.loc[unknown, 'path'].map(str))}; it must be like "
            "studies/CT-1/study_0255.nii.gz"
        )
    masks = {}
    for name in copy.volumes:
        if match := re.search(r"(study_\d+)_mask\.", name):
            masks[match[1]] = copy.root / name
    table["lesion_mask"] = (
        table["group"].map(masks).astype(object).where(table["group"].isin(masks), None)
    )

    def read(part: pd.DataFrame, slices: SliceChoice) -> CTDataset:
        return copy.dataset_of_volumes(
            part,
            origin="the label files",
            positive=positive,
            negative=negative,
            slices=slices,
            window=window,
            on_error=on_error,
            masks=("lesion",),
        )

    if slices != "labelled":
        return read(table, slices)
    dataset = read(table, "all")
    paths = [path for path, k in zip(dataset.paths, dataset.targets, strict=True) if k == 0]
    part = table[table["path"].isin(set(relative_names(paths, copy.root)))]
    lung = slice_keys(read(part.reset_index(drop=True), "lung")) if paths else set()
    return labeled_slices(dataset, lesions_of_masks(dataset), lung)


def load_stoic2021(
    root: StrPath,
    *,
    info: DatasetInfo,
    positive: object = None,
    negative: object = None,
    slices: SliceChoice = "lung",
    window: WindowChoice = "lung",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the public training volumes of STOIC2021.

    Parameters
    ----------
    root : str or path-like
        Folder with ``reference.csv`` and the MHA files, at any depth.
    info : DatasetInfo
        Entry of the registry.
    positive, negative : str or sequence of str, optional
        Labels of both classes; by default "COVID-19" against "RT-PCR negative".
    slices : {"lung", "all"} or tuple of (int, int), default="lung"
        Slices to take of each volume.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window for Hounsfield units.
    on_error : {"raise", "skip"}, default="raise"
        ``"skip"`` leaves out listed volumes that are missing, to load a part of the dataset.

    Returns
    -------
    CTDataset
        Slices with the column ``severe`` in `table` (1 for severe COVID-19, else 0).

    Raises
    ------
    FileNotFoundError
        If ``reference.csv`` is missing.
    covidct.errors.InvalidFileError
        If it is malformed or lists missing volumes.
    """
    copy = LocalCopy(root, info)
    listed = copy.table("reference.csv")
    require_columns(listed, ("PatientID", "probCOVID", "probSevere"), origin="reference.csv")
    there = {re.sub(r"\.\w+(\.gz)?$", "", name.rpartition("/")[2]): name for name in copy.volumes}
    labels = {"0": "RT-PCR negative", "1": "COVID-19"}
    positives = [str(value).partition(".")[0] for value in listed["probCOVID"]]
    if wrong := sorted(set(positives) - set(labels)):
        raise InvalidFileError(f"probCOVID in reference.csv must be 0 or 1, got {some(wrong)}")
    table = listed.drop(columns=["PatientID", "probCOVID", "probSevere"]).assign(
        path=[there.get(patient, f"{patient}.mha") for patient in listed["PatientID"]],
        label=[labels[value] for value in positives],
        group=listed["PatientID"],
        severe=[int(float(value)) for value in listed["probSevere"]],
    )
    return copy.dataset_of_volumes(
        table,
        origin="the label files",
        positive=positive,
        negative=negative,
        slices=slices,
        window=window,
        on_error=on_error,
    )

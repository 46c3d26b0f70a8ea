"""Public sets: each reader against a generated miniature of the published layout."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.datasets import volumes
from covidct.datasets.catalogue import PUBLIC_SETS
from covidct.errors import InvalidFileError

SHAPE = (4, 6, 8)  # slices, rows, columns


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDCT_CACHE", str(tmp_path / "cache"))
    volumes.CACHE.clear()


# Files


def picture(path: Path, *, deep: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(abs(hash(path.name)) % 2**32)
    dtype = np.uint16 if deep else np.uint8
    Image.fromarray(rng.integers(0, 2000 if deep else 256, (6, 8), dtype)).save(path)
    return path


def text(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding=encoding)
    return path


def volume(path: Path, array: np.ndarray | None = None) -> Path:
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
        array = np.random.default_rng(len(path.name)).integers(-1024, 1500, SHAPE, dtype=np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.7, 5.0))
    sitk.WriteImage(image, str(path))
    return path


def mask_array() -> np.ndarray:
    """One row of lesion, another in each slice."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[range(4), range(4)] = 1
    return mask


def dicom(path: Path, location: float, **tags: Any) -> Path:
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    pixels = np.random.default_rng(int(location + 1000)).integers(0, 2500, (6, 8), dtype=np.uint16)
    given = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": generate_uid(),
        "Modality": "CT",
        "SeriesInstanceUID": "1.2.3",
        "PatientID": path.parent.name,
        "Rows": 6,
        "Columns": 8,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, location],
        "SliceLocation": location,
        "PixelSpacing": [0.7, 0.7],
        "PixelData": pixels.tobytes(),
    }
    for keyword, value in (given | tags).items():
        setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def uid_of(name: str) -> str:
    return "1.2." + ".".join(str(ord(letter)) for letter in name)


# Miniatures of the layouts


COVIDX = {
    "train": (
        ("NCP_96_1328_0032.png", 2),
        ("137covid_patient7_SR_2_IM00014.png", 2),
        ("volume-covid19-A-0573_ct-0010.png", 2),
        ("volume-covid19-A-0383_1_ct-0018.png", 2),
        ("LIDC-IDRI-0273-1.3.6.1-0032.png", 0),
        ("A002304-1.2-3.4-0001.png", 2),
    ),
    "val": (
        ("CP_1253_3471_0065.png", 1),
        ("radiopaedia_4_85506_1-0004.png", 2),
        ("radiopaedia-11516-0021.png", 2),
    ),
    "test": (
        ("Normal_1739_1042_0000.png", 0),
        ("COVIDCTMD-normal075-IM0158.png", 0),
        ("STOIC-10011-0103.png", 2),
    ),
}
COVIDX_PATIENTS = {
    *("NCP_96", "patient7", "volume-covid19-A-0573", "volume-covid19-A-0383_1", "LIDC-IDRI-0273"),
    *("A002304", "CP_1253", "radiopaedia_4_85506", "radiopaedia-11516", "Normal_1739"),
    *("COVIDCTMD-normal075", "STOIC-10011"),
}


def covidx_ct(root: Path) -> None:
    for split, rows in COVIDX.items():
        text(root / f"{split}_COVIDx_CT-3A.txt", *(f"{name} {k} 0 1 7 6" for name, k in rows))
        for name, _ in rows:
            picture(root / "3A_images" / name)
    text(
        root / "metadata.csv",
        "patient id,source,country,sex,age,finding,verified finding,slice selection,view,modality",
        "NCP_9,CNCB,China,,,COVID-19,Yes,Expert,Axial,CT",
        "NCP_96,CNCB,China,F,71,COVID-19,Yes,Expert,Axial,CT",
        "patient7,COVID-CTset,Iran,,,COVID-19,Yes,Expert,Axial,CT",
        "volume-covid19-A-0383,TCIA,Italy,,,COVID-19,Yes,Expert,Axial,CT",
        "volume-covid19-A-0383_1,TCIA,Italy,,,COVID-19,Yes,Expert,Axial,CT",
    )


CTSET = (
    *("137covid_patient1_SR_2_IM00010.tif", "157covid_patient9_SR_4_IM00003.tif"),
    *("normal4_patient377_SR_2_IM00004.tif", "cdunnormal_patient151_SR_2_IM00008.tif"),
)


def covid_ctset(root: Path) -> None:
    for name in CTSET:
        picture(root / "Train&Validation" / name, deep=True)
    rows = [f"{name},{'covid' if 'covid' in name else 'normal'}" for name in CTSET]
    text(root / "CSV" / "all.csv", "filename,class", *rows)
    text(root / "CSV" / "train2.csv", "filename,class", rows[0], rows[2])
    text(root / "CSV" / "validation2.csv", "filename,class", rows[1])
    text(root / "CSV" / "test2.csv", "filename,class", rows[1])


def covid_ct_md(root: Path) -> None:
    # File names are in another order than the slices; the index skips a number.
    for folder, patient in (
        ("COVID-19 Cases", "P001"),
        ("COVID-19 Cases", "P002"),
        ("COVID-19 Cases", "P003"),
        ("Cap Cases", "cap001"),
        ("Normal Cases", "normal001"),
    ):
        for name, location in (("b_1", -10), ("b_10", -30), ("b_2", -20), ("b_3", -40)):
            dicom(
                root / folder / patient / f"{name}.dcm", location, SeriesInstanceUID=uid_of(patient)
            )
    text(
        root / "Index.csv",
        "Label Index,Diagnosis,Relative Path,Folder/ID",
        "0,COVID-19,./COVID-19/,P001",
        "2,COVID-19,./COVID-19/,P002",
        "3,CAP,./CAP/,cap001",
    )
    labels = np.zeros((3, 6), np.int64)
    np.save(root / "Slice-level-labels.npy", labels + 1)
    labels[0, 0] = labels[1, [1, 2]] = labels[2, 3] = 1
    np.save(root / "Slice-level-labels-updated-1.npy", labels)


def multiclass(root: Path) -> None:
    for label in ("Covid", "Healthy", "Others"):
        for patient in ("Patient (1)", "Patient (2)"):
            picture(root / "New_Data_CoV2" / label / patient / "10.png")
            picture(root / "New_Data_CoV2" / label / patient / "9.png")


def large_slices(root: Path) -> None:
    for name, folder, label, rows in (
        (
            "covid",
            "2COVID",
            "COVID-19",
            ("P033_112.png,P033", "6_Rahimzadeh_137covid_patient101_SR_4_IM00006.png,patient101"),
        ),
        ("normal", "1NonCOVID", "Normal", ("16_Morozov_study_0001_12.png,study_id_1",)),
        ("cap", "3CAP", "CAP", ("cap006_10.png,cap006", "cp001_10.png,cp001")),
    ):
        text(
            root / f"meta_data_{name}.csv",
            "index,File name,Patient ID,Gender,Age,COVID-19 Infection,Institution",
            *(f"0,{row},-,-,{label},Klinik \xe4" for row in rows),
            encoding="cp1252",
        )
        for row in rows:
            picture(root / "curated_data" / "curated_data" / folder / row.partition(",")[0])


def ictcf(root: Path) -> None:
    for label, number in (("pCT", 3), ("nCT", 4), ("NiCT", 2)):
        for i in range(number):
            picture(root / label / f"{label}{i + 9}.jpg")


def cc_ccii(root: Path) -> None:
    for label, patient, scan in (("NCP", 16, 1164), ("CP", 590, 2952), ("Normal", 700, 5001)):
        for i in range(4):
            picture(root / label / str(patient) / str(scan) / f"{i:04d}.{'png' if i else 'jpg'}")
    text(
        root / "CT_cleaned_v2.csv",
        "cls,pid,scan_id,is_seg,is_repeat,repeat_ids,re_order",
        "NCP,16,1164,0,1,0;2,3+1",
        "CP,590,2952,0,0,,reverse",
        "Normal,700,5001,1,0,,",
    )
    for split, label, patient, scan in (
        ("train", "NCP", "16", "1164"),
        ("test", "CP", "590", "2952"),
    ):
        lists = {label: {patient: {scan: ["0001.png", "0002.png"]}}}
        text(root / f"ct_{split}.json", json.dumps(lists))


def mosmed(root: Path) -> None:
    for k, number in ((0, 1), (1, 255), (4, 1110)):
        volume(root / "studies" / f"CT-{k}" / f"study_{number:04d}.nii.gz")
    volume(root / "masks" / "study_0255_mask.nii.gz", mask_array())


def stoic(root: Path) -> None:
    for patient in (6, 17, 10011):
        volume(root / "data" / "mha" / f"{patient}.mha")
    text(
        root / "metadata" / "reference.csv",
        "PatientID,probCOVID,probSevere",
        *("6,1,0", "17,0,0", "10011,1,1"),
    )


def ricord(root: Path) -> None:
    for letter, patient in (("A", "419639-000082"), ("B", "419639-000101")):
        folder = root / f"MIDRC-RICORD-1{letter}" / f"MIDRC-RICORD-1{letter}-{patient}" / "study"
        for i in range(4):
            for name, number in (("3.000000-lung-1", "1"), ("4.000000-thick-2", "2")):
                if number == "1" or i < 2:
                    dicom(
                        folder / name / f"1-{i + 1:03d}.dcm",
                        -3 * i,
                        SeriesInstanceUID=f"1.{ord(letter)}.{number}",
                        PatientID=f"MIDRC-RICORD-1{letter}-{patient}",
                    )


def cov19(root: Path) -> None:
    for part in ("train", "val"):
        for label in ("covid", "non-covid"):
            for scan in (0, 1):
                for i in (2, 10):
                    picture(root / part / label / f"ct_scan_{scan}" / f"{i}.jpg")
    picture(root / "test" / "ct_scan_0" / "0.jpg")
    (root / "train" / "covid" / "ct_scan_0" / "._2.jpg").write_bytes(b"junk")


def chestxray(root: Path) -> None:
    text(
        root / "metadata.csv",
        "patientid,offset,finding,view,modality,folder,filename,license,",
        "17,9,COVID-19,Axial,CT,images,a.jpg,CC BY-NC-SA,",
        "17,10,Pneumonia/Viral/COVID-19,Axial,CT,images,b.png,,",
        "19,1,No Finding,Axial,CT,images,c.png,Apache 2.0,",
        "20,1,COVID-19,Coronal,CT,images,d.png,,",
        "21,1,COVID-19,PA,X-ray,images,e.png,,",
        "119,1,COVID-19,Axial,CT,volumes,coronacases_org_001.nii.gz,,",
    )
    for name in ("a.jpg", "b.png", "c.png", "d.png", "e.png"):
        picture(root / "images" / name)


def seg(root: Path) -> None:
    names = (
        *("coronacases_001", "coronacases_010", "radiopaedia_10_85902_1"),
        *("radiopaedia_10_85902_3", "radiopaedia_4_85506_1"),
    )
    rng = np.random.default_rng(0)
    for name in names:
        gray = rng.integers(0, 256, SHAPE, dtype=np.uint8) if "radio" in name else None
        volume(root / "COVID-19-CT-Seg_20cases" / f"{name}.nii.gz", gray)
        volume(root / "Infection_Mask" / f"{name}.nii.gz", mask_array())
        volume(root / "Lung_Mask" / f"{name}.nii.gz", np.full(SHAPE, 2, np.uint8))
        volume(root / "Lung_and_Infection_Mask" / f"{name}.nii.gz", mask_array() + 1)


def medseg(root: Path) -> None:
    volume(root / "tr_im.nii.gz")
    volume(root / "tr_mask.nii.gz", 2 * mask_array())
    volume(root / "val_im.nii.gz")
    for number in (1, 2):
        volume(root / "rp_im" / f"{number}.nii.gz")
        volume(root / "rp_msk" / f"{number}.nii.gz", mask_array())
        volume(root / "rp_lung_msk" / f"{number}.nii.gz", np.ones(SHAPE, np.uint8))


class Miniature(NamedTuple):
    """Files of a layout, and what is read from them."""

    write: Callable[[Path], None]
    labels: Mapping[str, int]  # number of slices
    positive: int
    groups: set[str] | None
    splits: Mapping[str, int] | None = None
    options: Mapping[str, Any] = {}
    needed: str = ""  # name of a file or folder without which nothing loads


ALL: Mapping[str, Any] = {"slices": "all"}
MINIATURES = {
    "covidx-ct": Miniature(
        covidx_ct,
        {"Normal": 3, "Pneumonia": 1, "COVID-19": 8},
        8,
        COVIDX_PATIENTS,
        {"train": 6, "val": 3, "test": 3},
        needed="val_COVIDx_CT-3A.txt",
    ),
    "covid-ctset": Miniature(
        covid_ctset,
        {"COVID-19": 2, "Normal": 2},
        2,
        {"patient1", "patient9", "patient377", "patient151"},
        needed="Train&Validation",
    ),
    "covid-ct-md": Miniature(
        covid_ct_md,
        {"COVID-19": 12, "CAP": 4, "Normal": 4},
        12,
        {"P001", "P002", "P003", "cap001", "normal001"},
        options=ALL,
        needed="*s",
    ),
    "sars-cov-2-ct-multiclass": Miniature(
        multiclass,
        {"Covid": 4, "Healthy": 4, "Others": 4},
        4,
        {f"{a}/Patient ({b})" for a in ("Covid", "Healthy", "Others") for b in (1, 2)},
        needed="New_Data_CoV2",
    ),
    "large-covid-19-ct-slices": Miniature(
        large_slices,
        {"COVID-19": 2, "Normal": 1, "CAP": 2},
        2,
        {
            "COVID-CT-MD/P033",
            "COVID-CTset/patient101",
            "MosMedData/study_id_1",
            "COVID-CT-MD/cap006",
            "COVID-CT-MD/cp001",
        },
        needed="meta_data_cap.csv",
    ),
    "ictcf": Miniature(ictcf, {"pCT": 3, "nCT": 4}, 3, None, needed="*"),
    "cc-ccii": Miniature(
        cc_ccii,
        {"NCP": 4, "CP": 4, "Normal": 4},
        4,
        {"NCP_16", "CP_590", "Normal_700"},
        needed="[NC][CPo]*",
    ),
    "mosmed-1110": Miniature(
        mosmed,
        {"CT-0": 4, "CT-1": 4, "CT-4": 4},
        8,
        {"study_0001", "study_0255", "study_1110"},
        options=ALL,
        needed="studies",
    ),
    "stoic2021": Miniature(
        stoic,
        {"COVID-19": 8, "RT-PCR negative": 4},
        8,
        {"6", "17", "10011"},
        options=ALL,
        needed="metadata",
    ),
    "midrc-ricord-1": Miniature(
        ricord,
        {"RICORD-1A": 4, "RICORD-1B": 4},
        4,
        {"MIDRC-RICORD-1A-419639-000082", "MIDRC-RICORD-1B-419639-000101"},
        options=ALL,
        needed="*",
    ),
    "cov19-ct-db": Miniature(
        cov19,
        {"covid": 8, "non-covid": 8},
        8,
        {
            f"{a}/{b}/ct_scan_{c}"
            for a in ("train", "val")
            for b in ("covid", "non-covid")
            for c in (0, 1)
        },
        {"train": 8, "val": 8},
        needed="[tv][ra]*",
    ),
    "covid-chestxray": Miniature(
        chestxray, {"COVID-19": 2, "No Finding": 1}, 2, {"17", "19"}, needed="metadata.csv"
    ),
    "covid-19-ct-seg": Miniature(
        seg,
        {"COVID-19": 20},
        20,
        {"coronacases_001", "coronacases_010", "radiopaedia_10", "radiopaedia_4"},
        options=ALL,
        needed="Infection_Mask",
    ),
    "medseg-covid-19": Miniature(
        medseg,
        {"COVID-19": 16},
        16,
        {"tr_im.nii.gz", "val_im.nii.gz", "rp_im/1.nii.gz", "rp_im/2.nii.gz"},
        options=ALL,
        needed="*m*sk*",
    ),
}
NAMES = sorted(MINIATURES)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Path]:
    """Write the miniature of a set."""

    def write(name: str) -> Path:
        root = tmp_path / name
        root.mkdir()
        MINIATURES[name].write(root)
        return root

    return write


def load(name: str, root: Path, **options: Any) -> covidct.CTDataset:
    return covidct.load_dataset(name, root, **(dict(MINIATURES[name].options) | options))


def counts(values: Any) -> dict[str, int]:
    names, numbers = np.unique(values, return_counts=True)
    return dict(zip(names.tolist(), numbers.tolist(), strict=True))


# All sets


def test_every_public_set_has_a_miniature() -> None:
    assert {info.name for info in PUBLIC_SETS} == set(MINIATURES)
    assert set(MINIATURES) <= set(covidct.list_datasets())


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_complete(name: str) -> None:
    info = covidct.dataset_info(name)
    needed = (info.values, info.license, info.home, info.citation, info.known_faults, info.layout)
    assert all((*needed, info.how_to_get, info.tested_on, info.positive))
    assert set(info.contains) <= set(covidct.list_datasets())
    assert name not in info.contains
    assert info.name in str(info)


@pytest.mark.parametrize("name", NAMES)
def test_reads_labels_patients_and_split(name: str, make: Callable[[str], Path]) -> None:
    expected = MINIATURES[name]
    dataset = load(name, make(name))
    assert counts(dataset.labels) == expected.labels
    assert dataset.targets.sum() == expected.positive
    assert (None if dataset.groups is None else set(dataset.groups)) == expected.groups
    split = dataset.official_split
    assert (None if split is None else counts(split)) == expected.splits
    assert dataset.name == name
    assert dataset[0][0].mode == dataset[len(dataset) - 1][0].mode == "L"
    assert len(dataset.content_hash()) == 64


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_may_be_nested(name: str, make: Callable[[str], Path]) -> None:
    root = make(name)
    expected = load(name, root)
    outer = root.parent / "outer"
    shutil.move(root, outer / name / name)
    nested = load(name, outer)
    assert nested.targets.tolist() == expected.targets.tolist()
    assert nested.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_layout_names_what_is_expected(name: str, make: Callable[[str], Path]) -> None:
    info = covidct.dataset_info(name)
    root = make(name)
    for path in root.glob(MINIATURES[name].needed):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for folder in (root, root / "missing"):
        with pytest.raises(FileNotFoundError) as caught:
            load(name, folder)
        assert str(folder) in str(caught.value)
        assert info.layout in str(caught.value)
        assert info.how_to_get in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(covidct.errors.UnknownNameError, match=f"{name} option"):
        covidct.load_dataset(name, tmp_path, colour=1)


@pytest.mark.parametrize("name", ["mosmed-1110", "covid-19-ct-seg", "medseg-covid-19"])
def test_masks(name: str, make: Callable[[str], Path]) -> None:
    dataset = load(name, make(name))
    masked = [i for i in range(len(dataset)) if dataset.masks(i)]
    assert len(masked) == {"mosmed-1110": 4, "covid-19-ct-seg": 20, "medseg-covid-19": 12}[name]
    for i in masked:
        masks = dataset.masks(i)
        assert masks is not None
        row = int(dataset.frames[i])
        expected = np.zeros(SHAPE[1:], bool)
        expected[row] = True
        np.testing.assert_array_equal(masks["lesion"], expected)
        if "lung" in masks:
            assert masks["lung"].all()


@pytest.mark.parametrize("name", ["mosmed-1110", "covid-19-ct-seg", "medseg-covid-19"])
def test_labelled_slices_of_masks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = np.array([0, 1, 1, 0], np.uint8)[:, None, None] * mask_array()
    monkeypatch.setattr(sys.modules[__name__], "mask_array", lambda: half)
    MINIATURES[name].write(tmp_path)
    dataset = load(name, tmp_path, slices="labelled")
    negatives = {"mosmed-1110": 4, "covid-19-ct-seg": 0, "medseg-covid-19": 0}[name]
    positives = {"mosmed-1110": 2, "covid-19-ct-seg": 10, "medseg-covid-19": 6}[name]
    assert counts(dataset.targets).get(0, 0) == negatives
    assert counts(dataset.targets)[1] == positives
    for i in np.flatnonzero(dataset.targets):
        masks = dataset.masks(i)
        assert masks is not None
        assert masks["lesion"].any()


# COVIDx CT


def test_covidx_ct_keeps_boxes_and_metadata(
    make: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = make("covidx-ct")
    with caplog.at_level(logging.INFO, logger="covidct"):
        table = covidct.load_dataset("covidx-ct", root).table
    assert table.loc[0, ["xmin", "ymin", "xmax", "ymax"]].tolist() == [0, 1, 7, 6]
    assert table.loc[0, ["age", "country", "source"]].tolist() == ["71", "China", "CNCB"]
    assert table["source"].tolist()[-2:] == ["COVID-CT-MD", "STOIC"]
    assert "3 slices by metadata.csv, 9 by the file name" in caplog.text


def test_covidx_ct_without_metadata(make: Callable[[str], Path]) -> None:
    root = make("covidx-ct")
    (root / "metadata.csv").unlink()
    dataset = covidct.load_dataset("covidx-ct", root)
    assert set(dataset.groups) == COVIDX_PATIENTS
    assert "unknown" not in set(dataset.sources)


@pytest.mark.parametrize("version", ["1", "2A", "3A"])
def test_covidx_ct_versions(version: str, make: Callable[[str], Path]) -> None:
    root = make("covidx-ct")
    for split in COVIDX:
        source = root / f"{split}_COVIDx_CT-3A.txt"
        source.rename(root / f"{split}_COVIDx_CT-{version}.txt")
    assert len(covidct.load_dataset("covidx-ct", root, version=version)) == 12
    if version != "3A":
        with pytest.raises(FileNotFoundError, match="no list 'train_COVIDx_CT-3A"):
            covidct.load_dataset("covidx-ct", root)


def test_covidx_ct_b_shares_val_and_test_with_a(make: Callable[[str], Path]) -> None:
    root = make("covidx-ct")
    text(root / "splits" / "v3" / "train_COVIDx_CT-3B.txt", "study_0306-0017.png 2 0 0 8 6")
    picture(root / "3B_images" / "study_0306-0017.png")
    dataset = covidct.load_dataset("covidx-ct", root, version="3B")
    assert counts(dataset.official_split) == {"train": 1, "val": 3, "test": 3}
    assert dataset.groups[0] == "study_0306"
    assert dataset.sources[0] == "MosMedData"


def test_files_that_two_rows_name_are_one_slice(make: Callable[[str], Path]) -> None:
    root = make("large-covid-19-ct-slices")
    path = root / "meta_data_covid.csv"
    with path.open("a", encoding="cp1252") as file:
        file.write("1,P033_112.png,P033,F,50,COVID-19,Klinik\n")
    dataset = covidct.load_dataset("large-covid-19-ct-slices", root)
    assert len(dataset) == len(set(dataset.names)) == 5


def test_covidx_ct_of_missing_images(make: Callable[[str], Path]) -> None:
    root = make("covidx-ct")
    (root / "3A_images" / "NCP_96_1328_0032.png").unlink()
    with pytest.raises(InvalidFileError, match=r"1 listed files are not in .*NCP_96_1328_0032"):
        covidct.load_dataset("covidx-ct", root)
    assert len(covidct.load_dataset("covidx-ct", root, on_error="skip")) == 11


@pytest.mark.parametrize("line", ["a.png 3 0 0 8 6", "a.png 2 0 0 8", "a.png 2 0 0 x 6", ""])
def test_covidx_ct_refuses_malformed_lists(line: str, make: Callable[[str], Path]) -> None:
    root = make("covidx-ct")
    text(root / "train_COVIDx_CT-3A.txt", line)
    with pytest.raises(InvalidFileError, match=r"train_COVIDx_CT-3A.txt.*each line is NAME.png"):
        covidct.load_dataset("covidx-ct", root)


def test_covidx_ct_refuses_other_versions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"version must be one of '1', '2A'.*got '4'"):
        covidct.load_dataset("covidx-ct", tmp_path, version="4")


# COVID-CTset


def test_covid_ctset_folds(make: Callable[[str], Path]) -> None:
    root = make("covid-ctset")
    dataset = covidct.load_dataset("covid-ctset", root, fold=2)
    assert dict(zip(dataset.groups, dataset.official_split, strict=True)) == {
        "patient1": "train",
        "patient377": "train",
        "patient9": "test",
    }
    with pytest.raises(ValueError, match="fold must be 1 to 5 or None, got 6"):
        covidct.load_dataset("covid-ctset", root, fold=6)
    with pytest.raises(FileNotFoundError, match=r"train3\.csv"):
        covidct.load_dataset("covid-ctset", root, fold=3)


def test_covid_ctset_of_raw_series(tmp_path: Path) -> None:
    for patient in (1, 2):
        for series in ("SR_2", "SR_4"):
            picture(tmp_path / f"patient{patient}" / series / "IM00001.tif", deep=True)
    text(
        tmp_path / "Patient_details.csv",
        "Patient ID,SEX,AGE,Date,COVID-19 Infection",
        "patient1,F,053Y,20200407,Positive",
        "patient2,M,031Y,20200407,Negative",
    )
    dataset = covidct.load_dataset("covid-ctset", tmp_path)
    assert dataset.targets.tolist() == [1, 1, 0, 0]
    assert dataset.groups.tolist() == ["patient1", "patient1", "patient2", "patient2"]
    assert dataset.table["reconstruction"].tolist() == ["SR_2", "SR_4", "SR_2", "SR_4"]


# COVID-CT-MD


def lesions(dataset: covidct.CTDataset) -> dict[str, float]:
    table = dataset.table
    return {
        f"{group} {path.stem}": value
        for group, path, value in zip(table["group"], table["path"], table["lesion"], strict=True)
    }


def test_covid_ct_md_labels_count_from_the_head(make: Callable[[str], Path]) -> None:
    found = lesions(load("covid-ct-md", make("covid-ct-md")))
    # From the head: b_1 (-10), b_2 (-20), b_10 (-30), b_3 (-40).
    assert {key for key, value in found.items() if value == 1} == {
        *("P001 b_1", "P002 b_2", "P002 b_10", "cap001 b_3")
    }
    unlabeled = {key.partition(" ")[0] for key, value in found.items() if np.isnan(value)}
    assert unlabeled == {"P003", "normal001"}


def test_covid_ct_md_follows_slice_location(make: Callable[[str], Path]) -> None:
    root = make("covid-ct-md")
    for name, location in (("b_1", -10), ("b_10", -30), ("b_2", -20), ("b_3", -40)):
        path = root / "COVID-19 Cases" / "P001" / f"{name}.dcm"
        dicom(path, location, SeriesInstanceUID=uid_of("P001"), SliceLocation=-location)
    found = lesions(load("covid-ct-md", root))
    assert {key for key, value in found.items() if value == 1 and "P001" in key} == {"P001 b_3"}


def test_covid_ct_md_labelled_slices(
    make: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="covidct"):
        dataset = load("covid-ct-md", make("covid-ct-md"), slices="labelled")
    assert counts(dataset.labels) == {"COVID-19": 3, "CAP": 4, "Normal": 4}
    assert dataset.targets.sum() == 3
    assert "5 slices without a lesion of labeled COVID-19 patients" in caplog.text
    assert "4 slices of 1 COVID-19 patients without slice labels" in caplog.text


def test_covid_ct_md_of_a_table_and_the_other_spelling(make: Callable[[str], Path]) -> None:
    root = make("covid-ct-md")
    for name in ("COVID-19", "Cap", "Normal"):
        (root / f"{name} Cases").rename(root / f"{name} subjects")
    (root / "Index.csv").unlink()
    with pytest.raises(FileNotFoundError, match="no slice labels"):
        load("covid-ct-md", root, slices="labelled")
    text(root / "labels.csv", "patient,file,lesion", "P003,b_2.dcm,1", "P003,b_3.dcm,0")
    found = lesions(load("covid-ct-md", root))
    assert {key: value for key, value in found.items() if not np.isnan(value)} == {
        "P003 b_2": 1,
        "P003 b_3": 0,
    }


def test_covid_ct_md_refuses_labels_of_another_size(make: Callable[[str], Path]) -> None:
    root = make("covid-ct-md")
    np.save(root / "Slice-level-labels-updated-1.npy", np.zeros((2, 6)))
    with pytest.raises(InvalidFileError, match=r"shape \(2, 6\).*a row for each of the 3 patients"):
        load("covid-ct-md", root)


# Class folders


def test_ictcf_takes_nict_where_it_is_named(make: Callable[[str], Path]) -> None:
    dataset = covidct.load_dataset("ictcf", make("ictcf"), negative=["nCT", "NiCT"])
    assert counts(dataset.targets) == {0: 6, 1: 3}


def test_slices_are_in_the_order_of_their_numbers(make: Callable[[str], Path]) -> None:
    dataset = covidct.load_dataset("cov19-ct-db", make("cov19-ct-db"))
    assert dataset.names[:2] == ("train/covid/ct_scan_0/2.jpg", "train/covid/ct_scan_0/10.jpg")


def test_cov19_ct_db_of_several_sources(tmp_path: Path) -> None:
    for folder in ("covid1", "covid2", "non-covid1", "validation/val/covid"):
        scan = "ct_scan_7" if folder == "covid2" else "ct_scan_0"
        picture(tmp_path / folder / scan / "0.jpg")
    for name, rows in (
        ("train_covid", ("ct_scan_0,0", "ct_scan_7,3")),
        ("train_non_covid", ("ct_scan_0,1",)),
        ("validation_covid", ("ct_scan_0,2",)),
        ("validation_non_covid", ()),
    ):
        text(tmp_path / f"{name}.csv", "ct_scan_name,data_centre", *rows)
    dataset = covidct.load_dataset("cov19-ct-db", tmp_path)
    assert len(set(dataset.groups)) == 4
    assert dict(zip(dataset.groups, dataset.sources, strict=True)) == {
        "covid1/ct_scan_0": "center 0",
        "covid2/ct_scan_7": "center 3",
        "non-covid1/ct_scan_0": "center 1",
        "validation/val/covid/ct_scan_0": "center 2",
    }
    assert counts(dataset.official_split) == {"train": 3, "val": 1}


def test_a_folder_per_patient_is_needed(make: Callable[[str], Path]) -> None:
    root = make("sars-cov-2-ct-multiclass")
    picture(root / "New_Data_CoV2" / "Covid" / "1.png")
    with pytest.raises(FileNotFoundError, match="no folder per patient below the class folders"):
        covidct.load_dataset("sars-cov-2-ct-multiclass", root)


# CC-CCII


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"faulty": "clean"}, ["NCP 3 1", "CP 3 2 1 0", "Normal 0 1 2 3"]),
        ({"faulty": "drop"}, ["Normal 0 1 2 3"]),
        ({"masked": "drop"}, ["NCP 0 1 2 3", "CP 0 1 2 3"]),
        ({"faulty": "clean", "masked": "drop"}, ["NCP 3 1", "CP 3 2 1 0"]),
    ],
)
def test_cc_ccii_faults(
    options: dict[str, Any], names: list[str], make: Callable[[str], Path]
) -> None:
    dataset = covidct.load_dataset("cc-ccii", make("cc-ccii"), **options)
    found: dict[str, list[str]] = {}
    for label, path in zip(dataset.labels, dataset.paths, strict=True):
        found.setdefault(label, []).append(str(int(path.stem)))
    assert sorted(f"{label} {' '.join(n)}" for label, n in found.items()) == sorted(names)


def test_cc_ccii_split_and_scans(make: Callable[[str], Path]) -> None:
    dataset = covidct.load_dataset("cc-ccii", make("cc-ccii"), split="hkbu")
    assert counts(dataset.official_split) == {"test": 2, "train": 2}
    assert set(dataset.table["scan"]) == {"1164", "2952"}


def test_cc_ccii_without_the_list_of_faults(make: Callable[[str], Path]) -> None:
    root = make("cc-ccii")
    (root / "NCP").rename(root / "COVID19")
    (root / "CT_cleaned_v2.csv").unlink()
    assert covidct.load_dataset("cc-ccii", root).targets.sum() == 4
    with pytest.raises(FileNotFoundError, match=r"no file 'CT_cleaned_v2\.csv'"):
        covidct.load_dataset("cc-ccii", root, faulty="clean")
    with pytest.raises(ValueError, match=r"faulty must be one of .*'mend'"):
        covidct.load_dataset("cc-ccii", root, faulty="mend")


# Label files and volumes


def test_mosmed_by_its_registry(make: Callable[[str], Path]) -> None:
    root = make("mosmed-1110")
    for path in list((root / "studies").rglob("*.nii.gz")):
        path.rename(root / path.name)
    text(
        root / "dataset_registry.csv",
        "study_id,category,study_file,mask_file",
        "1,CT-0,/studies/CT-0/study_0001.nii.gz,",
        "255,CT-1,/studies/CT-1/study_0255.nii.gz,/masks/study_0255_mask.nii.gz",
        "1110,CT-4,/studies/CT-4/study_1110.nii.gz,",
        encoding="utf-8-sig",
    )
    dataset = load("mosmed-1110", root)
    assert counts(dataset.labels) == {"CT-0": 4, "CT-1": 4, "CT-4": 4}


@pytest.mark.parametrize(("file", "named"), [("/studies/CT-0/one.nii.gz", "one"), ("", "nan")])
def test_a_registry_of_mosmed_names_studies(
    make: Callable[[str], Path], file: str, named: str
) -> None:
    root = make("mosmed-1110")
    for path in list((root / "studies").rglob("*.nii.gz")):
        path.rename(root / path.name)
    text(root / "dataset_registry.csv", "study_id,category,study_file", f"1,CT-0,{file}")
    with pytest.raises(InvalidFileError, match=rf"names no study: '{named}.*study_0255\.nii\.gz"):
        load("mosmed-1110", root)


def test_a_part_of_stoic_loads_with_skip(make: Callable[[str], Path]) -> None:
    root = make("stoic2021")
    (root / "data" / "mha" / "17.mha").unlink()
    with pytest.raises(
        InvalidFileError, match=r"1 of 3 listed volumes are not in .*'17\.mha'.*on_error='skip'"
    ):
        load("stoic2021", root)
    dataset = load("stoic2021", root, on_error="skip")
    assert dataset.table.groupby("group")["severe"].first().to_dict() == {"6": 0, "10011": 1}


def test_ricord_takes_the_longest_series_or_all(make: Callable[[str], Path]) -> None:
    root = make("midrc-ricord-1")
    assert set(load("midrc-ricord-1", root).table["volume"].str.count("lung")) == {1}
    assert len(load("midrc-ricord-1", root, series="all")) == 12


def test_chestxray_takes_volumes_that_are_there(make: Callable[[str], Path]) -> None:
    root = make("covid-chestxray")
    volume(root / "volumes" / "coronacases_org_001.nii.gz")
    dataset = load("covid-chestxray", root, slices="all")
    assert len(dataset) == 7
    assert dataset.table["license"].tolist()[0] == "CC BY-NC-SA"


def test_seg_reads_the_names_of_the_copy_at_kaggle(make: Callable[[str], Path]) -> None:
    root = make("covid-19-ct-seg")
    volumes_of_copy = root / "COVID-19-CT-Seg_20cases"
    for name, other in (
        ("coronacases_001", "coronacases_org_001"),
        ("radiopaedia_4_85506_1", "radiopaedia_org_covid-19-pneumonia-4_85506_1-dcm"),
    ):
        (volumes_of_copy / f"{name}.nii.gz").rename(volumes_of_copy / f"{other}.nii.gz")
    dataset = load("covid-19-ct-seg", root)
    assert set(dataset.groups) == MINIATURES["covid-19-ct-seg"].groups
    assert all(dataset.masks(i) for i in range(len(dataset)))
    windowed = [i for i, source in enumerate(dataset.sources) if source == "radiopaedia"]
    assert dataset[windowed[0]][0].getextrema()[1] > 200

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.datasets import manifest as module
from covidct.errors import InvalidFileError

# Stand-ins for the published files come from the neighboring conftest.py.
NAMES = (
    "CT_COVID/2020.01.24.919183-p27-132%0.png",
    "CT_COVID/bmj.m606.full-p3 (1).png",
    "CT_COVID/kjr-21-e24-p5-29.png",
    "CT_NonCOVID/0.jpg",
    "CT_NonCOVID/71%0.jpg",
    "CT_NonCOVID/71%1.png",
)


@pytest.fixture
def root(covid19_ct: object) -> Path:
    return covid19_ct.root


@pytest.fixture
def images(root: Path) -> Path:
    return root / "Images-processed"


def test_loads_as_published(root: Path) -> None:
    dataset = covidct.load_dataset("covid19-ct", root)
    assert dataset.names == NAMES
    assert dataset.targets.tolist() == [1, 1, 1, 0, 0, 0]
    assert dataset.groups.tolist() == [
        *("Patient 12", "Patient 12", "Patient 7"),
        *("crawled_patient_3", "crawled_patient_3", "medpix_patient_12"),
    ]
    assert dataset.official_split.tolist() == ["train", "train", "test", "train", "train", "val"]
    assert dataset.group_kind == "patient"
    assert dataset.classes == ("non-COVID", "COVID")
    assert dataset[5][1] == 0


def test_root_may_be_the_inner_folder_and_nothing_changes(root: Path, images: Path) -> None:
    outer, inner = (covidct.load_dataset("covid19-ct", place) for place in (root, images))
    assert inner.names == outer.names
    assert inner.content_hash() == outer.content_hash()


def test_default_root_is_in_the_cache(root: Path, cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match="datasets/covid19-ct"):
        covidct.load_dataset("covid19-ct")
    shutil.copytree(root, cache / "datasets" / "covid19-ct")
    assert len(covidct.load_dataset("covid19-ct")) == 6


def test_loader_can_be_called_directly(images: Path) -> None:
    info = covidct.dataset_info("covid19-ct")
    assert module.load(images, info=info).names == NAMES


@pytest.mark.parametrize("folder", ["gone", "."])
def test_wrong_root_says_what_is_expected_and_where_to_get_it(tmp_path: Path, folder: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        covidct.load_dataset("covid19-ct", tmp_path / folder)
    for part in ("CT_COVID/ (349 files)", "CT_NonCOVID/", "github.com/UCSD-AI4H", "download=True"):
        assert part in str(caught.value)


def missing(images: Path) -> str:
    (images / NAMES[4]).unlink()
    return r"1 missing: 'CT_NonCOVID/71%0\.jpg'\."


def linked(images: Path) -> str:
    (images / NAMES[4]).unlink()
    (images / NAMES[4]).symlink_to("nowhere")
    return r"1 missing: 'CT_NonCOVID/71%0\.jpg'\."


def extra(images: Path) -> str:
    shutil.copy(images / NAMES[0], images / "CT_COVID" / "new (2).png")
    return r"1 not published: 'CT_COVID/new \(2\)\.png'\."


def shorter(images: Path) -> str:
    path = images / NAMES[2]
    path.write_bytes(path.read_bytes()[:-30])
    return r"1 altered: 'CT_COVID/kjr-21-e24-p5-29\.png'\."


def flipped(images: Path) -> str:
    path = images / NAMES[2]
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    return r"1 altered: 'CT_COVID/kjr-21-e24-p5-29\.png'\."


def swapped(images: Path) -> str:
    one, two = images / NAMES[0], images / NAMES[5]
    one_content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(one_content)
    return r"2 altered: 'CT_COVID/2020\.01.*', 'CT_NonCOVID/71%1\.png'\."


def moved(images: Path) -> str:
    (images / NAMES[0]).rename(images / "CT_NonCOVID" / Path(NAMES[0]).name)
    return r"1 missing: 'CT_COVID/2020.*; 1 not published: 'CT_NonCOVID/2020"


DAMAGES = (missing, linked, extra, shorter, flipped, swapped, moved)


@pytest.mark.parametrize("damage", DAMAGES)
def test_hashes_find_every_damage(root: Path, images: Path, damage: Callable[[Path], str]) -> None:
    match = damage(images)
    with pytest.raises(InvalidFileError, match=match) as caught:
        covidct.load_dataset("covid19-ct", root)
    assert 'on_error="skip"' in str(caught.value)


@pytest.mark.parametrize("damage", [missing, extra, moved])
def test_names_find_what_is_missing_and_extra(
    root: Path, images: Path, damage: Callable[[Path], str]
) -> None:
    match = damage(images)
    with pytest.raises(InvalidFileError, match=match):
        covidct.load_dataset("covid19-ct", root, verify="names")


@pytest.mark.parametrize("damage", DAMAGES)
def test_skip_leaves_out_exactly_the_faulty(
    root: Path, images: Path, damage: Callable[[Path], str], caplog: pytest.LogCaptureFixture
) -> None:
    damage(images)
    with caplog.at_level(logging.WARNING, logger="covidct"):
        dataset = covidct.load_dataset("covid19-ct", root, on_error="skip")
    bad = dict(dataset.skipped)
    assert bad
    assert all(name in caplog.text for name in bad)
    assert dataset.names == tuple(name for name in NAMES if name not in bad)
    assert set(bad.values()) <= {"missing", "not published", "altered"}


def test_skip_with_nothing_left_is_an_error(root: Path, images: Path) -> None:
    for name in NAMES:
        (images / name).write_bytes(b"other")
    with pytest.raises(InvalidFileError, match=r"6 altered.*verify=\"names\""):
        covidct.load_dataset("covid19-ct", root, on_error="skip")


def test_skip_lists_what_is_missing_and_what_cannot_be_decoded(root: Path, images: Path) -> None:
    missing(images)
    shorter(images)
    dataset = covidct.load_dataset("covid19-ct", root, verify="names", on_error="skip")
    assert [name for name, _ in dataset.skipped] == [NAMES[4], NAMES[2]]
    assert len(dataset) == 4


def test_names_accept_a_re_encoded_copy(root: Path, tmp_path: Path) -> None:
    original = covidct.load_dataset("covid19-ct", root)
    for path, name in zip(original.paths, original.names, strict=True):
        target = (tmp_path / "copy" / name).with_suffix(".webp")
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.save(target, lossless=True)
    with pytest.raises(InvalidFileError, match=r'6 missing.*re-encoded copy with verify="names"'):
        covidct.load_dataset("covid19-ct", tmp_path / "copy")
    for verify in ("names", None):
        copy = covidct.load_dataset("covid19-ct", tmp_path / "copy", verify=verify)
        assert copy.names == tuple(str(Path(name).with_suffix(".webp")) for name in NAMES)
        assert copy.groups.tolist() == original.groups.tolist()
        assert np.array_equal(copy.targets, original.targets)


def test_original_is_preferred_to_a_copy_beside_it(root: Path, images: Path) -> None:
    shutil.copy(images / NAMES[0], (images / NAMES[0]).with_suffix(".bmp"))
    with pytest.raises(InvalidFileError, match=r"1 not published: '.*132%0\.bmp'"):
        covidct.load_dataset("covid19-ct", root, verify="names")


def test_no_verification_loads_what_is_there(
    root: Path, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing(images)
    part = covidct.load_dataset("covid19-ct", root, verify=None)
    assert part.names == tuple(name for name in NAMES if name != NAMES[4])
    assert part.groups is not None
    extra(images)
    with caplog.at_level(logging.WARNING, logger="covidct"):
        whole = covidct.load_dataset("covid19-ct", root, verify=None)
    assert whole.names == (*part.names, "CT_COVID/new (2).png")
    assert whole.targets.tolist() == [1, 1, 1, 0, 0, 1]
    assert whole.groups is None
    assert whole.official_split is None
    assert "the patient of 1 slices is unknown: 'CT_COVID/new (2).png'" in caplog.text


def test_hidden_files_do_not_count_as_extra(root: Path, images: Path) -> None:
    for name in ("CT_COVID/.DS_Store", "CT_COVID/._0.png", "CT_COVID/__MACOSX/a.png"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes(b"x")
    assert len(covidct.load_dataset("covid19-ct", root)) == 6


def test_an_entry_must_name_its_manifest(
    root: Path, register: Callable[..., covidct.DatasetInfo]
) -> None:
    register("covid19-ct", manifest="")
    with pytest.raises(ValueError, match="has no manifest"):
        covidct.load_dataset("covid19-ct", root)


def test_packaged_manifest_agrees_with_the_registry() -> None:
    info = covidct.dataset_info("covid19-ct")
    with (Path(module.__file__).parent / "manifests" / info.manifest).open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [row["class"] for row in rows]
    assert (labels.count("non-COVID"), labels.count("COVID")) == info.counts
    assert len({row["file"] for row in rows}) == len({row["sha256"] for row in rows}) == 746
    assert all(len(row["sha256"]) == 64 and int(row["bytes"]) > 0 for row in rows)
    splits = [row["split"] for row in rows]
    assert [splits.count(name) for name in ("train", "val", "test")] == [425, 118, 203]
    # No patient is in two classes or two parts of the split.
    assert len({row["patient"] for row in rows}) == 213 + 171
    assert len({(row["patient"], row["class"], row["split"]) for row in rows}) == 213 + 171


def test_real_data(real_data: Path) -> None:
    dataset = covidct.load_dataset("covid19-ct", real_data / "covid19-ct")
    assert np.bincount(dataset.targets).tolist() == [397, 349]
    assert len(set(dataset.groups)) == 384
    assert dataset.skipped == ()

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.datasets import manifest as module
from covidct.errors import InvalidFileError


@pytest.fixture
def root(sars_cov_2_ct: object) -> Path:
    return sars_cov_2_ct.root


def test_loads_as_published(root: Path) -> None:
    dataset = covidct.load_dataset("sars-cov-2-ct", root)
    assert dataset.names == (
        *("COVID/Covid (1).png", "COVID/Covid (2).png", "COVID/Covid (10).png"),
        *("non-COVID/Non-Covid (1).png", "non-COVID/Non-Covid (2).png"),
        "non-COVID/Non-Covid (10).png",
    )
    assert dataset.targets.tolist() == [1, 1, 1, 0, 0, 0]
    assert dataset.groups is None
    assert dataset.official_split is None


def test_wrong_root_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "COVID").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected COVID/Covid \(n\)\.png.*kaggle\.com"):
        covidct.load_dataset("sars-cov-2-ct", tmp_path)


def test_re_encoded_copy_is_known_as_one(root: Path) -> None:
    for path in root.rglob("*.png"):
        with Image.open(path) as image:
            image.convert("RGB").save(path)
    with pytest.raises(InvalidFileError, match=r'6 altered.*verify="names"'):
        covidct.load_dataset("sars-cov-2-ct", root)
    assert len(covidct.load_dataset("sars-cov-2-ct", root, verify="names")) == 6


def test_packaged_manifest_agrees_with_the_registry() -> None:
    info = covidct.dataset_info("sars-cov-2-ct")
    with (Path(module.__file__).parent / "manifests" / info.manifest).open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [row["class"] for row in rows]
    assert (labels.count("non-COVID"), labels.count("COVID")) == info.counts
    assert len({row["file"] for row in rows}) == 2481
    assert not any(row["file"].endswith("Non-Covid (151).png") for row in rows)
    twins = {"COVID/Covid (128).png", "COVID/Covid (129).png"}
    assert len({row["sha256"] for row in rows if row["file"] in twins}) == 1


def test_real_data(real_data: Path) -> None:
    dataset = covidct.load_dataset("sars-cov-2-ct", real_data / "sars-cov-2-ct", verify="names")
    assert np.bincount(dataset.targets).tolist() == [1229, 1252]
    assert dataset.read(0).size == (256, 202)

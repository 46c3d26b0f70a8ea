"""Small stand-ins for the published datasets: six images each, with a manifest of their own."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.datasets import registry

# file, class, patient, split: names are as awkward as the real ones.
COVID19_CT = (
    ("CT_COVID/2020.01.24.919183-p27-132%0.png", "COVID", "Patient 12", "train"),
    ("CT_COVID/bmj.m606.full-p3 (1).png", "COVID", "Patient 12", "train"),
    ("CT_COVID/kjr-21-e24-p5-29.png", "COVID", "Patient 7", "test"),
    ("CT_NonCOVID/0.jpg", "non-COVID", "crawled_patient_3", "train"),
    ("CT_NonCOVID/71%0.jpg", "non-COVID", "crawled_patient_3", "train"),
    ("CT_NonCOVID/71%1.png", "non-COVID", "medpix_patient_12", "val"),
)
SARS_COV_2_CT = tuple(
    (f"{folder}/{stem} ({n}).png", label, "", "")
    for folder, stem, label in (
        ("COVID", "Covid", "COVID"),
        ("non-COVID", "Non-Covid", "non-COVID"),
    )
    for n in (1, 2, 10)
)


class Published(NamedTuple):
    """A stand-in: where its files lie, and its entry of the registry."""

    root: Path
    info: covidct.DatasetInfo


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., covidct.DatasetInfo]:
    """Put an entry, with changes, into the registry until the test ends."""

    def replace(name: str, **changes: object) -> covidct.DatasetInfo:
        info = dataclasses.replace(covidct.dataset_info(name), **changes)
        monkeypatch.setitem(registry._REGISTRY, name, info)
        return info

    return replace


@pytest.fixture
def covid19_ct(tmp_path: Path, register: Callable[..., covidct.DatasetInfo]) -> Published:
    root = tmp_path / "published" / "covid19-ct"
    manifest = publish(root / "Images-processed", COVID19_CT)
    return Published(root, register("covid19-ct", manifest=str(manifest)))


@pytest.fixture
def sars_cov_2_ct(tmp_path: Path, register: Callable[..., covidct.DatasetInfo]) -> Published:
    root = tmp_path / "published" / "sars-cov-2-ct"
    manifest = publish(root, SARS_COV_2_CT)
    return Published(root, register("sars-cov-2-ct", manifest=str(manifest)))


@pytest.fixture
def archives(covid19_ct: Published, tmp_path: Path) -> Path:
    """Folder of the two archives, packed as macOS does it: with shadows of every file."""
    folder = tmp_path / "archives"
    folder.mkdir()
    for name in ("CT_COVID", "CT_NonCOVID"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.mkdir(name)
            for path in sorted((covid19_ct.root / "Images-processed" / name).iterdir()):
                archive.write(path, f"{name}/{path.name}")
                archive.writestr(f"__MACOSX/{name}/._{path.name}", b"shadow")
            archive.writestr(f"{name}/.DS_Store", b"junk")
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images, which no repository may hold."""
    folder = os.environ.get("COVIDCT_TEST_DATA")
    if not folder:
        pytest.skip("COVIDCT_TEST_DATA does not name a folder with covid19-ct and sars-cov-2-ct")
    return Path(folder)


def publish(root: Path, rows: tuple[tuple[str, str, str, str], ...]) -> Path:
    """Write small images and the manifest that lists them."""
    rng = np.random.default_rng(0)
    table = root.parent / f"{root.name}.csv"
    root.mkdir(parents=True)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "patient", "split", "bytes", "sha256", "mode"))
        for name, *facts in rows:
            path = root / name
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20, 30), np.uint8)).save(path)
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            writer.writerow((name, *facts, len(content), digest, "L"))
    return table

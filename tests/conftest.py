"""Tiny data for every test: nothing here needs a network or a real image."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import covidct

# Networks as small as those of the tests run no faster on several threads, and far slower where the
# cores are busy. PyTorch reads this when it is first imported, here and in the processes begun.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``cuda`` where there is no such device."""
    if item.get_closest_marker("cuda"):
        import torch  # here, after the variable above is set

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own cache out of the tests."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("COVIDCT_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def phantoms() -> covidct.CTDataset:
    return covidct.load_dataset("phantom", n=24, seed=0)


@pytest.fixture
def slice_folder(tmp_path: Path) -> Path:
    """Two class folders with six small slices each, of sizes that differ."""
    rng = np.random.default_rng(0)
    root = tmp_path / "slices"
    for label in ("COVID", "non-COVID"):
        (root / label).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (40 + i, 60 - i), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"slice {i}%.png")
    return root


@pytest.fixture(scope="session")
def tiny() -> str:
    """Name of a network that trains on small canvases in no time."""
    name = "tiny"
    if name not in covidct.list_models():
        shufflenet = covidct.model_info("shufflenet")
        covidct.register_model(replace(shufflenet, name=name, custom_size=(40, 56)))
    return name


@pytest.fixture
def quick() -> covidct.Recipe:
    """A recipe of two short epochs."""
    return covidct.Recipe.demo().scaled(2)

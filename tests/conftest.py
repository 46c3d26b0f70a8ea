"""Tiny data for every test: nothing here needs a network or a real image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import covidct

# Networks as small as those of the tests run no faster on several threads, and far slower where the
# cores are busy. PyTorch reads this when it is first imported, here and in the processes begun.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same holds for the default number of threads and of folds at a time: joblib counts one core.
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")

_NUMBERS = count()
TINY = covidct.ArchitectureInfo(
    name="tiny",
    title="ShuffleNet",
    builder="torchvision.models.shufflenetv2:ShuffleNetV2",
    options={"stages_repeats": (1, 1, 1), "stages_out_channels": (8, 16, 32, 64, 128)},
    cam_layer="conv5",
    classifier=("fc",),
    custom_size=(40, 56),
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``cuda`` where there is no such device."""
    if item.get_closest_marker("cuda"):
        import torch  # here, after the variable above is set

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's own cache out of the fixtures that tests share."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVIDCT_CACHE", str(folder / "shared"))
        yield folder


@pytest.fixture(autouse=True)
def cache(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own."""
    # mktemp() would list the folders of all tests before this one.
    folder = caches / str(next(_NUMBERS))
    folder.mkdir()
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
    """Name of a network that trains on small canvases in no time: a ShuffleNet of three blocks."""
    if TINY.name not in covidct.list_models():
        covidct.register_model(TINY)
    return TINY.name


@pytest.fixture(scope="session")
def tiny_as_json(tiny: str) -> str:
    """Fields of that network, for processes that register it themselves."""
    return json.dumps(covidct.model_info(tiny).to_dict())


@pytest.fixture(scope="session")
def quick() -> covidct.Recipe:
    """A recipe of two short epochs."""
    return covidct.Recipe.demo().scaled(2)

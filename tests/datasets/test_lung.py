"""The rule that tells slices with lung, on painted chests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from covidct.datasets import lung, volumes
from covidct.datasets.lung import lung_area, lung_run, lung_slices
from covidct.datasets.slices import find_slices
from covidct.errors import InvalidFileError

AIR, LUNG_HU, TISSUE, GAS = -1000.0, -850.0, 40.0, -1000.0


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDCT_CACHE", str(tmp_path / "cache"))
    volumes.CACHE.clear()


def ellipse(size: int, center: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Mask in units of the image's size."""
    y, x = np.mgrid[:size, :size] / size
    return ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 <= 1


def chest(
    part: float,
    *,
    size: int = 256,
    trachea: bool = True,
    bowel: float = 0,
    noise: float = 30,
    lung: float = LUNG_HU,
    seed: int = 0,
) -> np.ndarray:
    """A slice of 400 mm: body, two lungs of a part of their size, windpipe, bowel and table."""
    rng = np.random.default_rng(seed)
    hu = np.full((size, size), AIR)
    hu[int(0.86 * size) : int(0.93 * size)] = -880  # foam of the table
    hu[int(0.86 * size)] = hu[int(0.93 * size)] = -100
    hu[ellipse(size, (0.5, 0.5), (0.33, 0.45))] = TISSUE
    if part:
        for x in (0.3, 0.7):
            hu[ellipse(size, (0.5, x), (0.22 * part, 0.14 * part))] = lung
    if trachea:
        hu[ellipse(size, (0.4, 0.5), (0.022, 0.022))] = GAS
    if bowel:
        hu[ellipse(size, (0.33, 0.5), (0.06 * bowel, 0.12 * bowel))] = GAS
    return hu + rng.normal(0, noise, hu.shape)


SPACING = (400 / 256, 400 / 256)


@pytest.mark.parametrize("part", [1.0, 0.6, 0.3, 0.16])
@pytest.mark.parametrize("size", [128, 256, 512])
def test_lungs_of_any_size_are_measured(part: float, size: int) -> None:
    area = lung_area(chest(part, size=size), (400 / size, 400 / size))
    expected = 2 * np.pi * 0.22 * 0.14 * (40 * part) ** 2
    assert area == pytest.approx(expected, rel=0.35, abs=1)


@pytest.mark.parametrize("bowel", [0, 0.3, 0.6, 1.0])
def test_windpipe_bowel_and_table_are_not_lung(bowel: float) -> None:
    assert lung_area(chest(0, bowel=bowel), SPACING) == 0


@pytest.mark.parametrize("hu", [-940.0, -700.0, -560.0])
def test_emphysema_and_ground_glass_are_lung(hu: float) -> None:
    assert lung_area(chest(1.0, lung=hu), SPACING) > 100


def test_air_and_noise_alone_are_not_lung() -> None:
    assert lung_area(np.full((64, 64), AIR), SPACING) == 0
    assert lung_area(np.full((64, 64), TISSUE), SPACING) == 0
    assert lung_area(np.full((2, 2), AIR), SPACING) == 0
    assert lung_area(chest(1.0), (np.nan, np.nan)) > 0


def test_the_longest_run_is_kept() -> None:
    step = np.arange(9) * 5.0
    areas = np.array([9, 0, 0, 0, 20, 0, 60, 2, 0], float)
    assert np.flatnonzero(lung_run(areas, step)).tolist() == [4, 5, 6]
    assert np.flatnonzero(lung_run(areas, np.full(9, np.nan))).tolist() == [4, 5, 6]
    assert np.flatnonzero(lung_run(areas, step * 0.5)).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert np.flatnonzero(lung_run(areas, step * 10)).tolist() == [6]
    assert not lung_run(np.zeros(3), np.arange(3.0)).any()
    assert lung_run(np.array([5.0]), np.array([np.nan])).tolist() == [True]


# The lungs of a whole volume: parts of the full size, from the feet upwards.
PARTS = [0, 0, 0, 0.18, 0.3, 0.6, 0.9, 1.0, 1.0, 0.9, 0.7, 0.4, 0.2, 0, 0]


def write_volume(path: Path) -> Path:
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    slices = [chest(part, bowel=i < 3, seed=i) for i, part in enumerate(PARTS)]
    image = sitk.GetImageFromArray(np.rint(np.stack(slices)).astype(np.int16))
    image.SetSpacing((*SPACING, 20.0 / 3))
    sitk.WriteImage(image, str(path))
    return path


def test_lung_slices_of_a_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (volume,) = find_slices(write_volume(tmp_path / "a.mha")).volumes
    found = lung_slices(volume)
    np.testing.assert_array_equal(found, np.array(PARTS) > 0)
    monkeypatch.setattr(lung, "read_hu", lambda *_: pytest.fail("was computed twice"))
    np.testing.assert_array_equal(lung_slices(volume), found)


def test_windowed_volumes_keep_all_slices(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    gray = np.random.default_rng(0).integers(0, 256, (4, 20, 20), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(gray), str(tmp_path / "a.mha"))
    (volume,) = find_slices(tmp_path / "a.mha").volumes
    assert lung_slices(volume).all()


def test_a_slice_that_cannot_be_read_shows_no_lung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volume,) = find_slices(write_volume(tmp_path / "a.mha")).volumes
    read = lung.read_hu

    def broken(path: Path, frame: int) -> np.ndarray:
        if frame in (4, 12):
            raise InvalidFileError("broken")
        return read(path, frame)

    monkeypatch.setattr(lung, "read_hu", broken)
    with pytest.raises(InvalidFileError, match="broken"):
        lung_slices(volume)
    found = lung_slices(volume, on_error="skip")
    assert np.flatnonzero(found).tolist() == [3, 4, 5, 6, 7, 8, 9, 10, 11]

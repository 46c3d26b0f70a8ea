"""The rule that tells slices with lung, on painted chests."""

from __future__ import annotations

import warnings
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


def body(rows: int = 60, columns: int = 70, *, edge: float = TISSUE) -> np.ndarray:
    """A body in blocks of 2.5 mm, after a smaller dense part that comes first in the array."""
    hu = np.full((rows, columns), AIR, np.float32)
    hu[1, 1:40] = TISSUE
    hu[4:, 2:-2] = edge
    hu[5:-1, 3:-3] = TISSUE
    return hu


def piece(hu: np.ndarray, blocks: int, *, gas: int = 0, value: float = LUNG_HU) -> np.ndarray:
    """Put one piece of air of so many blocks into the body, of which some are gas."""
    rows, columns = np.divmod(np.arange(blocks), 30)
    filled = hu.copy()
    filled[10 + rows, 10 + columns] = value
    filled[10 + rows[:gas], 10 + columns[:gas]] = GAS
    return filled


# Blocks of 2.5 mm are 1/16 of a square centimeter.
@pytest.mark.parametrize(
    ("hu", "blocks"),
    [
        # 2 square centimeters are needed.
        (piece(body(), 32), 32),
        (piece(body(), 31), 0),
        # Gas may take a fifth of a piece, and four fifths of one above 60 square centimeters.
        (piece(body(), 40, gas=8), 40),
        (piece(body(), 40, gas=9), 0),
        (piece(body(), 960, gas=193), 0),
        (piece(body(), 961, gas=193), 961),
        (piece(body(), 1000, gas=800), 1000),
        (piece(body(), 1000, gas=801), 0),
        (piece(body(), 40, value=-930), 40),
        (piece(body(), 40, value=-931), 0),
        # Air is below -500 HU, and the body above -300 HU.
        (piece(body(), 40, value=-501), 40),
        (piece(body(), 40, value=-500), 0),
        (piece(body(edge=-299), 40), 40),
        (np.where(body() == TISSUE, -300, body()), 0),
    ],
)
def test_limits_of_the_rule(hu: np.ndarray, blocks: int) -> None:
    assert lung_area(hu, (2.5, 2.5)) == pytest.approx(blocks / 16)


def test_the_body_has_to_enclose_the_air() -> None:
    hu = piece(body(), 100)
    assert lung_area(hu, (2.5, 2.5)) == pytest.approx(100 / 16)
    thin = np.where(hu == AIR, -900, hu)  # air around the body that is not free gas
    assert lung_area(thin, (2.5, 2.5)) == pytest.approx(100 / 16)
    hu[:11, 10] = AIR  # a way out
    assert lung_area(hu, (2.5, 2.5)) == 0
    hu[:11, 10] = -300  # not dense either
    assert lung_area(hu, (2.5, 2.5)) == 0


@pytest.mark.parametrize("factor", [(2, 3), (3, 1)])
def test_blocks_are_averaged(factor: tuple[int, int]) -> None:
    """Each block has the mean of its pixels, which lie on both sides of the limit for air."""
    down, across = factor
    blocks = piece(body(), 100, value=-501)
    pixels = np.kron(blocks, np.ones(factor, np.float32))
    pixels[::down, ::across] += 450 * (down * across - 1)
    pixels = pixels - np.kron(
        np.full_like(blocks, 450 * (down * across - 1) / down / across), np.ones(factor)
    )
    ragged = np.pad(pixels, ((0, down - 1), (0, across - 1)), constant_values=3000)
    spacing = (2.5 / down, 2.5 / across)
    assert lung_area(ragged.astype(np.float32), spacing) == pytest.approx(100 / 16)


def test_spacing() -> None:
    hu = piece(body(), 60)
    assert lung_area(hu, (3.0, 2.5)) == pytest.approx(60 * 0.3 * 0.25)
    fine = np.kron(hu, np.ones((4, 4), np.float32))
    # 0.7 mm where the spacing is unknown: blocks of 4 x 4 pixels, as with 0.63 mm.
    assert lung_area(fine, (0.63, np.nan)) == pytest.approx(60 * 0.252 * 0.28)
    assert lung_area(fine, (np.nan, 0.63)) == pytest.approx(60 * 0.252 * 0.28)
    assert lung_area(fine, (0.0, 0.0)) == pytest.approx(60 * 0.28 * 0.28)
    # The coarsest picture: one block of air, of 2 x 2 cm, in a body.
    ring = np.full((3, 3), TISSUE, np.float32)
    ring[1, 1] = LUNG_HU
    assert lung_area(ring, (20.0, 20.0)) == pytest.approx(4)
    for shape in ((2, 9), (9, 2), (1, 9), (9, 1)):  # smaller than the coarsest, or than a block
        assert lung_area(np.full(shape, TISSUE, np.float32), (1.0, 1.0)) == 0


def test_limits_of_the_run() -> None:
    unknown = np.full(8, np.nan)
    assert lung_run(np.array([2.5, 2.4]), np.array([0.0, 5.0])).tolist() == [True, False]
    # A gap of 15 mm is bridged, a larger one is not; slices of unknown position are 5 mm apart.
    areas = np.array([9.0, 0, 0, 8, 0, 0, 0, 7])
    for positions in (unknown, 5.0 * np.arange(8)):
        assert np.flatnonzero(lung_run(areas, positions)).tolist() == [0, 1, 2, 3]
    # Neighbors belong together however far they are apart.
    for step in (20.0, 50.0):
        far = step * np.arange(4)
        assert lung_run(np.array([30.0, 40, 0, 60]), far).tolist() == [True, True, False, False]
        assert lung_run(np.array([30.0, 40]), far[:2]).tolist() == [True, True]
    for shown in (lung_run(areas, unknown), lung_run(np.zeros(3), np.zeros(3))):
        assert shown.dtype == np.bool_


def test_the_longest_run_is_kept() -> None:
    step = np.arange(9) * 5.0
    areas = np.array([9, 0, 0, 0, 20, 0, 60, 2, 0], float)
    assert np.flatnonzero(lung_run(areas, step)).tolist() == [4, 5, 6]
    assert np.flatnonzero(lung_run(areas, np.full(9, np.nan))).tolist() == [4, 5, 6]
    assert np.flatnonzero(lung_run(areas, step * 0.5)).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert np.flatnonzero(lung_run(areas, step * 10)).tolist() == [6]
    assert not lung_run(np.zeros(3), np.arange(3.0)).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a single slice has no distance to the next one
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
    monkeypatch.setattr(lung, "find_hu", lambda *_: pytest.fail("was computed twice"))
    np.testing.assert_array_equal(lung_slices(volume), found)


def test_windowed_volumes_keep_all_slices(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    gray = np.random.default_rng(0).integers(0, 256, (4, 20, 20), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(gray), str(tmp_path / "a.mha"))
    (volume,) = find_slices(tmp_path / "a.mha").volumes
    found = lung_slices(volume)
    assert found.all()
    assert found.dtype == np.bool_


@pytest.mark.parametrize(
    ("unknown", "shown"), [(2, [False, False, True, True]), (3, [True, True, True, True])]
)
def test_volumes_with_mostly_unknown_units_keep_all_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: int, shown: list[bool]
) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    hu = chest(1.0, size=64)
    image = sitk.GetImageFromArray(np.rint([hu] * 4).astype(np.int16))
    image.SetSpacing((400 / 64, 400 / 64, 5.0))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    (volume,) = find_slices(tmp_path / "a.mha").volumes
    read = lung.find_hu
    monkeypatch.setattr(lung, "find_hu", lambda p, k: None if k < unknown else read(p, k))
    found = lung_slices(volume)
    assert (found.tolist(), found.dtype) == (shown, np.bool_)


def test_a_slice_that_cannot_be_read_shows_no_lung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volume,) = find_slices(write_volume(tmp_path / "a.mha")).volumes
    read = lung.find_hu

    def broken(path: Path, frame: int) -> np.ndarray:
        if frame in (4, 12):
            raise InvalidFileError("broken")
        return read(path, frame)

    monkeypatch.setattr(lung, "find_hu", broken)
    with pytest.raises(InvalidFileError, match="broken"):
        lung_slices(volume)
    found = lung_slices(volume, on_error="skip")
    assert np.flatnonzero(found).tolist() == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    with pytest.raises(InvalidFileError, match="broken"):  # what was kept is for "skip" alone
        lung_slices(volume)

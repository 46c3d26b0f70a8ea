"""NIfTI, MHA, MHD and NRRD files, sound and hostile."""

from __future__ import annotations

import gzip
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from covidct.datasets import volumes
from covidct.datasets.frames import read_frame, read_hu
from covidct.datasets.gray import LUNG
from covidct.datasets.slices import find_slices
from covidct.errors import InvalidFileError

sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
SHAPE = (5, 6, 8)  # slices, rows, columns
SPACING = (0.8, 0.7, 3.0)  # across, down, through


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDCT_CACHE", str(tmp_path / "cache"))
    volumes.CACHE.clear()


def voxels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1024, 1500, SHAPE, dtype=np.int16)


def image(array: np.ndarray, *, spacing: tuple[float, ...] = SPACING) -> sitk.Image:
    """A volume whose array is stored as radiologists view it, from the feet upwards."""
    made = sitk.GetImageFromArray(array)
    made.SetSpacing(spacing)
    made.SetOrigin((-10.0, -20.0, -300.0))
    return made


def write(made: sitk.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(made, str(path), useCompression=path.name.endswith(".gz"))
    return path


def frames_of(path: Path) -> np.ndarray:
    (volume,) = find_slices(path).volumes
    frames = [
        np.asarray(read_frame(p, f)) for p, f in zip(volume.paths, volume.frames, strict=True)
    ]
    return np.stack(frames)


# Orientation


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("stored", ["LPS", "RAS", "LAI", "PIR", "SAL", "IPR"])
def test_slices_are_radiological_whatever_the_file_stores(
    suffix: str, stored: str, tmp_path: Path
) -> None:
    path = write(sitk.DICOMOrient(image(voxels()), stored), tmp_path / f"a{suffix}")
    (volume,) = find_slices(path).volumes
    np.testing.assert_allclose(volume.positions, -300 + 3.0 * np.arange(5), atol=1e-4)
    assert volume.spacing == pytest.approx((0.7, 0.8))
    assert volume.in_hu
    assert (volume.name, volume.patient) == (f"a{suffix}", None)
    np.testing.assert_array_equal(frames_of(path), LUNG.show(voxels()))
    np.testing.assert_array_equal(read_hu(path, volume.frames[0]), voxels()[0])


def test_a_tilted_volume_is_axial(tmp_path: Path) -> None:
    made = image(voxels())
    tilt = np.deg2rad(15)
    cosine, sine = np.cos(tilt), np.sin(tilt)
    made.SetDirection((1, 0, 0, 0, cosine, -sine, 0, sine, cosine))
    path = write(made, tmp_path / "a.mha")
    np.testing.assert_array_equal(frames_of(path), LUNG.show(voxels()))


@pytest.mark.parametrize(
    ("spacing", "plane"), [((0.7, 5.0, 0.7), "coronal"), ((5.0, 0.7, 0.7), "sagittal")]
)
def test_reformats_are_set_aside(
    spacing: tuple[float, ...], plane: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(image(voxels(), spacing=spacing), tmp_path / "a.nii.gz")
    assert find_slices(path).set_aside == [(path, f"{plane} rather than axial slices")]
    assert "a.nii.gz" in caplog.text


def test_a_two_dimensional_file_is_one_slice(tmp_path: Path) -> None:
    made = sitk.GetImageFromArray(voxels()[0])
    made.SetSpacing((0.8, 0.7))
    for suffix in (".mha", ".nrrd", ".nii"):
        path = write(made, tmp_path / f"a{suffix}")
        assert frames_of(path).shape == (1, 6, 8), suffix


def test_four_dimensions_of_one_volume_are_read(tmp_path: Path) -> None:
    made = sitk.JoinSeries([image(voxels())])
    for suffix in (".nii.gz", ".nrrd"):
        path = write(made, tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(frames_of(path), LUNG.show(voxels()))


# Values


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd"])
def test_types_of_voxels(suffix: str, dtype: type, tmp_path: Path) -> None:
    path = write(image(voxels().astype(dtype)), tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(frames_of(path), LUNG.show(voxels()))


def test_scaled_nifti_and_big_endian(tmp_path: Path) -> None:
    path = write(image(voxels() // 2 * 2), tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 0.5, -100)
    path.write_bytes(content)
    np.testing.assert_array_equal(frames_of(path), LUNG.show((voxels() // 2 * 2) * 0.5 - 100))


@pytest.mark.parametrize("offset", [1024, 32768, 65536])
def test_values_with_an_offset(offset: int, tmp_path: Path) -> None:
    hu = np.random.default_rng(0).choice([-1000, -850, -100, 40, 60, 300], SHAPE)
    path = write(image(((hu + offset) % 65536).astype(np.uint16)), tmp_path / "a.mha")
    (volume,) = find_slices(path).volumes
    assert volume.in_hu
    np.testing.assert_array_equal(frames_of(path), LUNG.show(hu))
    np.testing.assert_array_equal(read_hu(path, 1), hu[1])


def test_standardized_values_are_stretched(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    path = write(image(values), tmp_path / "a.nii.gz")
    (volume,) = find_slices(path).volumes
    assert not volume.in_hu
    expected = (values - values.min()) / np.ptp(values) * 255
    np.testing.assert_allclose(frames_of(path), expected, atol=0.51)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_windowed_volumes_are_taken_as_they_are(
    dtype: type, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    gray = LUNG.show(voxels())
    path = write(image(gray.astype(dtype)), tmp_path / "a.nii.gz")
    (volume,) = find_slices(path).volumes
    assert not volume.in_hu
    assert "taken as they are" in caplog.text
    np.testing.assert_array_equal(frames_of(path), gray)
    with pytest.raises(InvalidFileError, match="not in Hounsfield units"):
        read_hu(path)


def test_values_from_0_to_1_are_stretched(tmp_path: Path) -> None:
    gray = LUNG.show(voxels())
    path = write(image((gray / 255).astype(np.float32)), tmp_path / "a.mha")
    np.testing.assert_array_equal(frames_of(path), gray)


def test_masks_are_set_aside(tmp_path: Path) -> None:
    mask = write(image((voxels() > 0).astype(np.uint8)), tmp_path / "mask.nii.gz")
    write(image(voxels()), tmp_path / "a.nii.gz")
    found = find_slices(tmp_path)
    assert [volume.name for volume in found.volumes] == [f"{tmp_path.name}/a.nii.gz"]
    assert (mask, "mask (few different values)") in found.set_aside


def test_windows(tmp_path: Path) -> None:
    path = write(image(voxels()), tmp_path / "a.mha")
    shown = np.asarray(read_frame(path, 2, window=(40, 400)))
    np.testing.assert_array_equal(shown, type(LUNG)(40, 400).show(voxels()[2]))
    with pytest.raises(ValueError, match="window must be"):
        read_frame(path, 2, window="bone")
    for frame in (-1, 5):
        with pytest.raises(InvalidFileError, match=r"a\.mha.* has 5 frames, so no frame"):
            read_frame(path, frame)


# Hostile files


def change(path: Path, *edits: tuple[str, int, object]) -> None:
    """Pack values into a NIfTI header."""
    content = bytearray(path.read_bytes())
    for layout, place, value in edits:
        struct.pack_into(f"<{layout}", content, place, value)
    path.write_bytes(content)


NIFTI: dict[str, tuple[list[tuple[str, int, object]], str]] = {
    "more slices than there are": ([("h", 46, 500)], "cut off"),
    "billions of voxels": ([("h", 42, 32767), ("h", 44, 32767)], "more than the .* allowed"),
    "no slices": ([("h", 46, 0)], "no voxels"),
    "fewer than no slices": ([("h", 46, -5)], "no voxels"),
    "no dimension": ([("h", 40, 0)], "0 dimensions"),
    "many dimensions": ([("h", 40, 99)], "99 dimensions"),
    "four dimensions": ([("h", 40, 4), ("h", 46, 1), ("h", 48, 5)], "4-dimensional"),
    "negative spacing": ([("f", 80, -0.7)], "must be positive"),
    "no spacing": ([("f", 88, 0.0)], "must be positive"),
    "spacing is not a number": ([("f", 84, float("nan"))], "must be positive"),
    "voxels begin nowhere": ([("f", 108, 1e30)], "intact copy"),
    "voxels begin before": ([("f", 108, -1e9)], "intact copy"),
    "voxels begin at no number": ([("f", 108, float("nan"))], "intact copy"),
    "colors": ([("h", 70, 128), ("h", 72, 24)], "datatype 128"),
    "another length": ([("i", 0, 1000)], "not a NIfTI file"),
    "axes that are not perpendicular": (
        [("h", 252, 0), ("h", 254, 1), ("f", 284, 0.5)],
        "not perpendicular",
    ),
    "axes that are not numbers": (
        [("h", 252, 0), ("h", 254, 1), ("f", 280, float("nan"))],
        "cannot be read|not finite|not perpendicular",
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", NIFTI)
def test_hostile_nifti_headers(case: str, packed: bool, tmp_path: Path) -> None:
    edits, message = NIFTI[case]
    path = write(image(voxels()), tmp_path / "a.nii")
    change(path, *edits)
    if packed:
        content, path = path.read_bytes(), tmp_path / "b.nii.gz"
        path.write_bytes(gzip.compress(content))
    with pytest.raises(InvalidFileError, match=message) as caught:
        find_slices(path)
    assert repr(str(path)) in str(caught.value)
    assert ";" in str(caught.value)
    found = find_slices(path, on_error="skip")
    assert [aside[0] for aside in found.set_aside] == [path]


TEXT: dict[str, tuple[str, bytes, bytes, str]] = {
    "mha more slices": (".mha", b"DimSize = 8 6 5", b"DimSize = 8 6 9", "cut off"),
    "mha no slices": (".mha", b"DimSize = 8 6 5", b"DimSize = 8 6 0", "no voxels"),
    "mha below zero": (".mha", b"DimSize = 8 6 5", b"DimSize = 8 6 -5", "no voxels"),
    "mha billions": (".mha", b"DimSize = 8 6 5", b"DimSize = 9999999 9999 9999", "allowed"),
    "mha words": (".mha", b"DimSize = 8 6 5", b"DimSize = a b c", "without DimSize"),
    "mha negative": (".mha", b"ElementSpacing = 0.8", b"ElementSpacing = -.8", "positive"),
    "mha nan": (".mha", b"ElementSpacing = 0.8", b"ElementSpacing = nan", "positive"),
    "mha no place": (".mha", b"Offset = -10", b"Offset = nan", "not a number"),
    "mha skew": (".mha", b"Matrix = 1 0 0", b"Matrix = 1 1 0", "not perpendicular"),
    "mha colors": (
        ".mha",
        b"DimSize",
        b"ElementNumberOfChannels = 3\nDimSize",
        "3 values per voxel|cut off",
    ),
    "mhd elsewhere": (".mhd", b"DataFile = a.raw", b"DataFile = /etc/passwd", "as one file"),
    "mhd above": (".mhd", b"DataFile = a.raw", b"DataFile = ../a.raw", "as one file"),
    "mhd list": (".mhd", b"DataFile = a.raw", b"DataFile = LIST\na.raw", "as one file"),
    "mhd pattern": (".mhd", b"DataFile = a.raw", b"DataFile = %d.raw 1 5 1", "as one file"),
    "mhd missing": (".mhd", b"DataFile = a.raw", b"DataFile = b.raw", "does not exist"),
    "nrrd more slices": (".nrrd", b"sizes: 8 6 5", b"sizes: 8 6 9", "cut off"),
    "nrrd no slices": (".nrrd", b"sizes: 8 6 5", b"sizes: 8 6 0", "no voxels"),
    "nrrd billions": (".nrrd", b"sizes: 8 6 5", b"sizes: 999999 99999 9", "allowed"),
    "nrrd skew": (".nrrd", b"(0,0,3)", b"(2,0,3)", "not perpendicular"),
    "nrrd nan": (".nrrd", b"(0,0,3)", b"(0,0,nan)", "not a number|positive|cannot be read"),
    "nrrd magic": (".nrrd", b"NRRD", b"ABCD", "not an NRRD file"),
    "nhdr elsewhere": (".nhdr", b"data file: a.raw", b"data file: /etc/passwd", "as one file"),
}


@pytest.mark.parametrize("case", TEXT)
def test_hostile_text_headers(case: str, tmp_path: Path) -> None:
    suffix, old, new, message = TEXT[case]
    path = write(image(voxels()), tmp_path / f"a{suffix}")
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(InvalidFileError, match=message) as caught:
        find_slices(path)
    assert repr(str(path)) in str(caught.value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_every_cut_is_refused(suffix: str, tmp_path: Path) -> None:
    whole = write(image(voxels()), tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    step = 1 + len(whole) // 40
    for length in [*range(0, len(whole), step), len(whole) - 1]:
        path.write_bytes(whole[:length])
        if suffix == ".nii.gz" and length > len(whole) - 9:
            continue  # the check sum and length at the end of a gzip file
        with pytest.raises(InvalidFileError, match=r"cut\."):
            find_slices(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_changed_bytes_are_read_or_refused(suffix: str, tmp_path: Path) -> None:
    whole = write(image(voxels()), tmp_path / f"whole{suffix}").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / f"a{suffix}"
    refusals = []
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 400), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            for volume in find_slices(path).volumes:
                read_frame(path, volume.frames[0])
        except InvalidFileError as error:
            refusals.append(str(error))
    assert all(str(path) in refusal for refusal in refusals)


@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd"])
def test_voxels_that_are_no_numbers(suffix: str, tmp_path: Path) -> None:
    array = voxels().astype(np.float32)
    array[2, 3, 4], array[0, 0, 0] = np.nan, np.inf
    path = write(image(array), tmp_path / f"a{suffix}")
    with pytest.raises(InvalidFileError, match="1 infinite voxels"):
        find_slices(path)
    path = write(image(np.full(SHAPE, np.nan, np.float32)), tmp_path / f"b{suffix}")
    with pytest.raises(InvalidFileError, match="no voxel that is a number"):
        find_slices(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("offset", [0, 1024])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_outside_of_the_field_of_view_is_air(
    value: float, offset: int, suffix: str, tmp_path: Path
) -> None:
    units = chest().astype(np.float32)
    y, x = np.mgrid[: units.shape[1], : units.shape[2]]
    outside = np.hypot(y - y.mean(), x - x.mean()) > y.mean()
    padded = np.where(outside, np.float32(value), units + offset)
    path = write(image(padded), tmp_path / f"a{suffix}")
    (volume,) = find_slices(path).volumes
    assert volume.in_hu
    for frame in volume.frames:
        found = read_hu(path, frame)
        assert (found[outside] <= -1024).all()
        np.testing.assert_array_equal(found[~outside], units[frame][~outside])


def test_windowed_volumes_and_masks_with_a_field_of_view(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).uniform(10, 250, SHAPE).astype(np.float32)
    gray[:, :2] = np.nan
    shown = frames_of(write(image(gray), tmp_path / "a.nii.gz"))
    least = np.nanmin(gray)
    np.testing.assert_array_equal(shown, np.rint(np.nan_to_num(gray, nan=least)))
    mask = (gray > 100).astype(np.float32)
    mask[:, :2] = np.nan
    assert find_slices(write(image(mask), tmp_path / "b.nii.gz")).set_aside


def test_vectors_are_refused(tmp_path: Path) -> None:
    made = sitk.Compose([image(voxels())] * 3)
    for suffix in (".mha", ".nrrd"):
        with pytest.raises(InvalidFileError, match=r"3 values per voxel|dimension"):
            find_slices(write(made, tmp_path / f"a{suffix}"))


def test_a_gzip_bomb_is_not_inflated(tmp_path: Path) -> None:
    """A small header in front of zeros without end: only what it promises is read."""
    plain = write(image(voxels()), tmp_path / "a.nii").read_bytes()
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb") as file:
        file.write(plain)
        for _ in range(200):
            file.write(bytes(2**20))
    np.testing.assert_array_equal(frames_of(path), LUNG.show(voxels()))


def test_voxels_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "MAX_VOXELS", 100)
    for suffix in (".nii.gz", ".mha", ".nrrd"):
        path = write(image(voxels()), tmp_path / f"a{suffix}")
        with pytest.raises(InvalidFileError, match=r"8 x 6 x 5 voxels, more than the 100 allowed"):
            find_slices(path)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"a{suffix}"
        path.write_bytes(bytes(400))
        with pytest.raises(InvalidFileError, match=f"a{suffix}"):
            find_slices(path)
        path.unlink()
        path.mkdir()
        assert find_slices(path).volumes == []


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha"])
def test_without_simpleitk_the_extra_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(image(voxels()), tmp_path / name)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'covidct\[volumes\]'"):
        find_slices(path, on_error="skip")


# The cache


def test_a_file_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write(image(voxels(i)), tmp_path / f"{i}.nii.gz") for i in range(3)]
    decoded = []
    decode = volumes._pixels
    monkeypatch.setattr(volumes, "_pixels", lambda path: decoded.append(path) or decode(path))
    threads = [
        threading.Thread(target=read_frame, args=(path, frame))
        for path in paths
        for frame in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(decoded) == paths
    write(image(voxels(7)), paths[0])  # a changed file is read again
    assert np.array_equal(np.asarray(read_frame(paths[0], 1)), LUNG.show(voxels(7)[1]))


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    files = [tmp_path / str(i) for i in range(4)]
    for file in files:
        file.write_bytes(b"x")
    cache = volumes.BoundedCache(100)
    computed = []

    def get(index: int, size: int = 40) -> int:
        def compute() -> int:
            computed.append(index)
            return index

        value: int = cache.get(files[index], compute, lambda _: size)
        return value

    for index in (0, 1, 0, 1, 2, 1, 0, 2):  # 2 pushes 0 out, then 0 pushes 2 out
        assert get(index) == index
    assert computed == [0, 1, 2, 0, 2]
    get(3, 1000)  # larger than the bound: kept alone
    computed.clear()
    get(3, 1000)
    get(0)
    assert computed == [0]


# Files whose name and content disagree


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer; run 'git lfs pull'"),
        ("<!DOCTYPE html>\n<html>", "HTML page; download the file itself"),
    ],
)
def test_what_stands_in_for_a_volume_is_named(
    tmp_path: Path, suffix: str, content: str, reason: str
) -> None:
    (tmp_path / f"a{suffix}").write_text(content)
    with pytest.raises(InvalidFileError, match=reason):
        find_slices(tmp_path)


def test_a_compressed_file_without_gz_in_its_name(tmp_path: Path) -> None:
    write(image(voxels()), tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    with pytest.raises(InvalidFileError, match=r"give it a name in \.nii\.gz"):
        find_slices(tmp_path)


def chest(seed: int = 0) -> np.ndarray:
    """Lungs in a body in air, with noise."""
    hu = np.full((4, 40, 50), -1000.0)
    hu[:, 8:32, 8:42] = 40
    hu[:, 12:28, 12:38] = -800
    return (hu + np.random.default_rng(seed).normal(0, 10, hu.shape)).round().astype(np.int16)


@pytest.mark.parametrize("padding", [None, -2000])
def test_an_offset_is_found_although_a_few_values_are_negative(
    tmp_path: Path, padding: int | None
) -> None:
    values = chest() + 1000
    assert values.min() < 0
    values += 24
    values[0, 0, 0] = -3  # noise
    if padding is not None:
        values[:, :3] = padding
    path = write(image(values), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_hu(path, 2)[3:], chest()[2, 3:])


def test_hounsfield_units_with_padding_keep_their_offset(tmp_path: Path) -> None:
    values = chest()
    values[:, :3] = -2048
    path = write(image(values), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_hu(path, 2), values[2])


def test_a_mask_of_probabilities_is_known_by_its_name(tmp_path: Path) -> None:
    write(image(chest()), tmp_path / "a.nii.gz")
    shares = np.linspace(0, 1, chest().size, dtype=np.float32).reshape(chest().shape)
    write(image(shares), tmp_path / "a_mask.nii.gz")
    found = find_slices(tmp_path)
    assert [volume.name for volume in found.volumes] == [f"{tmp_path.name}/a.nii.gz"]
    assert [path.name for path, _ in found.set_aside] == ["a_mask.nii.gz"]


@pytest.mark.filterwarnings("error")
def test_values_beyond_single_precision_are_refused_without_a_warning(tmp_path: Path) -> None:
    values = chest().astype(np.float64)
    values[0, 0, 0] = 1e300
    path = write(image(values), tmp_path / "a.nii.gz")
    with pytest.raises(InvalidFileError, match="1 infinite voxels"):
        read_hu(path)

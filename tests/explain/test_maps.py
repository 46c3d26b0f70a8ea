"""Maps as arrays: they lie where the slices lie that they explain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from covidct.datasets.canvases import to_canvas
from covidct.datasets.geometry import read_grid
from covidct.datasets.slices import find_slices
from covidct.errors import UnknownNameError
from covidct.explain import new_slices, save_maps, slices_of_volumes, slices_with_names
from covidct.runs.predictions import Prediction

sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")

SHAPE = (5, 48, 60)  # slices, rows, columns
SPACING = np.array([0.8, 0.7, 3.0])  # across, down, through
ORIGIN = np.array([-10.0, -20.0, -300.0])
MARKED = (3, slice(8, 15), slice(40, 47))  # bright block: anterior, on the patient's left
CENTER = ORIGIN + SPACING * (43, 11, 3)  # of the block, in mm (left, posterior, head)


class Predictor(SimpleNamespace):
    """Predictor of canvases, without networks."""

    window, resize = "lung", "pad"

    def canvas(self, image: Image.Image) -> np.ndarray:
        return to_canvas(image, (64, 96), resize="pad")


@pytest.fixture(autouse=True)
def bright_is_evidence(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The map of a slice is the slice itself, so that its peak is the bright block."""

    def maps(_: object, canvases: np.ndarray, **__: object) -> torch.Tensor:
        return torch.tensor(canvases).float() / 255

    monkeypatch.setattr(new_slices, "mean_maps", maps)


def voxels() -> np.ndarray:
    array = np.full(SHAPE, -1200, np.int16)
    array[MARKED] = 100
    array[0, 0, 0] = 101  # not all black, so that no value is taken for padding
    return array


def predictions(path: Path) -> list[Prediction]:
    found = find_slices(path)
    return [
        Prediction(str(p), 0.5, 0.0, (), SHAPE[1:], f, float(z), volume.name)
        for volume in found.volumes
        for p, f, z in zip(volume.paths, volume.frames, volume.positions, strict=True)
    ]


def center_of(image: Any) -> np.ndarray:
    """Return the place of the block in the patient, by the axes that the file states."""
    array = sitk.GetArrayFromImage(image)
    index = np.argwhere(array > 0.5 * array.max()).mean(axis=0)[::-1]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index.tolist()))


@pytest.mark.parametrize("stored", ["LPS", "RAS", "LAI", "PIR", "SAL", "IPR"])
def test_nifti_maps_overlay_the_volume(stored: str, tmp_path: Path) -> None:
    source = sitk.GetImageFromArray(voxels())
    source.SetSpacing(SPACING.tolist())
    source.SetOrigin(ORIGIN.tolist())
    source = sitk.DICOMOrient(source, stored)
    sitk.WriteImage(source, tmp_path / "scan.nii.gz")
    scored = predictions(tmp_path / "scan.nii.gz")
    chosen = slices_of_volumes(scored, (2, 4))
    (path,) = save_maps(Predictor(), scored, tmp_path / "maps", file_format="nifti", slices=chosen)
    assert path.name == "00001-scan.nii.gz"
    saved = sitk.ReadImage(path)
    assert saved.GetSize() == source.GetSize()
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(saved, get)(), getattr(source, get)(), atol=1e-4)
    np.testing.assert_allclose(center_of(saved), CENTER, atol=1.0)
    upright = sitk.GetArrayFromImage(sitk.DICOMOrient(saved, "LPS"))
    assert upright.dtype == np.float32
    assert np.flatnonzero(upright.any(axis=(1, 2))).tolist() == [2, 3, 4]


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("missing", [None, 1])
def test_nifti_maps_overlay_a_dicom_series(
    flipped: bool, missing: int | None, tmp_path: Path
) -> None:
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    array, series = voxels(), write_series(tmp_path / "series", flipped=flipped, missing=missing)
    (path,) = save_maps(Predictor(), predictions(series), tmp_path / "maps", file_format="nifti")
    saved = sitk.ReadImage(path)
    assert saved.GetSize() == array.shape[::-1]
    np.testing.assert_allclose(saved.GetSpacing(), SPACING, atol=1e-4)
    np.testing.assert_allclose(center_of(saved), CENTER, atol=1.0)


def write_series(
    folder: Path,
    *,
    flipped: bool = False,
    missing: int | None = None,
    step: float = 1.0,
    moved: dict[int, tuple[float, float, float]] | None = None,
    lacking: str | None = None,
) -> Path:
    """Write the voxels as a DICOM series, from the head downwards; flipped: rotated by 180 deg."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    series = generate_uid()
    for i, pixels in enumerate(voxels()):
        if i == missing:
            continue
        corner = ORIGIN + SPACING * (0, 0, i * step**i) + (moved or {}).get(i, 0)
        if flipped:
            corner = corner + SPACING * (SHAPE[2] - 1, SHAPE[1] - 1, 0)
            pixels = pixels[::-1, ::-1]
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), series
        dataset.InstanceNumber = SHAPE[0] - i
        dataset.Rows, dataset.Columns = SHAPE[1:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation, dataset.RescaleSlope, dataset.RescaleIntercept = 1, 1, 0
        sign = -1 if flipped else 1
        dataset.ImageOrientationPatient = [sign, 0, 0, 0, sign, 0]
        dataset.ImagePositionPatient = corner.tolist()
        dataset.PixelSpacing = [SPACING[1], SPACING[0]]
        dataset.PixelData = pixels.tobytes()
        if lacking is not None:
            del dataset[lacking]
        dataset.save_as(folder / f"{9 - i}.dcm", enforce_file_format=True)
    return folder


def test_a_series_without_an_even_grid_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    scored = predictions(write_series(tmp_path / "series", step=1.15))
    with pytest.raises(ValueError, match=r"not evenly spaced; write them as npz"):
        save_maps(Predictor(), scored, tmp_path / "maps", file_format="nifti")
    (path,) = save_maps(Predictor(), scored, tmp_path / "maps")
    with np.load(path) as saved:
        assert saved["maps"].shape == SHAPE
        assert saved["maps"][3, 11, 43] == saved["maps"].max()


def places(series: Path, chosen: Sequence[int] = range(5)) -> list[tuple[Path, int]]:
    return [(series / f"{9 - i}.dcm", 0) for i in chosen]


def array_of(n: int) -> np.ndarray:
    """A stored array whose voxels hold the index of their slice."""
    return np.arange(n, dtype=np.float32)[:, None, None] * np.ones((n, *SHAPE[1:]), np.float32)


def test_the_grid_of_a_series(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    series = write_series(tmp_path / "series")
    for chosen, thickness in (((0, 1), 3.0), ((1, 3), 6.0), ((2,), 1.0), (range(5), 3.0)):
        grid = read_grid(places(series, chosen))
        assert grid.shape == (len(chosen), *SHAPE[1:])
        assert grid.spacing == pytest.approx((0.8, 0.7, thickness))
        assert grid.origin == pytest.approx(tuple(ORIGIN + SPACING * (0, 0, chosen[0])))
        np.testing.assert_allclose(grid.direction, np.eye(3))
    for chosen, n in (((0, 1, 4), 5), ((0, 3, 4), 5), ((0, 2, 3), 4)):
        grid = read_grid(places(series, chosen))
        assert (grid.shape[0], grid.spacing[2]) == (n, pytest.approx(3.0))
        views = [grid.slice_view(array_of(n), *place)[0, 0] for place in places(series, chosen)]
        assert views == [i - chosen[0] for i in chosen]
    with_gap = read_grid(places(series, (0, 1, 2, 4)))
    assert with_gap.shape == SHAPE
    assert (with_gap.slice_view(array_of(5), series / "5.dcm", 0) == 4).all()


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        # A tenth of the distance of slices.
        ({1: (0, 0, 0.27), 2: (0, 0, 0.27)}, None),
        ({2: (0, 0, 0.33)}, "not evenly spaced"),
        ({2: (0.2, -0.27, 0)}, "not evenly spaced"),
        ({i: (0, 0.001 * i, 0) for i in range(5)}, None),
        ({i: (0, 0.5 * i, 0) for i in range(5)}, "is sheared"),
    ],
)
def test_uneven_and_sheared_series(
    moved: dict[int, tuple[float, float, float]], message: str | None, tmp_path: Path
) -> None:
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    series = write_series(tmp_path / "series", moved=moved)
    if message is None:
        assert read_grid(places(series)).shape == SHAPE
    else:
        with pytest.raises(ValueError, match=rf"series of '.*9\.dcm'.* {message}"):
            read_grid(places(series))


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
def test_a_series_without_geometry_is_refused(keyword: str, tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    series = write_series(tmp_path / "series", lacking=keyword)
    with pytest.raises(ValueError, match=rf"series of '.*9\.dcm' lacks {keyword}$"):
        read_grid(places(series))


def test_pictures_have_no_place(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(np.eye(48, 60, dtype=np.uint8) * 255).save(picture)
    scored = [Prediction(str(picture), 0.5, 0.0, (), (48, 60))]
    with pytest.raises(ValueError, match=r"a\.png' is a picture .* write them as npz"):
        save_maps(Predictor(), scored, tmp_path / "maps", file_format="nifti")
    with pytest.raises(ValueError, match="file_format must be"):
        save_maps(Predictor(), scored, tmp_path / "maps", file_format="mha")
    assert not (tmp_path / "maps").exists()
    (path,) = save_maps(Predictor(), scored, tmp_path / "maps")
    assert np.load(path)["paths"].tolist() == [str(picture)]


NAMES = ["COVID/p1/0.png", "COVID/p1/10.png", "non-COVID/p2/0.png", "scan.nii.gz#12"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["p1/*"], [0, 1]),
        (["0.png"], [0, 2]),
        (["non-COVID/p2/0.png", "p1/*", "10.png"], [2, 0, 1]),
        (["scan.nii.gz#1?"], [3]),
        (["COVID\\p1\\0.png"], [0]),
    ],
)
def test_slices_are_chosen_by_name(patterns: list[str], expected: list[int]) -> None:
    assert slices_with_names(NAMES, patterns).tolist() == expected


def test_an_unknown_name_is_met_with_similar_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'p1/1\.png'; did you mean 'COVID/p1/10\.png'"):
        slices_with_names(NAMES, ["p1/1.png"])


def test_slices_are_chosen_by_place() -> None:
    nan = float("nan")
    scan = [
        Prediction("scan.mha", nan if k == 4 else 0.5, 0.0, (), (8, 8), k, volume="s", lung=k > 2)
        for k in range(6)
    ]
    scored = [Prediction("a.png", 0.5, 0.0, (), (8, 8)), *scan]
    assert slices_of_volumes(scored, "lung").tolist() == [0, 4, 6]
    assert slices_of_volumes(scored, "all").tolist() == [0, 1, 2, 3, 4, 6]
    assert slices_of_volumes(scored, (0, 1)).tolist() == [0, 1, 2]
    for wrong in ("labelled", (3, 1), (-1, 2)):
        with pytest.raises(ValueError, match="slices must be 'lung', 'all' or"):
            slices_of_volumes(scored, wrong)
    with pytest.raises(ValueError, match="no readable slice"):
        slices_of_volumes(scan, (9, 12))

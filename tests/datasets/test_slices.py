"""CT series in archives: what is found, in which order, and what is set aside."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.datasets.dicom import patient_group, read_series, read_slice
from covidct.datasets.frames import read_frame, read_hu
from covidct.datasets.gray import LUNG
from covidct.datasets.lung import lung_slices
from covidct.datasets.slices import Found, FoundVolume, find_slices
from covidct.errors import InvalidFileError

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")

# After the check that pydicom is installed.
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CAPTURES = "1.2.840.10008.5.1.4.1.1.7.2"
REPORT = "1.2.840.10008.5.1.4.1.1.88.22"
PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
SHAPE = (6, 8)
AXIAL, CORONAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDCT_CACHE", str(tmp_path / "cache"))


def stored(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2500, SHAPE, dtype=np.uint16)


def make(pixels: np.ndarray, **tags: Any) -> Dataset:
    """A file of class CT; a tag set to None is left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    given = {
        "SOPClassUID": CT,
        "SOPInstanceUID": generate_uid(),
        "SeriesInstanceUID": "1.2.3",
        "PatientID": "A",
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": 8 * pixels.itemsize,
        "HighBit": 8 * pixels.itemsize - 1,
        "PixelRepresentation": 0,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "ImageOrientationPatient": AXIAL,
        "ImagePositionPatient": [-100, -90, 5],
        "PixelSpacing": [0.7, 0.8],
        "PixelData": pixels.tobytes(),
    }
    for keyword, value in (given | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CT)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, *, n: int = 4, first: int = 0, **tags: Any) -> list[Path]:
    """Slices 3 mm apart under names from the head downwards; returns them from the feet upwards."""
    paths = []
    for i in range(n):
        place = {"ImagePositionPatient": [0, 0, 3.0 * i], "InstanceNumber": n - i}
        dataset = make(stored(first + i), **(place | tags))
        paths.append(save(dataset, folder / f"IM{n - i}.dcm"))
    return paths


def reasons(found: Found) -> dict[str, str]:
    return {path.name: reason for path, reason in found.set_aside}


def capture(value: int = 9, **tags: Any) -> Dataset:
    pixels = np.full(SHAPE, value, np.uint8)
    none = dict.fromkeys(("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"))
    given = {"SOPClassUID": CAPTURE, "SeriesInstanceUID": "1.9", **none}
    return make(pixels, **(given | tags))


# Series


def test_a_tree_of_patients_studies_and_series(tmp_path: Path) -> None:
    expected = {}
    for patient in ("p1", "p2"):
        for number in (1, 2):
            folder = tmp_path / "archive" / patient / "study" / f"s{number}"
            uid = f"1.{patient[1]}.{number}"
            expected[f"archive/{patient}/study/s{number}"] = series(
                folder, SeriesInstanceUID=uid, PatientID=patient
            )
    found = find_slices(tmp_path / "archive")
    assert {volume.name: list(volume.paths) for volume in found.volumes} == expected
    assert found.images == []
    assert found.set_aside == []
    for volume in found.volumes:
        assert volume.frames == (0, 0, 0, 0)
        assert volume.positions.tolist() == [0, 3, 6, 9]
        assert volume.spacing == (0.7, 0.8)
        assert volume.patient == patient_group(volume.paths[0])
        assert volume.in_hu
    names = [volume.name for volume in find_slices(tmp_path, root=tmp_path / "archive").volumes]
    assert names == ["p1/study/s1", "p1/study/s2", "p2/study/s1", "p2/study/s2"]


def test_several_series_in_one_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        paths = series(tmp_path / "x", SeriesInstanceUID=f"1.{number}", n=3 + number)
        for path in paths:
            path.rename(path.with_name(f"{number}-{path.name}"))
    found = find_slices(tmp_path / "x")
    assert [(volume.name, len(volume)) for volume in found.volumes] == [("x", 4), ("x#2", 5)]


def test_a_series_over_several_folders(tmp_path: Path) -> None:
    for i, path in enumerate(series(tmp_path / "x")):
        (tmp_path / "x" / f"part{i % 2}").mkdir(exist_ok=True)
        path.rename(path.parent / f"part{i % 2}" / path.name)
    (volume,) = find_slices(tmp_path / "x").volumes
    assert volume.name == "x"
    assert volume.positions.tolist() == [0, 3, 6, 9]


def test_one_per_patient_takes_original_slices_then_most(tmp_path: Path) -> None:
    series(tmp_path / "p" / "few", n=3, SeriesInstanceUID="1.1")
    series(tmp_path / "p" / "most", n=6, SeriesInstanceUID="1.2")
    derived = ["DERIVED", "SECONDARY", "REFORMATTED"]
    series(tmp_path / "p" / "derived", n=9, SeriesInstanceUID="1.3", ImageType=derived)
    series(tmp_path / "q" / "only", n=2, SeriesInstanceUID="1.4", PatientID="B")
    found = find_slices(tmp_path, one_per_patient=True)
    assert [volume.name.split("/", 1)[1] for volume in found.volumes] == ["p/most", "q/only"]
    assert len(found.set_aside) == 12
    assert set(reasons(found).values()) == {"another series of the patient"}


def test_phases_of_one_series(tmp_path: Path) -> None:
    series(tmp_path / "x", AcquisitionNumber=1)
    for path in series(tmp_path / "y", first=20, AcquisitionNumber=2):
        path.rename(tmp_path / "x" / f"second-{path.name}")
    found = find_slices(tmp_path / "x")
    assert [(volume.name, len(volume)) for volume in found.volumes] == [("x", 4), ("x#2", 4)]
    with pytest.raises(InvalidFileError, match="2 phases or reconstructions"):
        read_series(tmp_path / "x")


def numbered_phases(folder: Path, numbers: list[int]) -> list[Path]:
    """Slices of two phases at three places, which only InstanceNumber tells apart."""
    places = [3.0 * (i % 3) for i in range(6)]
    return [
        save(
            make(stored(i), ImagePositionPatient=[0, 0, z], InstanceNumber=number),
            folder / f"{i}.dcm",
        )
        for i, (z, number) in enumerate(zip(places, numbers, strict=True))
    ]


def test_phases_numbered_one_after_the_other(tmp_path: Path) -> None:
    files = numbered_phases(tmp_path, [1, 2, 3, 11, 12, 13])
    first, second = find_slices(tmp_path).volumes
    assert (first.paths, second.paths) == (tuple(files[:3]), tuple(files[3:]))


@pytest.mark.parametrize("numbers", [[1, 3, 5, 2, 4, 6], [1, 2, 3, 4, 5, 1]])
def test_phases_in_another_order_stay_an_error(tmp_path: Path, numbers: list[int]) -> None:
    numbered_phases(tmp_path, numbers)
    with pytest.raises(InvalidFileError, match="lie at the same place"):
        find_slices(tmp_path)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]},
        {"SeriesDescription": "Patient Protocol"},
        {"SeriesDescription": "Dose Report"},
    ],
    ids=str,
)
def test_protocols_of_class_ct_are_set_aside(tmp_path: Path, tags: dict[str, Any]) -> None:
    series(tmp_path / "ct")
    path = save(make(stored(9), SeriesInstanceUID="1.2.9", **tags), tmp_path / "ct" / "p.dcm")
    found = find_slices(tmp_path)
    assert len(found.volumes) == 1
    assert not found.images
    assert reasons(found) == {path.name: "secondary capture of class CT"}


def test_all_slices_of_a_windowed_series_are_taken(tmp_path: Path) -> None:
    for i in range(3):
        pixels = np.full(SHAPE, 100 + 50 * i, np.uint8)
        pixels[0] = 0
        position = [0, 0, 3.0 * i]
        save(make(pixels, RescaleIntercept=0, ImagePositionPatient=position), tmp_path / f"{i}.dcm")
    (volume,) = find_slices(tmp_path).volumes
    assert lung_slices(volume).all()
    assert [np.asarray(read_frame(path)).max() for path in volume.paths] == [100, 150, 200]


def test_without_positions_instance_numbers_order_the_slices(tmp_path: Path) -> None:
    paths = series(tmp_path / "x", n=12, ImagePositionPatient=None)
    (volume,) = find_slices(tmp_path / "x").volumes
    assert list(volume.paths) == paths[::-1]
    assert np.isnan(volume.positions).all()
    assert np.isnan(read_series(tmp_path / "x").positions).all()


def test_blanked_positions_are_no_positions(tmp_path: Path) -> None:
    paths = series(tmp_path / "x", ImagePositionPatient=[0, 0, 0])
    (volume,) = find_slices(tmp_path / "x").volumes
    assert list(volume.paths) == paths[::-1]
    assert np.isnan(volume.positions).all()


def test_without_numbers_names_order_the_slices(tmp_path: Path) -> None:
    series(tmp_path / "x", n=12, ImagePositionPatient=None, InstanceNumber=None)
    (volume,) = find_slices(tmp_path / "x").volumes
    assert [path.name for path in volume.paths] == [f"IM{i}.dcm" for i in range(1, 13)]


def test_without_a_series_uid_the_folder_is_the_series(tmp_path: Path) -> None:
    paths = series(tmp_path / "x", SeriesInstanceUID=None)
    (volume,) = find_slices(tmp_path / "x").volumes
    assert list(volume.paths) == paths
    single = save(make(stored(50), SeriesInstanceUID=None), tmp_path / "y" / "a.dcm")
    other = save(make(stored(51), SeriesInstanceUID=None), tmp_path / "y" / "b.dcm")
    assert find_slices(tmp_path / "y").images == [single, other]  # at one place: no series


def test_files_of_a_series_named_one_by_one_are_a_volume(tmp_path: Path) -> None:
    paths = series(tmp_path / "x")
    found = find_slices([paths[2], paths[0], paths[0], paths[1]])
    assert [list(volume.paths) for volume in found.volumes] == [paths[:3]]
    assert find_slices([tmp_path / "x", paths[0]]).volumes[0].paths == tuple(paths)
    assert find_slices([tmp_path / "x", paths[0]]).images == []
    single = find_slices(paths[1])
    assert single.images == [paths[1]]
    assert single.patients == {paths[1]: patient_group(paths[1])}


def test_single_slices_are_images(tmp_path: Path) -> None:
    for i in range(3):
        save(make(stored(i), SeriesInstanceUID=f"1.{i}"), tmp_path / f"{i}.dcm")
    Image.new("L", (8, 6)).save(tmp_path / "a.png")
    found = find_slices(tmp_path)
    assert found.volumes == []
    assert [path.name for path in found.images] == ["0.dcm", "1.dcm", "2.dcm", "a.png"]


def test_single_slices_with_one_uid_and_one_position(tmp_path: Path) -> None:
    paths = [save(make(stored(i), InstanceNumber=1), tmp_path / f"{i}.dcm") for i in range(3)]
    assert find_slices(tmp_path).images == paths
    twice = shutil.copy(paths[0], tmp_path / "0 (1).dcm")
    assert find_slices([paths[0], twice]).images == [paths[0]]


# Orientation


@pytest.mark.parametrize("order", ["up", "down"])
@pytest.mark.parametrize(
    "orientation",
    [
        [1, 0, 0, 0, 1, 0],
        [-1, 0, 0, 0, -1, 0],  # prone
        [-1, 0, 0, 0, 1, 0],  # seen from the head
        [1, 0, 0, 0, -1, 0],
        [0, 1, 0, 1, 0, 0],
        [0, -1, 0, 1, 0, 0],
    ],
)
def test_slices_are_radiological_and_from_the_feet(
    orientation: list[int], order: str, tmp_path: Path
) -> None:
    for i in range(3):
        z = 3.0 * i if order == "up" else -3.0 * i
        dataset = make(
            stored(i), ImageOrientationPatient=orientation, ImagePositionPatient=[0, 0, z]
        )
        save(dataset, tmp_path / "x" / f"{i}.dcm")
    (volume,) = find_slices(tmp_path / "x").volumes
    seeds = [0, 1, 2] if order == "up" else [2, 1, 0]
    assert [path.stem for path in volume.paths] == [str(seed) for seed in seeds]
    assert np.all(np.diff(volume.positions) > 0)
    whole = read_series(tmp_path / "x")
    for i, seed in enumerate(seeds):
        hu = stored(seed).astype(float) - 1024
        expected = _in_the_body(LUNG.show(hu), orientation)
        for shown in (read_frame(volume.paths[i]), read_slice(volume.paths[i]), whole[i]):
            np.testing.assert_array_equal(np.asarray(shown), expected)
        np.testing.assert_array_equal(read_hu(volume.paths[i]), _in_the_body(hu, orientation))
    is_swapped = orientation[0] == 0
    assert volume.spacing == whole.spacing == ((0.8, 0.7) if is_swapped else (0.7, 0.8))


def _in_the_body(array: np.ndarray, orientation: list[int]) -> np.ndarray:
    """Put every pixel where its coordinates say: x to the right, y downwards."""
    rows, columns = array.shape
    across, down = np.array(orientation).reshape(2, 3)
    r, c = np.mgrid[:rows, :columns]
    x, y = (c * across[k] + r * down[k] for k in (0, 1))
    placed = np.empty((int(np.ptp(y)) + 1, int(np.ptp(x)) + 1), array.dtype)
    placed[y - y.min(), x - x.min()] = array
    return placed


@pytest.mark.parametrize(("orientation", "plane"), [(CORONAL, "coronal"), (SAGITTAL, "sagittal")])
def test_other_planes_are_set_aside(
    orientation: list[int], plane: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    axial = series(tmp_path / "x" / "axial")
    for i in range(3):
        tags = {"ImageOrientationPatient": orientation, "SeriesInstanceUID": "1.7"}
        save(
            make(stored(i), ImagePositionPatient=[3 * i, 3 * i, 0], **tags),
            tmp_path / "x" / plane / f"{i}.dcm",
        )
    found = find_slices(tmp_path / "x")
    assert [list(volume.paths) for volume in found.volumes] == [axial]
    assert reasons(found) == {f"{i}.dcm": f"{plane} rather than axial slices" for i in range(3)}
    assert plane in caplog.text
    assert find_slices(tmp_path / "x" / plane).volumes == []


def test_a_scout_of_two_directions_is_set_aside(tmp_path: Path) -> None:
    """Without LOCALIZER among its tags."""
    axial = series(tmp_path / "x")
    for name, orientation in (("front", CORONAL), ("side", SAGITTAL)):
        tags = {"ImageOrientationPatient": orientation, "SeriesInstanceUID": "1.7"}
        save(make(stored(9), **tags), tmp_path / "x" / f"{name}.dcm")
    found = find_slices(tmp_path / "x")
    assert [list(volume.paths) for volume in found.volumes] == [axial]
    assert set(reasons(found).values()) == {"coronal and sagittal rather than axial slices"}


def test_a_tilted_gantry_is_axial(tmp_path: Path) -> None:
    tilt = np.deg2rad(25)
    orientation = [1, 0, 0, 0, round(np.cos(tilt), 6), round(np.sin(tilt), 6)]
    series(tmp_path / "x", ImageOrientationPatient=orientation)
    (volume,) = find_slices(tmp_path / "x").volumes
    np.testing.assert_allclose(np.diff(volume.positions), 3 * np.cos(tilt), atol=1e-3)


# Other files in the folder of a series

BESIDE: dict[str, tuple[Callable[[], Dataset], str]] = {
    "localizer": (
        lambda: make(stored(9), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "localizer",
    ),
    "coronal localizer": (
        lambda: make(
            stored(9),
            ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
            ImageOrientationPatient=CORONAL,
        ),
        "localizer",
    ),
    "scout": (lambda: make(stored(9), SeriesDescription="Chest Scout"), "localizer"),
    "MIP": (
        lambda: make(stored(9), ImageType=["DERIVED", "SECONDARY", "AXIAL", "MIP"]),
        "projection of several slices (MIP)",
    ),
    "described MIP": (
        lambda: make(stored(9), SeriesDescription="Thorax MIP 10mm", SeriesInstanceUID="1.8"),
        "projection of several slices (MIP)",
    ),
    "report": (
        lambda: make(stored(9), SOPClassUID=REPORT, PixelData=None),
        "contains .*SR.*not CT",
    ),
    "plan": (
        lambda: make(stored(9), SOPClassUID=PLAN, PixelData=None),
        "contains RT Plan.*, not CT",
    ),
    "capture": (capture, "secondary capture of a CT series"),
    "captures": (
        lambda: capture(NumberOfFrames=2, Rows=3, SOPClassUID=CAPTURES),
        "secondary capture of a CT series",
    ),
    "color": (
        lambda: make(
            np.zeros((6, 8, 3), np.uint8),
            Rows=6,
            Columns=8,
            SamplesPerPixel=3,
            PlanarConfiguration=0,
            PhotometricInterpretation="RGB",
        ),
        "picture in color of class CT",
    ),
    "dose page": (
        lambda: make(stored(9), ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"]),
        "secondary capture of class CT",
    ),
}


@pytest.mark.parametrize("case", BESIDE)
def test_what_is_no_slice_is_set_aside_and_changes_nothing(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = series(tmp_path / "x")
    dataset, reason = BESIDE[case]
    save(dataset(), tmp_path / "x" / "zz.dcm")
    found = find_slices(tmp_path / "x")
    (volume,) = found.volumes
    assert (list(volume.paths), found.images) == (paths, [])
    assert list(reasons(found)) == ["zz.dcm"]
    pattern = reason.replace("(", r"\(").replace(")", r"\)")
    assert re.fullmatch(pattern, reasons(found)["zz.dcm"])
    assert caplog.text.count("set aside") == 1
    assert len(read_series(tmp_path / "x")) == 4


@pytest.mark.parametrize(
    "name", ["Thumbs.db", "notes.txt", "preview.png", "DICOMDIR", ".DS_Store", "VERSION", "a.zip"]
)
def test_other_files_change_nothing(name: str, tmp_path: Path) -> None:
    paths = series(tmp_path / "x")
    if name.endswith(".png"):
        Image.new("L", (8, 6)).save(tmp_path / "x" / name)
    else:
        (tmp_path / "x" / name).write_bytes(b"x")
    found = find_slices(tmp_path / "x")
    (volume,) = found.volumes
    assert (list(volume.paths), found.images) == (paths, [])


def test_captures_in_another_folder_of_the_study(tmp_path: Path) -> None:
    series(tmp_path / "p" / "ct")
    save(capture(), tmp_path / "p" / "shots" / "a.dcm")
    save(capture(PatientID="B"), tmp_path / "q" / "b.dcm")
    found = find_slices(tmp_path)
    assert reasons(found) == {"a.dcm": "secondary capture of a CT series"}
    assert [path.name for path in found.images] == ["b.dcm"]


def test_captures_named_alone_are_pictures(tmp_path: Path) -> None:
    series(tmp_path / "x")
    single = save(capture(), tmp_path / "x" / "a.dcm")
    assert find_slices(single).images == [single]
    frames = np.arange(3 * 48, dtype=np.uint8).reshape(3, *SHAPE)
    multi = save(
        make(frames, NumberOfFrames=3, SOPClassUID=CAPTURES, SeriesInstanceUID="1.9"),
        tmp_path / "x" / "b.dcm",
    )
    (volume,) = find_slices(multi).volumes
    assert (volume.frames, volume.in_hu) == ((0, 1, 2), False)
    for frame in range(3):
        np.testing.assert_array_equal(np.asarray(read_frame(multi, frame)), frames[frame])
    with pytest.raises(InvalidFileError, match=r"has 3 frames, so no frame 3"):
        read_frame(multi, 3)


# Damaged and doubled files


def test_a_copy_is_taken_once(tmp_path: Path) -> None:
    paths = series(tmp_path / "x")
    shutil.copy(paths[1], tmp_path / "x" / f"{paths[1].stem} (1).dcm")
    again = pydicom.dcmread(paths[2])
    again.StudyDescription = "sent again"
    save(again, tmp_path / "x" / "sub" / paths[2].name)
    found = find_slices(tmp_path / "x")
    assert [list(volume.paths) for volume in found.volumes] == [paths]
    assert reasons(found) == {
        "IM3 (1).dcm": "copy of 'IM3.dcm'",
        "IM2.dcm": "copy of 'IM2.dcm'",
    }
    assert len(read_series(tmp_path / "x")) == 4


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"Rows": 4, "PixelData": bytes(64)}, "differ in size"),
    "orientation": ({"ImageOrientationPatient": CORONAL}, "differ in orientation"),
    "spacing": ({"PixelSpacing": [0.7, 0.9]}, "differ in pixel spacing"),
    "no position": ({"ImagePositionPatient": None}, "lacks ImagePositionPatient"),
    "no orientation": ({"ImageOrientationPatient": None}, "lacks ImageOrientationPatient"),
    "skewed": ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not two perpendicular"),
    "short": ({"ImagePositionPatient": [1, 2]}, "3 finite numbers in ImagePositionPatient"),
    "flat": ({"PixelSpacing": [0, 0.8]}, "PixelSpacing that is not positive"),
    "no class": ({"SOPClassUID": None}, "lacks SOPClassUID"),
    "twin": ({"ImagePositionPatient": [0, 0, 3]}, "lie at the same place"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_misfit_is_refused_by_name_or_left_out(case: str, tmp_path: Path) -> None:
    paths = series(tmp_path / "x")
    tags, message = MISFITS[case]
    place = {"ImagePositionPatient": [0, 0, 30], "InstanceNumber": 9}
    save(make(stored(9), **(place | tags)), tmp_path / "x" / "misfit.dcm")
    with pytest.raises(InvalidFileError, match=message) as caught:
        find_slices(tmp_path / "x")
    assert "misfit.dcm" in str(caught.value)
    found = find_slices(tmp_path / "x", on_error="skip")
    assert [list(volume.paths) for volume in found.volumes] == [paths]
    assert list(reasons(found)) == ["misfit.dcm"]


def test_a_cut_header_costs_itself(tmp_path: Path) -> None:
    paths = series(tmp_path / "x")
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    (tmp_path / "x" / "empty.dcm").write_bytes(b"")
    with pytest.raises(InvalidFileError, match=r"IM3\.dcm|empty\.dcm"):
        find_slices(tmp_path / "x")
    found = find_slices(tmp_path / "x", on_error="skip")
    assert [len(volume) for volume in found.volumes] == [3]
    assert sorted(reasons(found)) == ["IM3.dcm", "empty.dcm"]


def test_a_dataset_is_not_a_list_of_paths() -> None:
    dataset = covidct.load_dataset("phantom", n=2, seed=0)
    with pytest.raises(TypeError, match="got a tuple in a PhantomDataset; of a dataset, give its"):
        find_slices(dataset)


def test_missing_paths_and_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_slices(tmp_path / "none")
    with pytest.raises(ValueError, match="on_error must be"):
        find_slices(tmp_path, on_error="ignore")
    assert find_slices([]) == Found([], [], [], {})
    with pytest.raises(InvalidFileError, match="has 1 frame, so no frame 1"):
        read_frame(save(make(stored(0)), tmp_path / "a.dcm"), 1)


# Multi-frame files and media


def enhanced(order: list[int], **tags: Any) -> Dataset:
    """Frames in disorder; gray values grow towards the head."""
    frames = np.stack([np.full(SHAPE, 300 * i, np.uint16) for i in order])
    none = dict.fromkeys(("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"))
    dataset = make(frames, SOPClassUID=ENHANCED_CT, NumberOfFrames=len(order), **none)

    def item(**values: Any) -> Dataset:
        made = Dataset()
        for keyword, value in values.items():
            setattr(made, keyword, value)
        return made

    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
            PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.8])],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 5.0 * i])],
            FrameContentSequence=[item(**{k: v[at] for k, v in tags.items()})],
        )
        for at, i in enumerate(order)
    ]
    return dataset


def test_frames_in_disorder_are_sorted(tmp_path: Path) -> None:
    path = save(enhanced([3, 0, 4, 1, 2]), tmp_path / "x.dcm")
    (volume,) = find_slices(path).volumes
    assert volume.frames == (1, 3, 4, 0, 2)
    assert volume.positions.tolist() == [0, 5, 10, 15, 20]
    assert (volume.name, set(volume.paths)) == ("x.dcm", {path})
    for i, frame in enumerate(volume.frames):
        assert read_hu(path, frame).mean() == 300 * i - 1024


def test_phases_in_one_file(tmp_path: Path) -> None:
    dataset = enhanced([0, 1, 2, 0, 1, 2], TemporalPositionIndex=[1, 1, 1, 2, 2, 2])
    path = save(dataset, tmp_path / "x.dcm")
    assert [volume.frames for volume in find_slices(path).volumes] == [(0, 1, 2), (3, 4, 5)]


def test_the_index_of_a_medium_stands_for_its_files(tmp_path: Path) -> None:
    shipped = pydicom.data.get_testdata_file("dicomdirtests/DICOMDIR", download=False)
    if shipped is None:
        pytest.skip("not in this wheel of pydicom")
    named = find_slices(shipped)
    within = find_slices(Path(shipped).parent / "98892001" / "CT5N")
    listed = [set(volume.paths) for volume in named.volumes]
    assert any(set(volume.paths) in listed for volume in within.volumes)
    assert (Path(shipped), "index of a medium (DICOMDIR); the files that it lists are read") in (
        named.set_aside
    )
    alone = shutil.copy(shipped, tmp_path / "DICOMDIR")
    with pytest.raises(InvalidFileError, match=r"index of a medium .* give the folder"):
        find_slices(alone)


def test_two_thousand_slices_are_found_without_their_pixels(tmp_path: Path) -> None:
    dataset = make(stored(0), Rows=512, Columns=512, PixelData=b"\0\0")
    for i in range(2100):
        dataset.ImagePositionPatient = [0, 0, 0.5 * i]
        dataset.SOPInstanceUID = f"1.2.3.{i + 1}"
        save(dataset, tmp_path / "x" / f"{i}.dcm")
    (volume,) = find_slices(tmp_path / "x").volumes
    assert isinstance(volume, FoundVolume)
    assert len(volume) == 2100
    assert np.all(np.diff(volume.positions) == 0.5)
    with pytest.raises(InvalidFileError, match=r"0\.dcm"):
        read_frame(volume.paths[0])

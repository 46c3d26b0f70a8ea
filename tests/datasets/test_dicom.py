from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from covidct.datasets import dicom_file
from covidct.datasets.dicom import Volume, is_volume, patient_group, read_series, read_slice
from covidct.datasets.gray import to_gray
from covidct.datasets.reading import read_image
from covidct.errors import InvalidFileError, UnknownNameError

NAME, IDENTITY = "Doe^Jane", "secret-0815"
AXIAL = [1, 0, 0, 0, 1, 0]
SHAPE = (6, 8)
SERIES = "1.2.826.0.1.3680043.8.498.1"


def shipped(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"{name} is not in this wheel of pydicom")
    return Path(found)


def stored(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2500, shape, dtype=np.uint16)


def make(pixels: np.ndarray | None = None, **tags: Any) -> Dataset:
    """A CT slice in a simple file; a tag set to None is left out."""
    pixels = stored() if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    given = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "SeriesInstanceUID": SERIES,
        "PatientName": NAME,
        "PatientID": IDENTITY,
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
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
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def expected(pixels: np.ndarray, level: float = -600, width: float = 1500) -> np.ndarray:
    """Equation C.11.2.1.2.1 of DICOM PS3.3, value by value."""
    gray = np.empty(pixels.shape)
    for at, value in np.ndenumerate(pixels.astype(float) - 1024):
        if value <= level - 0.5 - (width - 1) / 2:
            gray[at] = 0
        elif value > level - 0.5 + (width - 1) / 2:
            gray[at] = 255
        else:
            gray[at] = ((value - (level - 0.5)) / (width - 1) + 0.5) * 255
    return gray


def assert_shows(image: Image.Image | np.ndarray, gray: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(image).astype(float), gray, atol=0.51)


# One slice


def test_lung_window_of_hounsfield_units(tmp_path: Path) -> None:
    image = read_slice(save(make(), tmp_path / "a"))
    assert image.mode == "L"
    assert image.size == SHAPE[::-1]
    assert_shows(image, expected(stored()))


def test_read_image_knows_dicom_by_content(tmp_path: Path) -> None:
    path = save(make(), tmp_path / "no suffix")
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.asarray(read_slice(path)))


def test_slope_and_signed_values(tmp_path: Path) -> None:
    pixels = np.array([[-2000, -500, -100, 0, 100, 900]], np.int16)
    dataset = make(pixels, PixelRepresentation=1, RescaleSlope=2, RescaleIntercept=-10)
    image = read_slice(save(dataset, tmp_path / "a.dcm"))
    assert_shows(image, expected(pixels.astype(float) * 2 - 10 + 1024))


def test_own_window_and_that_of_the_file(tmp_path: Path) -> None:
    path = save(make(WindowCenter=[40, -600], WindowWidth=[400, 1500]), tmp_path / "a.dcm")
    assert_shows(read_slice(path, window=(100, 700)), expected(stored(), 100, 700))
    assert_shows(read_slice(path, window="file"), expected(stored(), 40, 400))


def test_window_functions_of_the_file(tmp_path: Path) -> None:
    hu = stored().astype(float) - 1024
    for name, part in {
        "LINEAR_EXACT": np.clip((hu + 300) / 900 + 0.5, 0, 1),
        "SIGMOID": 1 / (1 + np.exp(-4 * (hu + 300) / 900)),
    }.items():
        dataset = make(WindowCenter=-300, WindowWidth=900, VOILUTFunction=name)
        path = save(dataset, tmp_path / f"{name}.dcm")
        assert_shows(read_slice(path, window="file"), 255 * part)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = read_slice(save(make(), tmp_path / "2.dcm"))
    inverse = make(PhotometricInterpretation="MONOCHROME1")
    inverse = read_slice(save(inverse, tmp_path / "1.dcm"))
    np.testing.assert_array_equal(255 - np.asarray(plain), np.asarray(inverse))


@pytest.mark.parametrize(
    "window", ["bone", (40,), (40, 0.5), (float("nan"), 400), (40, float("inf")), ("a", "b")]
)
def test_unknown_windows_are_refused(window: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"window must be|could not convert"):
        read_slice(tmp_path / "a.dcm", window=window)


def test_rle_and_deflated_files(tmp_path: Path) -> None:
    dataset = make()
    dataset.compress(RLELossless)
    assert_shows(read_slice(save(dataset, tmp_path / "rle.dcm")), expected(stored()))
    dataset = make()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert_shows(read_slice(save(dataset, tmp_path / "deflated.dcm")), expected(stored()))


def test_screenshots_are_shown_as_they_are(tmp_path: Path) -> None:
    gray = np.arange(48, dtype=np.uint8).reshape(SHAPE)
    tags = {"SOPClassUID": SecondaryCaptureImageStorage, "RescaleSlope": None}
    byte = tags | {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    path = save(make(gray, **byte), tmp_path / "gray.dcm")
    np.testing.assert_array_equal(np.asarray(read_slice(path)), gray)
    inverse = make(gray, **byte, PhotometricInterpretation="MONOCHROME1")
    path = save(inverse, tmp_path / "inverse.dcm")
    np.testing.assert_array_equal(np.asarray(read_slice(path)), 255 - gray)
    path = save(make(stored(), **tags), tmp_path / "deep.dcm")
    np.testing.assert_array_equal(np.asarray(read_slice(path)), to_gray(stored()))


SHIPPED_AND_READ = {
    "CT_small.dcm": ("L", (128, 128)),
    "693_J2KI.dcm": ("L", (512, 512)),
    "image_dfl.dcm": ("L", (512, 512)),
    "SC_rgb_rle.dcm": ("RGB", (100, 100)),
    "SC_rgb_jpeg_dcmtk.dcm": ("RGB", (100, 100)),
    "SC_ybr_full_422_uncompressed.dcm": ("RGB", (100, 100)),
    "SC_rgb_small_odd_big_endian.dcm": ("RGB", (3, 3)),
    "SC_rgb_rle_16bit.dcm": ("L", (100, 100)),
}
SHIPPED_AND_REFUSED = {
    "MR_small.dcm": "contains MR Image Storage, not CT",
    "MR_truncated.dcm": "contains MR Image Storage, not CT",
    "rtdose.dcm": "contains RT Dose Storage, not CT",
    "examples_palette.dcm": "contains Ultrasound Image Storage, not CT",
    "SC_rgb_rle_2frame.dcm": "contains 2 frames",
    "meta_missing_tsyntax.dcm": "lacks TransferSyntaxUID",
    "no_meta.dcm": "is not a DICOM file",
    "README.txt": "is not a DICOM file",
    "UN_sequence.dcm": "lacks SOPClassUID",
}


@pytest.mark.parametrize("name", SHIPPED_AND_READ)
def test_files_shipped_with_pydicom_are_read_without_a_warning(name: str) -> None:
    with warnings.catch_warnings(action="error"):
        image = read_slice(shipped(name))
    assert (image.mode, image.size) == SHIPPED_AND_READ[name]


@pytest.mark.parametrize("name", SHIPPED_AND_REFUSED)
def test_files_shipped_with_pydicom_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidFileError, match=SHIPPED_AND_REFUSED[name]) as caught:
        read_slice(shipped(name))
    assert name in str(caught.value)


@pytest.mark.skipif(
    get_decoder("1.2.840.10008.1.2.4.81").is_available, reason="a decoder is installed"
)
def test_a_missing_decoder_is_named() -> None:
    with pytest.raises(InvalidFileError, match=r"JPEG-LS .*pip install 'covidct\[dicom\]'"):
        read_slice(shipped("SC_rgb_jls_lossy_line.dcm"))


# What is wrong with a file

BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no slope": ({"RescaleSlope": None}, "lacks RescaleSlope"),
    "no intercept": ({"RescaleIntercept": None}, "lacks RescaleIntercept"),
    "no rows": ({"Rows": None}, "lacks Rows"),
    "no pixels": ({"PixelData": None}, "lacks PixelData"),
    "no class": ({"SOPClassUID": None}, "lacks SOPClassUID"),
    "no meaning": ({"PhotometricInterpretation": None}, "lacks PhotometricInterpretation"),
    "MR": ({"SOPClassUID": MRImageStorage}, "contains MR Image Storage, not CT"),
    "private": ({"SOPClassUID": "1.2.3.4"}, "not CT"),
    "cut off": ({"PixelData": stored().tobytes()[:50]}, "cut off"),
    "color": ({"PhotometricInterpretation": "RGB"}, "no Hounsfield units"),
    "bomb": ({"Rows": 60_000, "Columns": 60_000}, "60000 x 60000 pixels"),
    "empty": ({"Rows": 0}, "0 x 8 pixels"),
    "odd depth": ({"BitsAllocated": 7}, "its tags describe wrongly|cannot be read"),
    "two frames": ({"NumberOfFrames": 2, "Rows": 3}, "contains 2 frames"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named_and_explained(case: str, tmp_path: Path) -> None:
    tags, message = BROKEN[case]
    path = tmp_path / "broken.dcm"
    with warnings.catch_warnings(action="ignore"):
        save(make(**tags), path)
    with pytest.raises(InvalidFileError, match=message) as caught:
        read_slice(path)
    assert repr(str(path)) in str(caught.value)


@pytest.mark.parametrize("slope", ["nan", "inf", "Doe"])
def test_a_slope_must_be_a_number(slope: str, tmp_path: Path) -> None:
    path = save(make(RescaleSlope="7.5"), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"7.5 ", slope.encode().ljust(4)))
    with pytest.raises(InvalidFileError, match=r"RescaleSlope|cannot be read"):
        read_slice(path)


@pytest.mark.parametrize(
    "tags", [{}, {"WindowCenter": 40, "WindowWidth": 0}, {"WindowCenter": 40, "WindowWidth": -1}]
)
def test_a_file_without_a_usable_window_says_so(tags: dict[str, int], tmp_path: Path) -> None:
    path = save(make(**tags), tmp_path / "a.dcm")
    with pytest.raises(InvalidFileError, match=r"lacks WindowCenter|display window"):
        read_slice(path, window="file")


def test_every_cut_of_a_file_is_read_or_refused(tmp_path: Path) -> None:
    whole = save(make(), tmp_path / "whole.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidFileError, match=r"cut\.dcm"):
            read_slice(path)


def test_flipped_bits_are_read_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    whole = save(make(), tmp_path / "whole.dcm").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "flipped.dcm"
    refusals = []
    for _ in range(250):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        try:
            read_slice(path)
        except InvalidFileError as error:
            refusals.append(str(error))
    assert len(refusals) > 5
    assert all("flipped.dcm" in refusal for refusal in refusals)
    assert "Jane" not in caplog.text + "".join(refusals)


def test_a_failed_decoder_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidFileError, match=r"cannot be decoded from JPEG Extended|missing"):
        read_slice(shipped("JPEG-lossy.dcm"))
    assert caplog.text == ""


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_floating_point_pixels_are_named(keyword: str, syntax: str, tmp_path: Path) -> None:
    dataset = make()
    del dataset.PixelData, dataset.BitsStored, dataset.PixelRepresentation
    dtype = "<f4" if keyword == "FloatPixelData" else "<f8"
    values = np.zeros((dataset.Rows, dataset.Columns), dtype)
    setattr(dataset, keyword, values.tobytes())
    dataset.BitsAllocated = 8 * values.itemsize
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "a.dcm"
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(
        InvalidFileError, match=rf"a\.dcm' contains {keyword}, not the whole numbers"
    ):
        read_slice(path)


def test_what_others_make_pydicom_log_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_slice(save(make(), tmp_path / "a.dcm"))
    logging.getLogger("pydicom").warning("of others")
    assert "of others" in caplog.text


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"none\.dcm.*No such file"):
        read_slice(tmp_path / "none.dcm")
    with pytest.raises(InvalidFileError, match="is a folder; use"):
        read_slice(tmp_path)
    with pytest.raises(FileNotFoundError, match="neither a DICOM file nor a folder"):
        read_series(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_series(tmp_path / "none")


def test_large_files_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(make(), tmp_path / "a.dcm")
    monkeypatch.setattr(dicom_file, "MAX_BYTES", 500)
    monkeypatch.setattr(pydicom, "dcmread", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(InvalidFileError, match="more than the 500 allowed"):
        read_slice(path)


def test_without_pydicom_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(make(), tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ModuleNotFoundError, match=r"covidct\[dicom\]"):
        read_slice(path)


# Whose it is


def test_the_patient_is_told_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in results, nor in errors, their tracebacks, warnings or logs."""
    caplog.set_level(logging.DEBUG)
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for case, (tags, _) in BROKEN.items():
            path = tmp_path / f"{case}.dcm"
            save(make(**tags), path)
            caught.clear()
            for read in (read_slice, read_series):
                try:
                    told.append(repr(read(path)))
                except InvalidFileError:
                    told.append(traceback.format_exc())
            told += [str(warning.message) for warning in caught]
    volume = read_series(save(make(), tmp_path / "fine.dcm"))
    told += [repr(volume), str(vars(volume)), caplog.text]
    everything = "\n".join(told)
    assert "fine.dcm" in everything
    assert NAME not in everything
    assert "Jane" not in everything
    assert IDENTITY not in everything


def test_groups_are_pseudonyms(tmp_path: Path) -> None:
    first, same, other, none = (
        patient_group(save(make(PatientID=identity), tmp_path / f"{i}.dcm"))
        for i, identity in enumerate([IDENTITY, f"{IDENTITY} ", "another", ""])
    )
    assert first == same
    assert first is not None
    assert len(first) == 16
    assert other not in (first, None)
    assert none is None


# A series


def write_series(folder: Path, **tags: Any) -> list[np.ndarray]:
    """Five slices, 3 mm apart, under shuffled names; returns their pixels from below upwards."""
    folder.mkdir(exist_ok=True)
    pixels = [stored(seed) for seed in range(5)]
    for height, name in enumerate(["c", "a.dcm", "e", "b", "d.ima"]):
        dataset = make(
            pixels[height], InstanceNumber=9 - height, ImagePositionPatient=[1, 2, 3 * height - 6]
        )
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        save(dataset, folder / name)
    return pixels


def test_a_series_is_sorted_by_position(tmp_path: Path) -> None:
    pixels = write_series(tmp_path / "series")
    volume = read_series(tmp_path / "series")
    assert isinstance(volume, Volume)
    assert volume.names == ("c", "a.dcm", "e", "b", "d.ima")
    assert volume.positions.tolist() == [-6, -3, 0, 3, 6]
    assert volume.spacing == (0.7, 0.8)
    assert volume.group == patient_group(tmp_path / "series" / "a.dcm")
    assert volume.slices.shape == (5, *SHAPE)
    assert not volume.slices.flags.writeable
    for index, values in enumerate(pixels):
        assert_shows(volume[index], expected(values))
    assert [image.size for image in volume] == [SHAPE[::-1]] * 5


def test_positions_follow_the_normal_of_tilted_slices(tmp_path: Path) -> None:
    tilt = np.deg2rad(20)
    rows, columns = np.array([1, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
    normal = np.cross(rows, columns)
    for index, name in enumerate("bca"):
        corner = 50 * columns * index + 2.5 * index * normal  # sliding along y as well
        dataset = make(
            ImageOrientationPatient=np.round([*rows, *columns], 8).tolist(),
            ImagePositionPatient=np.round(corner, 6).tolist(),
        )
        save(dataset, tmp_path / name)
    volume = read_series(tmp_path)
    assert volume.names == ("b", "c", "a")
    np.testing.assert_allclose(np.diff(volume.positions), 2.5, atol=1e-4)


def test_several_series_are_listed_or_chosen_from(tmp_path: Path) -> None:
    write_series(tmp_path)
    other = f"{SERIES}.7"
    save(make(SeriesInstanceUID=other), tmp_path / "other.dcm")
    with pytest.raises(
        InvalidFileError, match="contains 2 series; choose one with series="
    ) as caught:
        read_series(tmp_path)
    assert f"'{SERIES}' (5 files)" in str(caught.value)
    assert f"'{other}' (1 files)" in str(caught.value)
    assert len(read_series(tmp_path, series=SERIES)) == 5
    assert read_series(tmp_path, series=other).names == ("other.dcm",)
    with pytest.raises(UnknownNameError, match=r"unknown series '1\.2'"):
        read_series(tmp_path, series="1.2")


def test_other_files_are_passed_over_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path)
    for name in (".hidden", "notes.txt", "DICOMDIR"):
        (tmp_path / name).write_text("no slice")
    assert len(read_series(tmp_path)) == 5
    assert "1 files" in caplog.text
    assert "notes.txt" in caplog.text


MISFITS: dict[str, tuple[Callable[[], Dataset], str]] = {
    "size": (lambda: make(stored(0, (4, 4))), "differ in size"),
    "localizer": (lambda: make(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "in orientation"),
    "zoom": (lambda: make(PixelSpacing=[0.7, 0.9]), "differ in pixel spacing"),
    "patient": (lambda: make(PatientID="another"), "but of two patients"),
    "twin": (lambda: make(ImagePositionPatient=[0, 0, 3.0002]), "lie at the same place"),
    "no position": (lambda: make(ImagePositionPatient=None), "lacks ImagePositionPatient"),
    "short": (lambda: make(ImageOrientationPatient=[1, 0, 0]), "needs 6 finite numbers"),
    "skew": (lambda: make(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "not two perpendicular"),
    "no series": (lambda: make(SeriesInstanceUID=None), "lacks SeriesInstanceUID"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_is_no_stack_is_refused(case: str, tmp_path: Path) -> None:
    write_series(tmp_path)
    dataset, message = MISFITS[case]
    save(dataset(), tmp_path / "misfit.dcm")
    with pytest.raises(InvalidFileError, match=message) as caught:
        read_series(tmp_path)
    assert "misfit.dcm" in str(caught.value)


def test_a_series_is_bounded_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path)
    monkeypatch.setattr("covidct.datasets.dicom.MAX_SERIES_VOXELS", 200)
    with pytest.raises(InvalidFileError, match="more than 200 pixels"):
        read_series(tmp_path)


def item(**tags: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def enhanced(pixels: np.ndarray) -> Dataset:
    """A multi-frame file, topmost frame first; units and windows differ from frame to frame."""
    dataset = make(
        pixels,
        SOPClassUID=EnhancedCTImageStorage,
        NumberOfFrames=len(pixels),
        RescaleSlope=None,
        RescaleIntercept=None,
        ImageOrientationPatient=None,
        ImagePositionPatient=None,
        PixelSpacing=None,
    )
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
            PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.5])],
            FrameVOILUTSequence=[item(WindowCenter=0, WindowWidth=10)],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 100 - 2 * frame])],
            PixelValueTransformationSequence=[
                item(RescaleSlope=1 + frame, RescaleIntercept=-1024 * (1 + frame))
            ],
            FrameVOILUTSequence=[item(WindowCenter=40 * frame, WindowWidth=400 + frame)],
        )
        for frame in range(len(pixels))
    ]
    return dataset


def test_a_multi_frame_file_is_a_series(tmp_path: Path) -> None:
    pixels = stored(3, (3, *SHAPE))
    path = save(enhanced(pixels), tmp_path / "enhanced.dcm")
    volume = read_series(path)
    assert volume.names == ("enhanced.dcm#3", "enhanced.dcm#2", "enhanced.dcm#1")
    assert (volume.paths, volume.frames) == ((path,) * 3, (2, 1, 0))
    assert volume.positions.tolist() == [96, 98, 100]
    assert volume.spacing == (0.5, 0.5)
    own = read_series(path, window="file")
    for index, frame in enumerate((2, 1, 0)):
        hu = (pixels[frame].astype(float) - 1024) * (1 + frame)
        assert_shows(volume[index], expected(hu + 1024))
        assert_shows(own[index], expected(hu + 1024, 40 * frame, 400 + frame))
    with pytest.raises(InvalidFileError, match=r"contains 3 frames; choose .*read_series"):
        read_slice(path)


def test_volumes_are_known(tmp_path: Path) -> None:
    write_series(folder := tmp_path / "series")
    assert is_volume(folder)
    (folder / ".hidden").write_text("passed over")
    assert is_volume(folder)
    multi = save(enhanced(stored(3, (3, *SHAPE))), tmp_path / "enhanced.dcm")
    assert is_volume(multi)
    assert not any(map(is_volume, (folder / "a.dcm", folder / ".hidden", tmp_path, "nowhere")))
    save(make(SeriesInstanceUID=SERIES + ".2"), folder / "of another series")
    assert not is_volume(folder)
    (folder / "of another series").write_text("no DICOM")
    assert not is_volume(folder)


def test_a_series_shipped_with_pydicom() -> None:
    volume = read_series(shipped("dicomdirtests/98892001/CT5N/2062").parent)
    np.testing.assert_allclose(np.diff(volume.positions), 2.5, atol=1e-3)
    assert volume.slices.shape == (5, 16, 16)

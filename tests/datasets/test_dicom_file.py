"""DicomFile: right values from intact files of all kinds, and the tag that is wrong otherwise."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from covidct.datasets.dicom import read_slice
from covidct.datasets.dicom_file import DicomFile, guarded
from covidct.datasets.frames import read_hu
from covidct.datasets.gray import LUNG, to_gray
from covidct.datasets.reading import read_image
from covidct.errors import InvalidFileError, InvalidSliceError

SHAPE = (12, 16)
UNITS = np.random.default_rng(0).choice([-1000, -850, -90, 40, 300], SHAPE)
SHOWN = LUNG.show(UNITS)


def make(pixels: np.ndarray | bytes, **tags: Any) -> Dataset:
    """A CT slice whose stored values are HU + 1024; a tag set to None is left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    depth = 16 if isinstance(pixels, bytes) else pixels.dtype.itemsize * 8
    shape = SHAPE if isinstance(pixels, bytes) else pixels.shape
    given = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "Rows": shape[-2],
        "Columns": shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": depth,
        "BitsStored": depth,
        "HighBit": depth - 1,
        "PixelRepresentation": 0,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": pixels if isinstance(pixels, bytes) else pixels.tobytes(),
    }
    for keyword, value in (given | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset["PixelData"].VR = "OW"
    return dataset


STORED = (UNITS + 1024).astype(np.uint16)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(pixels: np.ndarray | bytes = STORED, **tags: Any) -> Path:
        path = tmp_path / "slice.dcm"
        make(pixels, **tags).save_as(path, enforce_file_format=True)
        return path

    return save


def shown(path: Path, **options: Any) -> np.ndarray:
    return np.asarray(read_slice(path, **options))


def refused(path: Path, reason: str, **options: Any) -> InvalidFileError:
    with pytest.raises(InvalidFileError, match=reason) as caught:
        read_slice(path, **options)
    assert repr(str(path)) in str(caught.value)
    return caught.value


class TestWithoutPreamble:
    """The 128 bytes, the magic or the whole meta information may be cut off."""

    @pytest.mark.parametrize("start", [0, 128, 132])
    @pytest.mark.parametrize(
        "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
    )
    def test_the_slice_is_read(self, start: int, syntax: UID, saved) -> None:
        pixels = STORED.astype(">u2") if syntax == ExplicitVRBigEndian else STORED
        path = saved(pixels, syntax=syntax)
        path.write_bytes(path.read_bytes()[start:])
        np.testing.assert_array_equal(np.asarray(read_image(path)), SHOWN)
        with guarded(path):
            assert DicomFile(path).syntax == syntax

    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    def test_without_meta_information(self, syntax: UID, tmp_path: Path) -> None:
        dataset = make(STORED)
        del dataset.file_meta
        path = tmp_path / "bare"
        dataset.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\0"
        np.testing.assert_array_equal(np.asarray(read_image(path)), SHOWN)

    def test_compressed_slices_too(self, saved) -> None:
        dataset = make(STORED)
        dataset.compress(RLELossless)
        path = saved()
        dataset.save_as(path, enforce_file_format=True)
        path.write_bytes(path.read_bytes()[132:])
        np.testing.assert_array_equal(shown(path), SHOWN)

    def test_a_shipped_slice(self, tmp_path: Path) -> None:
        whole = Path(get_testdata_file("CT_small.dcm", download=False))
        path = tmp_path / "cut.dcm"
        path.write_bytes(whole.read_bytes()[132:])
        np.testing.assert_array_equal(shown(path), shown(whole))


class TestBits:
    @pytest.mark.parametrize("compress", [False, True])
    @pytest.mark.parametrize("overlay", [1 << 12, 1 << 15, 0xF << 12])
    def test_overlays_in_unused_high_bits_are_cleared(
        self, overlay: int, compress: bool, saved
    ) -> None:
        pixels = STORED.copy()
        pixels[3:6, 2:9] |= overlay
        path = saved(pixels, BitsStored=12, HighBit=11)
        if compress:
            dataset = pydicom.dcmread(path)
            dataset.compress(RLELossless)
            dataset.save_as(path)
        np.testing.assert_array_equal(shown(path), SHOWN)

    def test_they_are_cleared_of_signed_values_too(self, saved) -> None:
        pixels = UNITS.astype(np.int16)
        pixels &= 0x0FFF  # the sign is in bit 11
        pixels[3:6, 2:9] |= 1 << 12
        path = saved(pixels, BitsStored=12, HighBit=11, PixelRepresentation=1, RescaleIntercept=0)
        np.testing.assert_array_equal(shown(path), SHOWN)

    def test_values_in_the_high_bits(self, saved) -> None:
        path = saved(STORED << 4 | 0b1010, BitsStored=12, HighBit=15)
        np.testing.assert_array_equal(shown(path), SHOWN)

    def test_an_absurd_high_bit_is_ignored(self, saved) -> None:
        np.testing.assert_array_equal(shown(saved(BitsStored=12, HighBit=3)), SHOWN)
        np.testing.assert_array_equal(shown(saved(BitsStored=12, HighBit=None)), SHOWN)

    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
    def test_depths(self, dtype: str, saved) -> None:
        kind = np.dtype(dtype)
        slope = 20 if kind.itemsize == 1 else 1
        intercept = (-1040 if kind.kind == "u" else 0) if kind.itemsize == 1 else -1024
        stored = ((UNITS - intercept) // slope).astype(kind)
        path = saved(
            stored,
            PixelRepresentation=int(kind.kind == "i"),
            RescaleSlope=slope,
            RescaleIntercept=intercept,
        )
        expected = LUNG.show(stored.astype(float) * slope + intercept)
        np.testing.assert_array_equal(shown(path), expected)

    def test_sums_beyond_16_bits(self, saved) -> None:
        pixels = STORED.copy()
        pixels[0, :2] = 65_535, 40_000
        gray = shown(saved(pixels, RescaleSlope=2, RescaleIntercept=-2048))
        assert gray[0, :2].tolist() == [255, 255]


class TestPadding:
    @pytest.mark.parametrize(
        ("tags", "value"),
        [
            ({"PixelPaddingValue": 65_535}, 65_535),
            ({"PixelPaddingValue": 5_000, "PixelPaddingRangeLimit": 6_000}, 5_500),
            ({"PixelPaddingValue": 6_000, "PixelPaddingRangeLimit": 5_000}, 5_500),
        ],
    )
    def test_bright_padding_becomes_black(self, tags: dict[str, int], value: int, saved) -> None:
        pixels = STORED.copy()
        pixels[:, :5] = value
        path = saved(pixels, **tags)
        gray = shown(path)
        assert not gray[:, :5].any()
        np.testing.assert_array_equal(gray[:, 5:], SHOWN[:, 5:])
        with guarded(path):
            units = DicomFile(path).hu()
        assert (units[:, :5] == -2000).all()
        np.testing.assert_array_equal(units[:, 5:], UNITS[:, 5:])

    @pytest.mark.parametrize("padding", [-2000, 63_536])
    def test_padding_of_signed_values(self, padding: int, saved) -> None:
        pixels = (UNITS + 1024).astype(np.int16)
        pixels[:, :5] = -2000
        path = saved(pixels, PixelRepresentation=1)
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)
        dataset.save_as(path)
        assert not shown(path)[:, :5].any()
        gray = shown(path, window="range")
        assert gray[:, 5:].min() == round(24 / 1324 * 255)  # the range begins at -1024 HU

    def test_padding_that_occurs_in_the_body_is_not_blackened(self, saved) -> None:
        gray = shown(saved(PixelPaddingValue=1064))
        np.testing.assert_array_equal(gray, SHOWN)


class TestUnits:
    @pytest.mark.parametrize("kind", ["US", "HU", ""])
    def test_hounsfield_units_are_recognized_whatever_they_are_called(
        self, kind: str, saved
    ) -> None:
        np.testing.assert_array_equal(shown(saved(RescaleType=kind)), SHOWN)

    def test_other_units_are_scaled(self, saved) -> None:
        values = np.arange(192, dtype=np.uint16).reshape(SHAPE) * 50
        path = saved(values, RescaleType="US", RescaleIntercept=0)
        np.testing.assert_array_equal(shown(path), to_gray(values, "range"))
        assert DicomFile(path).hu() is None
        with pytest.raises(InvalidFileError, match="not in Hounsfield units"):
            read_hu(path)

    def test_a_picture_of_8_bits_of_class_ct_is_kept(self, saved) -> None:
        gray = np.arange(192, dtype=np.uint8).reshape(SHAPE)
        for values in (gray, gray.astype(np.uint16)):
            path = saved(values, RescaleSlope=1, RescaleIntercept=0)
            np.testing.assert_array_equal(shown(path), gray)
            assert DicomFile(path).hu() is None

    def test_a_lost_intercept_is_recognized(self, saved) -> None:
        path = saved(RescaleIntercept=0)
        np.testing.assert_array_equal(shown(path), SHOWN)
        np.testing.assert_array_equal(DicomFile(path).hu(), UNITS)

    @pytest.mark.parametrize("offset", [0, 1024])
    def test_a_lookup_table(self, offset: int, saved) -> None:
        item = Dataset()
        entries = (np.arange(2000) - 1024 + offset).astype(np.int16).view(np.uint16)
        item.add_new("LUTDescriptor", "US", [2000, 0, 16])
        item.add_new("LUTData", "OW", entries.tobytes())
        item.ModalityLUTType = "HU"
        path = saved(ModalityLUTSequence=[item], RescaleSlope=None, RescaleIntercept=None)
        np.testing.assert_array_equal(shown(path), SHOWN)

    def test_a_malformed_lookup_table(self, saved) -> None:
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [2000, 0, 16])
        refused(saved(ModalityLUTSequence=[item]), "malformed ModalityLUTSequence")

    def test_windows(self, saved) -> None:
        path = saved(WindowCenter=[40, 0], WindowWidth=[400, 10])
        for window in ((40, 400), "file"):
            expected = to_gray(UNITS, (40, 400), hounsfield=True)
            np.testing.assert_array_equal(shown(path, window=window), expected)
        expected = to_gray(UNITS, "range", hounsfield=True)
        np.testing.assert_array_equal(shown(path, window="range"), expected)


WRONG = {
    "slope 0": ({"RescaleSlope": 0}, "has a RescaleSlope of 0"),
    "no slope": ({"RescaleSlope": None}, "lacks RescaleSlope"),
    "empty slope": ({"RescaleSlope": ""}, "lacks RescaleSlope"),
    "empty intercept": ({"RescaleIntercept": ""}, "lacks RescaleIntercept"),
    "no bits": ({"BitsAllocated": None}, "lacks BitsAllocated"),
    "no bits stored": ({"BitsStored": None}, "lacks BitsStored"),
    "no sign": ({"PixelRepresentation": None}, "lacks PixelRepresentation"),
    "no samples": ({"SamplesPerPixel": None}, "lacks SamplesPerPixel"),
    "two slopes": ({"RescaleSlope": [1, 2]}, "1 finite number in RescaleSlope"),
    "too many frames": ({"NumberOfFrames": 2_000_000_000}, "NumberOfFrames of 2000000000"),
    "negative frames": ({"NumberOfFrames": -3}, "NumberOfFrames of -3"),
    "too few pixels": ({"Rows": 13}, r"cut off \(384 bytes of 416\)"),
    "bomb": ({"Rows": 65_535, "Columns": 65_535}, "65535 x 65535 pixels"),
}


class TestTags:
    @pytest.mark.parametrize("case", WRONG)
    def test_the_wrong_one_is_named(self, case: str, saved) -> None:
        tags, message = WRONG[case]
        assert isinstance(refused(saved(**tags), message), InvalidSliceError)

    @pytest.mark.parametrize(
        ("keyword", "value"), [("RescaleSlope", b"7.5 "), ("RescaleIntercept", b"-7.50 ")]
    )
    @pytest.mark.parametrize("text", ["1,5", "abc", "nan", "inf", "--1"])
    def test_malformed_numbers(self, keyword: str, value: bytes, text: str, saved) -> None:
        path = saved(**{keyword: value.decode().strip()})
        content = path.read_bytes()
        assert content.count(value) == 1
        path.write_bytes(content.replace(value, text.encode().ljust(len(value))[: len(value)]))
        refused(path, keyword)

    def test_malformed_frames(self, saved) -> None:
        path = saved(NumberOfFrames="7777")
        path.write_bytes(path.read_bytes().replace(b"7777", b"many"))
        refused(path, "NumberOfFrames")

    def test_malformed_window(self, saved) -> None:
        path = saved(WindowCenter="7.77", WindowWidth="400")
        path.write_bytes(path.read_bytes().replace(b"7.77", b"wide"))
        refused(path, "WindowCenter", window="file")


def enhanced(frames: np.ndarray, **tags: Any) -> Dataset:
    return make(frames, SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=len(frames), **tags)


SYNTAXES = [
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLosslessSV1),
    *(JPEG2000Lossless, JPEGLSLossless),
]


def transcoded(dataset: Dataset, syntax: UID, path: Path) -> Path:
    """Save a file in another transfer syntax, with the help of GDCM."""
    gdcm = pytest.importorskip("gdcm", reason="needs the extra dicom")
    dataset.save_as(path, enforce_file_format=True)
    if not syntax.is_compressed:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, enforce_file_format=True, implicit_vr=syntax.is_implicit_VR)
        return path
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    changed = pydicom.dcmread(path)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        if keyword in changed:  # GDCM makes up what it misses there
            delattr(changed, keyword)
    changed.RescaleSlope, changed.RescaleIntercept = dataset.RescaleSlope, dataset.RescaleIntercept
    changed.save_as(path)
    return path


class TestFrames:
    @pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
    @pytest.mark.parametrize("signed", [False, True])
    def test_each_can_be_read_alone(self, syntax: UID, signed: bool, tmp_path: Path) -> None:
        stack = np.stack([np.roll(UNITS, shift, 0) for shift in range(4)])
        pixels = stack.astype(np.int16) if signed else (stack + 1024).astype(np.uint16)
        tags = {"PixelRepresentation": 1, "RescaleIntercept": 0} if signed else {}
        path = transcoded(enhanced(pixels, **tags), syntax, tmp_path / "frames.dcm")
        with guarded(path):
            file = DicomFile(path)
            assert file.syntax == syntax
            assert file.frames == 4
            for index in (2, 0, 3, 1):
                np.testing.assert_array_equal(file.hu(index), stack[index])
                np.testing.assert_array_equal(file.frame(index), LUNG.show(stack[index]))
            np.testing.assert_array_equal(np.stack([*file.gray()]), LUNG.show(stack))

    @pytest.mark.parametrize("index", [-1, 4, 100])
    def test_others_are_refused(self, index: int, tmp_path: Path) -> None:
        path = tmp_path / "frames.dcm"
        enhanced(np.stack([STORED] * 4)).save_as(path, enforce_file_format=True)
        with pytest.raises(InvalidFileError, match="has 4 frames"), guarded(path):
            DicomFile(path).frame(index)

    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
    def test_memory_does_not_grow_with_their_number(self, syntax: UID, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 2000, (100, 128, 128), dtype=np.uint16)
        path = transcoded(enhanced(pixels), syntax, tmp_path / "frames.dcm")
        tracemalloc.start()
        with guarded(path):
            DicomFile(path).frame(50)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < pixels.nbytes / 2

    def test_a_digest_of_the_pixels(self, saved, tmp_path: Path) -> None:
        first = saved()
        content = first.read_bytes()
        with guarded(first):
            digest = DicomFile(first).pixel_digest()
        other = tmp_path / "other.dcm"
        make(STORED, PatientID="another").save_as(other, enforce_file_format=True)
        assert other.read_bytes() != content
        with guarded(other):
            assert DicomFile(other).pixel_digest() == digest


class TestHostileFrames:
    def test_a_jpeg_larger_than_its_tags_say(self, saved) -> None:
        buffer = io.BytesIO()
        Image.new("L", (3000, 3000)).save(buffer, "JPEG")
        path = saved(
            encapsulate([buffer.getvalue()]),
            syntax=JPEGBaseline8Bit,
            BitsAllocated=8,
            BitsStored=8,
            HighBit=7,
        )
        try:
            assert shown(path).shape == SHAPE
        except InvalidFileError as error:
            assert repr(str(path)) in str(error)  # noqa: PT017  # only if it is refused

    @pytest.mark.parametrize("syntax", [s for s in SYNTAXES if s.is_compressed])
    def test_cut_and_flipped_frames(self, syntax: UID, tmp_path: Path) -> None:
        path = transcoded(make(STORED), syntax, tmp_path / "slice.dcm")
        content = path.read_bytes()
        start = content.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
        rng = np.random.default_rng(0)
        for number in range(40):
            damaged = bytearray(content)
            if number % 2:
                del damaged[rng.integers(start, len(content)) :]
            else:
                damaged[rng.integers(start, len(content))] ^= 1 << rng.integers(8)
            path.write_bytes(bytes(damaged))
            try:
                assert shown(path).shape == SHAPE
            except InvalidFileError as error:
                assert repr(str(path)) in str(error)  # noqa: PT017  # only if it is refused

    def test_no_pixels_at_all(self, saved) -> None:
        refused(
            saved(encapsulate([b"\0\0"]), syntax=JPEGLosslessSV1), "replace it by an intact copy"
        )

    def test_a_missing_decoder_is_not_answered_by_skipping(self, saved) -> None:
        path = saved(
            encapsulate([b"\xff\xd8" + bytes(90)]),
            syntax=JPEGExtended12Bit,
            BitsStored=12,
            HighBit=11,
        )
        error = refused(path, "JPEG Extended")
        if "decoder is missing" in str(error):
            assert not isinstance(error, InvalidSliceError)

    def test_a_syntax_that_nothing_decodes(self, saved) -> None:
        path = saved(encapsulate([bytes(90)]), syntax=UID("1.2.840.10008.1.2.4.102"))
        refused(path, "MPEG-4 .* is not decoded; export it without compression")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    refused(tmp_path / "pipe.dcm", "is not a regular file")


class TestContradictions:
    """The stated and the true compression differ."""

    @pytest.mark.parametrize("compress", [True, False])
    def test_the_tag_is_named(self, compress: bool, saved) -> None:
        path = saved()
        if compress:
            dataset = pydicom.dcmread(path)
            dataset.compress(RLELossless)
            dataset.save_as(path)
        true, stated = (RLELossless, ExplicitVRLittleEndian)[:: 1 if compress else -1]
        content = path.read_bytes()
        assert content.count(true.encode()) == 1
        path.write_bytes(content.replace(true.encode(), stated.encode()))
        found = "a" if compress else "no"
        refused(path, f"has pixels with {found} compression, while its TransferSyntaxUID")


class TestPictures:
    """Secondary captures have no unit."""

    TAGS: dict[str, Any] = {  # noqa: RUF012  # nothing changes it
        "SOPClassUID": SecondaryCaptureImageStorage,
        "RescaleSlope": None,
        "RescaleIntercept": None,
    }

    def test_a_palette(self, saved) -> None:
        index = np.arange(192, dtype=np.uint8).reshape(SHAPE)
        tags = dict(self.TAGS, PhotometricInterpretation="PALETTE COLOR")
        for color in ("Red", "Green", "Blue"):
            tags[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            entries = (255 - np.arange(256, dtype=np.uint16)) * 257
            tags[f"{color}PaletteColorLookupTableData"] = entries.tobytes()
        np.testing.assert_array_equal(shown(saved(index, **tags)), 255 - index)

    def test_16_bit_gray_and_color(self, saved) -> None:
        picture = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint16) * 257
        picture[0, :2] = 0, 65_535
        gray = (picture // 257).astype(np.uint8)
        np.testing.assert_array_equal(shown(saved(picture, **self.TAGS)), gray)
        color = np.stack([picture] * 3, -1)
        path = saved(
            color.tobytes(),
            **self.TAGS,
            SamplesPerPixel=3,
            PlanarConfiguration=0,
            PhotometricInterpretation="RGB",
        )
        np.testing.assert_array_equal(shown(path), gray)
        inverse = saved(65_535 - picture, **self.TAGS, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_array_equal(shown(inverse), gray)

    def test_one_of_several_frames(self, saved) -> None:
        stack = np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
        path = saved(stack, **self.TAGS, NumberOfFrames=3)
        with guarded(path):
            np.testing.assert_array_equal(np.asarray(DicomFile(path).image(2)), stack[2])

"""Pictures of more than 8 bits become the right gray; broken EXIF and previews do no harm."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from covidct import to_grayscale
from covidct.datasets.gray import to_gray
from covidct.datasets.reading import read_image
from covidct.errors import InvalidFileError

SHAPE = (11, 17)
PICTURE = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
PICTURE[0, :2] = 0, 255
DEEP = PICTURE.astype(np.uint16) * 257
UNITS = np.random.default_rng(1).choice([-1000.0, -850, -90, 40, 300], SHAPE)
LUNG = to_gray(UNITS, hounsfield=True)


@pytest.fixture
def shown(tmp_path: Path) -> Callable[..., np.ndarray]:
    def read(content: bytes, **options: Any) -> np.ndarray:
        path = tmp_path / "slice"
        path.write_bytes(content)
        return np.asarray(to_grayscale(read_image(path, **options)))

    return read


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(kind: int, *channels: np.ndarray, chunks: bytes = b"") -> bytes:
    """Write a PNG of 16 bits a channel: 0 gray, 2 RGB, 4 gray and alpha, 6 RGB and alpha."""
    height, width = channels[0].shape
    rows = np.stack(channels, -1).astype(">u2").reshape(height, -1)
    lines, before = [], np.zeros(rows[0].nbytes, np.uint8)
    for number, row in enumerate(rows):  # filters 0 and 2, so that one of them is undone
        data = np.frombuffer(row.tobytes(), np.uint8)
        lines.append(b"\0" + data.tobytes() if number % 2 else b"\2" + (data - before).tobytes())
        before = data
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + pixels + chunk(b"IEND", b"")


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


class TestPng:
    @pytest.mark.parametrize(
        "values",
        [DEEP, PICTURE.astype(np.uint16) << 8, PICTURE.astype(np.uint16)],
        ids=["times 257", "shifted", "low byte alone"],
    )
    def test_all_color_types_show_the_same_picture(self, values: np.ndarray, shown) -> None:
        full = np.full(SHAPE, 65535, np.uint16)
        for content in (
            png(0, values),
            png(2, values, values, values),
            png(4, values, full),
            png(6, values, values, values, full),
        ):
            np.testing.assert_array_equal(shown(content), PICTURE)

    @pytest.mark.parametrize("offset", [1024, 32768, 2**16])
    def test_hounsfield_units_in_all_color_types(self, offset: int, shown) -> None:
        values = (UNITS + offset).astype(np.int64).astype(np.uint16)  # 2**16: as signed values
        full = np.full(SHAPE, 65535, np.uint16)
        for content in (
            png(0, values),
            png(2, values, values, values),
            png(4, values, full),
            png(6, values, values, values, full),
        ):
            np.testing.assert_array_equal(shown(content), LUNG)
            expected = to_gray(UNITS, (40, 400), hounsfield=True)
            np.testing.assert_array_equal(shown(content, window=(40, 400)), expected)

    def test_12_bits_are_spread_alike(self, shown) -> None:
        values = PICTURE.astype(np.uint16) * 16
        full = np.full(SHAPE, 65535, np.uint16)
        for content in (png(0, values), png(2, values, values, values), png(4, values, full)):
            np.testing.assert_array_equal(shown(content), PICTURE)

    def test_color_is_luma(self, shown) -> None:
        channels = [DEEP, np.rot90(DEEP, 2), DEEP[::-1]]
        red, green, blue = (channel.astype(float) / 257 for channel in channels)
        expected = to_gray(np.rint((0.299 * red + 0.587 * green + 0.114 * blue) * 257), "range")
        np.testing.assert_allclose(shown(png(2, *channels)), expected, atol=1)

    def test_opacity(self, shown) -> None:
        alpha = np.full(SHAPE, 65535, np.uint16)
        alpha[3], alpha[4] = 0, 32768
        expected = PICTURE * (alpha / 65535)
        np.testing.assert_allclose(shown(png(4, DEEP, alpha)), expected, atol=1)
        np.testing.assert_allclose(shown(png(6, DEEP, DEEP, DEEP, alpha)), expected, atol=1)

    def test_a_color_that_stands_for_transparent(self, shown) -> None:
        values = (UNITS + 1024).astype(np.uint16)
        values[5] = 65535
        clear = chunk(b"tRNS", struct.pack(">H", 65535))
        clear_color = chunk(b"tRNS", struct.pack(">HHH", *[65535] * 3))
        for content in (
            png(0, values, chunks=clear),
            png(2, values, values, values, chunks=clear_color),
        ):
            gray = shown(content)
            assert not gray[5].any()
            np.testing.assert_array_equal(np.delete(gray, 5, 0), np.delete(LUNG, 5, 0))

    def test_damage_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "slice.png"
        content = png(2, DEEP, DEEP, DEEP)
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InvalidFileError, match=r"slice\.png"):
            read_image(path)


class TestNetpbm:
    @pytest.mark.parametrize("highest", [1023, 4095, 65535])
    def test_values_are_not_rescaled(self, highest: int, shown) -> None:
        if highest > 1400:
            values = (UNITS + 1024).astype(">u2")
            header = f"P5 # a comment\n{SHAPE[1]} {SHAPE[0]}\n{highest}\n".encode()
            np.testing.assert_array_equal(shown(header + values.tobytes()), LUNG)
        color = np.stack([PICTURE.astype(int) * (highest // 255)] * 3, -1).astype(">u2")
        header = f"P6\n{SHAPE[1]} {SHAPE[0]}\n{highest} ".encode()
        np.testing.assert_array_equal(shown(header + color.tobytes()), PICTURE)
        with pytest.raises(InvalidFileError, match="truncated"):
            shown(header + color.tobytes()[:-1])

    def test_floats(self, shown) -> None:
        values = UNITS.astype("<f4")[::-1]
        header = f"Pf\n{SHAPE[1]} {SHAPE[0]}\n-1.0\n".encode()
        np.testing.assert_array_equal(shown(header + values.tobytes()), LUNG)


def test_the_depth_is_kept_for_the_audit(tmp_path: Path) -> None:
    for values, bits in ((DEEP, 16), (UNITS.astype(np.float32), 32)):
        Image.fromarray(values).save(tmp_path / "a.tif")
        assert read_image(tmp_path / "a.tif").info["stored_bits"] == bits
    (tmp_path / "a.png").write_bytes(png(2, DEEP, DEEP, DEEP))
    assert read_image(tmp_path / "a.png").info["stored_bits"] == 16


BROKEN_EXIF = [
    b"\x00\x08\x00\x02\x01\x12\x00\x03 not TIFF",
    b"",
    b"Exif\0\0",
    b"Exif\0\0II",
    b"Exif\0\0II*\0\xff\xff\xff\x7f",
    b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40),
    b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abcd",  # an orientation in letters
    b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0",  # orientation 99
    b"Exif\0\0Exif\0\0II*\0\x08\0\0\0\0\0",
    b"Exif\0\0Exif\0\0 no TIFF",
]


class TestExif:
    @pytest.mark.parametrize("exif", BROKEN_EXIF)
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
    def test_broken_data_do_no_harm(self, exif: bytes, form: str, shown) -> None:
        smooth = Image.fromarray(np.tile(np.arange(0, 64, 4, np.uint8), (16, 1)))
        options = {"quality": 95} if form == "JPEG" else {"lossless": True}
        options = {} if form == "PNG" else options
        gray = shown(encoded(smooth, form, exif=exif, **options))
        np.testing.assert_allclose(gray, np.asarray(smooth), atol=3)

    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
    @pytest.mark.parametrize("doubled", [False, True])
    def test_an_orientation_is_applied_even_behind_a_doubled_header(
        self, form: str, doubled: bool, shown
    ) -> None:
        exif = b"Exif\0\0" * (1 + doubled)
        exif += b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
        upright = np.zeros((32, 16), np.uint8)
        upright[:16] = 200
        image = Image.fromarray(np.rot90(upright).copy())
        np.testing.assert_allclose(shown(encoded(image, form, exif=exif)), upright, atol=4)

    def test_broken_xmp_does_no_harm(self, shown) -> None:
        text = b'<x:xmpmeta tiff:Orientation="nine"'
        image = Image.fromarray(PICTURE)
        np.testing.assert_array_equal(
            shown(encoded(image, "WEBP", xmp=text, lossless=True)), PICTURE
        )

    def test_deep_pictures_are_turned(self, shown) -> None:
        exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
        turned = np.rot90(DEEP)
        for content in (
            png(0, turned, chunks=chunk(b"eXIf", exif)),
            png(2, turned, turned, turned, chunks=chunk(b"eXIf", exif)),
        ):
            np.testing.assert_array_equal(shown(content), PICTURE)


class TestPreviews:
    @pytest.mark.parametrize("number", [1, 2])
    def test_smaller_pictures_of_a_camera_are_passed_over(self, number: int, shown) -> None:
        large = Image.fromarray(np.tile(np.arange(0, 256, 4, np.uint8), (48, 1)))
        small = [large.resize((16, 12))] * number
        content = encoded(large, "MPO", save_all=True, append_images=small, quality=95)
        np.testing.assert_allclose(shown(content), np.asarray(large), atol=4)

    def test_a_lost_preview_is_not_missed(self, shown) -> None:
        large = Image.fromarray(np.tile(np.arange(0, 256, 4, np.uint8), (48, 1)))
        content = encoded(large, "MPO", save_all=True, append_images=[large.resize((16, 12))])
        content = content[: content.rindex(b"\xff\xd8\xff")]
        np.testing.assert_allclose(shown(content), np.asarray(large), atol=20)

    def test_pictures_of_one_size_are_several_frames(self, tmp_path: Path) -> None:
        image = Image.new("L", (20, 10))
        path = tmp_path / "pair.jpg"
        path.write_bytes(encoded(image, "MPO", save_all=True, append_images=[image]))
        with pytest.raises(InvalidFileError, match="contains several frames"):
            read_image(path)

"""to_grayscale: what each mode becomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from covidct.datasets.gray import to_gray, to_grayscale

MODES = [
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"),
    *("CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"),
]


def gray(image: Image.Image) -> list[list[int]]:
    result = to_grayscale(image)
    assert result.mode == "L"
    assert result.size == image.size
    return np.asarray(result).tolist()


def luma(red: int, green: int, blue: int) -> int:
    """ITU-R BT.601, with PIL's 16-bit fixed-point weights."""
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_gray_and_stays_as_it_was(mode: str) -> None:
    image = Image.new(mode, (3, 2))
    before = image.copy()
    once = to_grayscale(image)
    assert once.mode == "L"
    assert once.size == (3, 2)
    assert to_grayscale(once) == once
    assert image == before


def test_gray_is_copied() -> None:
    image = Image.new("L", (2, 1), 7)
    result = to_grayscale(image)
    result.putpixel((0, 0), 200)
    assert image.getpixel((0, 0)) == 7


def test_one_bit() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((0, 0), 1)
    assert gray(image) == [[255, 0]]


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 200, 99)])
def test_color_is_luma(color: tuple[int, int, int]) -> None:
    assert gray(Image.new("RGB", (1, 1), color)) == [[luma(*color)]]
    assert gray(Image.new("RGBX", (1, 1), (*color, 3))) == [[luma(*color)]]


def test_palette() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert gray(image) == [[luma(10, 20, 30), luma(200, 100, 50)]]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB"])
@pytest.mark.parametrize("level", [0, 77, 255])
def test_gray_in_another_color_space_keeps_its_level(mode: str, level: int) -> None:
    color = Image.new("RGB", (1, 1), (level,) * 3)
    if mode == "LAB":
        from PIL import ImageCms

        rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(color, rgb, lab, outputMode="LAB")
    else:
        image = color.convert(mode)
    assert abs(gray(image)[0][0] - level) <= 1


class TestTransparency:
    def test_alpha_lies_on_black(self) -> None:
        color = (200, 100, 50)
        for alpha in (0, 1, 128, 255):
            expected = luma(*color) * alpha / 255
            assert abs(gray(Image.new("RGBA", (1, 1), (*color, alpha)))[0][0] - expected) <= 1
            assert abs(gray(Image.new("LA", (1, 1), (90, alpha)))[0][0] - 90 * alpha / 255) <= 1

    def test_premultiplied_alpha(self) -> None:
        assert abs(gray(Image.new("RGBa", (1, 1), (60, 60, 60, 128)))[0][0] - 60) <= 1
        assert abs(gray(Image.new("La", (1, 1), (60, 128)))[0][0] - 60) <= 1

    def test_transparent_palette_entry(self) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([255, 255, 255, 100, 100, 100])
        image.putpixel((1, 0), 1)
        image.info["transparency"] = 0
        assert gray(image) == [[0, 100]]
        image.info["transparency"] = bytes([128, 255])
        assert gray(image) == [[128, 100]]

    def test_palette_with_alpha(self) -> None:
        image = Image.new("P", (1, 1))
        image.putpalette([100, 100, 100, 0], "RGBA")
        assert gray(image) == [[0]]

    def test_color_that_stands_for_transparent(self) -> None:
        image = Image.new("RGB", (2, 1), (255, 255, 255))
        image.putpixel((1, 0), (9, 9, 9))
        image.info["transparency"] = (255, 255, 255)
        assert gray(image) == [[0, 9]]

    @pytest.mark.parametrize(("mode", "opaque"), [("L", 9), ("1", 0)])
    def test_gray_that_stands_for_transparent(self, mode: str, opaque: int) -> None:
        image = Image.new(mode, (2, 1), 255)
        image.putpixel((1, 0), opaque)
        image.info["transparency"] = 255
        assert gray(image) == [[0, opaque]]

    def test_sixteen_bits(self) -> None:
        image = Image.fromarray(np.array([[65535, 1000, 3000]], np.uint16))
        image.info["transparency"] = 65535
        assert gray(image) == [[0, 0, 255]]

    def test_the_result_has_none_left(self) -> None:
        image = Image.new("L", (1, 1), 200)
        image.info["transparency"] = 3
        result = to_grayscale(image)
        assert not result.has_transparency_data
        assert result.convert("RGBA").getpixel((0, 0)) == (200, 200, 200, 255)


class TestDeepModes:
    @pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int32, np.float32])
    def test_own_range_is_stretched(self, dtype: object) -> None:
        image = Image.fromarray(np.array([[1000, 1255, 1510]], dtype))
        assert image.mode in {"I;16", "I;16B", "I", "F"}
        assert gray(image) == [[0, 128, 255]]

    @pytest.mark.parametrize("window", ["lung", "range", (40, 400)])
    def test_hounsfield_units_go_through_the_window(self, window: object) -> None:
        units = np.random.default_rng(0).choice([-900, -700, 40, 300], (16, 16))
        for offset, dtype in ((1024, np.uint16), (0, np.int32), (0, np.float32)):
            image = Image.fromarray((units + offset).astype(dtype))
            expected = to_gray(units, window, hounsfield=True)
            np.testing.assert_array_equal(to_grayscale(image, window=window), expected)
            if dtype == np.uint16:
                image.info["transparency"] = 65535  # of no pixel
                np.testing.assert_array_equal(to_grayscale(image, window=window), expected)

    @pytest.mark.parametrize("value", [0, 7, 60000])
    def test_constant_is_black(self, value: int) -> None:
        for dtype in (np.uint16, np.int32, np.float32):
            assert gray(Image.fromarray(np.full((1, 2), value, dtype))) == [[0, 0]]

    def test_negative_integers(self) -> None:
        extremes = np.array([[-(2**31), 0, 2**31 - 1]], np.int32)
        assert gray(Image.fromarray(extremes)) == [[0, 128, 255]]

    def test_what_is_not_finite(self) -> None:
        pixels = np.array([[np.nan, -np.inf, -3, 1, np.inf]], np.float32)
        assert gray(Image.fromarray(pixels)) == [[0, 0, 0, 255, 255]]

    def test_nothing_finite(self) -> None:
        pixels = np.array([[np.nan, -np.inf, np.inf]], np.float32)
        assert gray(Image.fromarray(pixels)) == [[0, 0, 255]]

    def test_widest_range(self) -> None:
        largest = np.finfo(np.float32).max
        pixels = np.array([[-largest, 0, largest]], np.float32)
        assert gray(Image.fromarray(pixels)) == [[0, 128, 255]]

    def test_smallest_range(self) -> None:
        tiny = np.finfo(np.float32).smallest_subnormal
        assert gray(Image.fromarray(np.array([[0, tiny]], np.float32))) == [[0, 255]]

    @settings(deadline=None, max_examples=50)
    @given(
        hnp.arrays(
            np.float32, (2, 5), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)
        )
    )
    def test_order_is_kept(self, pixels: np.ndarray) -> None:
        levels = np.array(gray(Image.fromarray(pixels)))
        known = ~np.isnan(pixels)
        order = np.argsort(pixels[known], kind="stable")
        assert (np.diff(levels[known][order]) >= 0).all()
        assert not levels[~known].any()

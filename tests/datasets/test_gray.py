from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
from PIL import Image

from covidct.datasets import gray as gray_module
from covidct.datasets.gray import LUNG, Window, as_hounsfield, as_window, luma, over_black, to_gray

SHAPE = (40, 50)
#: A slice in Hounsfield units: air, lung, fat, tissue and bone.
UNITS = np.random.default_rng(0).choice(
    [-1000.0, -850, -700, -90, 40, 60, 300], SHAPE, p=[0.3, 0.2, 0.1, 0.1, 0.15, 0.1, 0.05]
)
SHOWN = LUNG.show(UNITS)


def test_the_linear_window_ends_where_dicom_says() -> None:
    # PS3.3 C.11.2.1.2.1 for center 0 and width 100: black to -50, white from above 49.
    gray = Window(0, 100).show([-1000, -50, -49, -0.5, 48, 49, 1000])
    assert gray.tolist() == [0, 0, 3, 128, 252, 255, 255]


def test_a_window_of_width_one_is_a_threshold() -> None:
    assert Window(0, 1).show([-2, -1, 0, 1]).tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("shape", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_every_shape_rises_around_its_level(shape: str) -> None:
    gray = Window(-600, 1500, shape).show(np.arange(-3000, 3000)).astype(int)
    assert (np.diff(gray) >= 0).all()
    assert gray[0] <= 1
    assert gray[-1] >= 254
    assert abs(gray[2400] - 127.5) < 1


@pytest.mark.parametrize(
    ("shape", "quarters"),
    [
        ("LINEAR_EXACT", [0, 0, 0.25, 0.5, 0.75, 1, 1]),
        # The logistic function of -3, -2, ..., 3.
        ("SIGMOID", [0.047426, 0.119203, 0.268941, 0.5, 0.731059, 0.880797, 0.952574]),
    ],
)
def test_the_other_shapes_follow_their_equations(shape: str, quarters: list[float]) -> None:
    values = 40 + 400 * np.arange(-3, 4) / 4
    expected = np.rint(255 * np.array(quarters))
    np.testing.assert_array_equal(Window(40, 400, shape).show(values), expected)


@pytest.mark.parametrize(
    ("window", "valid"),
    [
        (Window(0, 1), True),
        (Window(0, 0.9), False),
        (Window(0, 0.9, "SIGMOID"), True),
        (Window(0, 0, "LINEAR_EXACT"), False),
        (Window(0, -5, "SIGMOID"), False),
        (Window(np.nan, 10), False),
        (Window(0, np.inf), False),
        (Window(0, 10, "CUBIC"), False),
    ],
)
def test_what_dicom_allows(window: Window, valid: bool) -> None:
    assert window.is_valid is valid


def test_choices() -> None:
    assert as_window("lung") == LUNG == (-600, 1500, "LINEAR")
    assert as_window("file") == "file"
    assert as_window("range") == "range"
    assert as_window((40, 400)) == Window(40.0, 400.0)
    with pytest.raises(ValueError, match=r"window must be .lung., .range., .file."):
        as_window("bone")


def test_nan_is_black_in_every_window() -> None:
    for shape in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        shown = Window(-600, 1500, shape).show([np.nan, -np.inf, np.inf])
        assert shown.tolist() == [0, 0, 255]


def test_extreme_values_are_black_or_white_without_a_warning() -> None:
    for shape in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shown = Window(-600, 10, shape).show([-1e300, -3e38, 3e38, 1e300])
        assert shown.tolist() == [0, 0, 255, 255]


class TestHounsfieldUnits:
    @pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "f2", "f4", "f8", ">i2", ">f8"])
    def test_plain_ones_are_recognized(self, dtype: str) -> None:
        units = as_hounsfield(UNITS.astype(dtype))
        assert units.dtype == np.float32
        np.testing.assert_array_equal(units, UNITS)

    @pytest.mark.parametrize("offset", [1024, 32768])
    @pytest.mark.parametrize("dtype", ["u2", "u4", "i4", "u8", "f4", ">u2"])
    def test_usual_offsets_are_recognized(self, offset: int, dtype: str) -> None:
        np.testing.assert_array_equal(as_hounsfield((UNITS + offset).astype(dtype)), UNITS)

    @pytest.mark.parametrize("order", "<>")
    def test_signed_values_saved_as_unsigned_are_recognized(self, order: str) -> None:
        values = UNITS.astype(np.int16).view(np.uint16).astype(f"{order}u2")
        units = as_hounsfield(values)
        np.testing.assert_array_equal(units, UNITS)
        assert units.dtype == np.float32

    @pytest.mark.parametrize("padding", [-2000, -3024, -32768, -2048, -1350])
    def test_padding_outside_the_field_of_view(self, padding: int) -> None:
        values = UNITS.astype(np.int16)
        values[:, :15] = padding
        np.testing.assert_array_equal(as_hounsfield(values), values)
        assert not to_gray(values)[:, :15].any()
        np.testing.assert_array_equal(to_gray(values)[:, 15:], SHOWN[:, 15:])

    @pytest.mark.parametrize("offset", [0, 1024, 32768])
    def test_a_few_pixels_of_metal_change_nothing(self, offset: int) -> None:
        values = UNITS + offset
        values[:3, :3] = 30_000 + offset
        gray = to_gray(values.astype(np.uint16 if offset else np.int16))
        np.testing.assert_array_equal(gray[3:], SHOWN[3:])
        assert (gray[:3, :3] == 255).all()

    def test_clipped_units_are_recognized(self) -> None:
        for low, high in ((-1350, 150), (-1000, 400), (-1024, 3071)):
            values = UNITS.clip(low, high)
            np.testing.assert_array_equal(as_hounsfield(values + 1024), values)

    @pytest.mark.parametrize(
        ("level", "width"), [(-600, 1500), (-500, 1400), (40, 400), (-600, 1200), (300, 2000)]
    )
    @pytest.mark.parametrize("bits", range(9, 17))
    def test_windowed_pictures_are_not(self, level: float, width: float, bits: int) -> None:
        if bits == 11 and level > 0:
            pytest.skip("ambiguous, as documented")
        part = ((UNITS - level) / width + 0.5).clip(0, 1)
        assert as_hounsfield(np.rint(part * (2**bits - 1)).astype(np.uint16)) is None
        assert as_hounsfield(part) is None
        assert as_hounsfield(part * 2 - 1) is None

    @pytest.mark.parametrize(
        ("pixels", "accepted"),
        [
            ({}, True),
            # 95 % from -1500 to 800, or at the lowest value.
            ({801: 500}, True),
            ({801: 501}, False),
            ({800: 501}, True),
            ({-1501: 501, -2000: 1}, False),
            ({-1500: 501, -2000: 1}, True),
            ({-2000: 501}, True),
            # 2 % of air, up to -400, that is not at the lowest value, and a tenth of all air.
            ({-900: -1400, -700: -1300, 40: 2700}, True),
            ({-900: -1400, -700: -1301, 40: 2701}, False),
            ({-900: -1400, -700: -1500, -400: 200, 40: 2700}, True),
            ({-900: -1400, -700: -1500, -399: 200, 40: 2700}, False),
            ({-900: 3000, -700: -1500, -400: 500}, True),
            ({-900: 3000, -700: -1500, -400: 460}, False),
            ({-900: 3000, -700: -1000, 40: -2000}, True),
            ({-900: 3000, -700: -1001, 40: -1999}, False),
            # 2 % from -250 to 250.
            ({40: -6900, 250: 200, -300: 6700}, True),
            ({40: -6900, 250: 199, -300: 6701}, False),
            ({40: -6900, 251: 200, -300: 6700}, False),
            ({40: -6900, -250: 200, -300: 6700}, True),
            ({40: -6900, -251: 200, -300: 6700}, False),
            # 0.5 % above 20.
            ({40: -6850, 300: -100, 0: 6950}, True),
            ({40: -6851, 300: -100, 0: 6951}, False),
            ({40: -6900, 300: -100, 21: 50, 0: 6950}, True),
            ({40: -6900, 300: -100, 20: 50, 0: 6950}, False),
        ],
    )
    def test_limits_of_the_rule(self, pixels: dict[int, int], accepted: bool) -> None:
        """A chest of 10,000 pixels, of which some are exchanged for other values."""
        counts = {-900: 1500, -700: 1500, 40: 6900, 300: 100}
        for value, count in pixels.items():
            counts[value] = counts.get(value, 0) + count
        counts[40] -= sum(counts.values()) - 10_000
        values = np.repeat(list(counts), list(counts.values())).astype(np.int16)
        assert len(values) == 10_000
        assert (as_hounsfield(values) is not None) is accepted

    def test_64_values_are_enough(self) -> None:
        values = np.tile(np.array([-900, -700, 40, 300], np.int16), 16)
        assert as_hounsfield(values) is not None
        assert as_hounsfield(values[:63]) is None
        many = np.r_[values.astype(np.float32), np.full(9, np.nan, np.float32)]
        np.testing.assert_array_equal(as_hounsfield(many), many)

    def test_every_column_of_a_large_slice_is_looked_at(self) -> None:
        values = np.full((512, 512), 3000, np.int16)
        values[:, ::2] = np.tile(np.array([-900, -700, 40, 300], np.int16), 64)
        assert as_hounsfield(values) is None  # half of it is beyond the range
        values[:, 1::2] = 40
        assert as_hounsfield(values) is not None

    def test_other_values_are_not(self) -> None:
        rng = np.random.default_rng(0)
        assert as_hounsfield(rng.normal(size=SHAPE)) is None
        assert as_hounsfield(rng.integers(0, 2**16, SHAPE)) is None
        assert as_hounsfield(np.zeros(SHAPE)) is None
        assert as_hounsfield(np.full(SHAPE, np.nan)) is None
        assert as_hounsfield(np.full(SHAPE, -1000.0)) is None
        assert as_hounsfield(UNITS[:1]) is None  # too few
        assert as_hounsfield(np.zeros(SHAPE, np.int8)) is None
        assert as_hounsfield(np.zeros(SHAPE, np.bool_)) is None
        assert as_hounsfield(np.empty(0)) is None

    def test_what_was_recognized_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        gray_module._log_recognized.cache_clear()
        gray_module._log_unknown.cache_clear()
        with caplog.at_level(logging.WARNING, "covidct"):
            for _ in range(3):
                to_gray((UNITS + 1024).astype(np.uint16))
                to_gray(np.arange(0, 60_000, 100))
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 2
        assert "uint16 values were recognized as Hounsfield units + 1024" in messages[0]
        assert "int64 values of an unknown unit are scaled over the robust range" in messages[1]


class TestWindows:
    def test_a_window_of_ones_own(self) -> None:
        expected = Window(40, 400).show(UNITS)
        np.testing.assert_array_equal(to_gray(UNITS, (40, 400)), expected)
        np.testing.assert_array_equal(to_gray(UNITS + 1024, [40, 400]), expected)

    def test_that_of_the_file(self) -> None:
        own = Window(-300, 900, "SIGMOID")
        np.testing.assert_array_equal(to_gray(UNITS, "file", own=own), own.show(UNITS))
        np.testing.assert_array_equal(to_gray(UNITS, "file"), to_gray(UNITS, "range"))

    def test_the_range_of_units_ends_at_air(self) -> None:
        values = UNITS.copy()
        values[:, :15] = -3024
        np.testing.assert_array_equal(
            to_gray(values, "range"), to_gray(values.clip(-1024), "range")
        )
        gray = to_gray(UNITS, "range")
        assert (gray.min(), gray.max()) == (0, 255)

    def test_known_units_need_not_look_like_them(self) -> None:
        assert to_gray([-1350, -600, 5000], hounsfield=True).tolist() == [0, 128, 255]
        assert to_gray(np.array([0, 200], np.uint8), hounsfield=True).tolist() == [230, 255]

    def test_known_others_are_scaled(self) -> None:
        np.testing.assert_array_equal(
            to_gray(UNITS, hounsfield=False), to_gray(UNITS + 4000, "range")
        )

    @pytest.mark.parametrize("window", ["bone", (40,), (1, 2, 3), ("a", "b"), None, (40, 0.5)])
    def test_unknown_ones_are_refused(self, window: object) -> None:
        with pytest.raises(ValueError, match="window must be"):
            to_gray(np.zeros((2, 2), np.uint8), window)

    def test_values_must_be_real_numbers(self) -> None:
        for values in (np.array(["a"]), np.array([1j]), np.array([None])):
            with pytest.raises(TypeError, match="must be real numbers"):
                to_gray(values)


class TestOtherValues:
    def test_8_bit_pictures_are_kept(self) -> None:
        picture = np.arange(0, 256, 3).astype(np.uint8)
        assert to_gray(picture) is not picture
        for dtype in ("u1", "u2", "u4", "u8", "i2", "i4", "i8", "f2", "f4", "f8"):
            np.testing.assert_array_equal(to_gray(picture.astype(dtype)), picture)
        np.testing.assert_array_equal(to_gray(picture.astype(np.uint16) * 257), picture)
        np.testing.assert_array_equal(to_gray(picture.astype(np.uint16) * 256), picture)
        shown = to_gray(np.array([True, False]))
        assert (shown.dtype, shown.tolist()) == (np.uint8, [255, 0])

    @pytest.mark.parametrize(
        ("highest", "factor", "kept"),
        [
            *[(127, 1, False), (128, 1, True), (255, 1, True), (256, 1, False)],
            *[(127, 257, False), (128, 257, True), (255, 257, True), (256, 257, False)],
            *[(127, 256, False), (128, 256, True), (255, 256, True), (256, 256, False)],
        ],
    )
    def test_brightest_value_of_an_8_bit_picture(
        self, highest: int, factor: int, kept: bool
    ) -> None:
        picture = np.array([5, 6, 7, 50, highest])
        gray = to_gray((picture * factor).astype(np.uint32))
        assert gray.dtype == np.uint8
        assert (gray.tolist() == picture.tolist()) is kept
        assert kept or (gray[0], gray[-1]) == (0, 255)

    def test_one_value_between_the_widened_bytes_tells_16_bits(self) -> None:
        values = np.array([0, 257, 514, 40_000, 65_535], np.uint16)
        expected = np.rint(values / 257)
        np.testing.assert_array_equal(to_gray(values), expected)
        assert to_gray(np.array([0, 257, 65_536], np.uint32)).tolist() == [0, 1, 255]
        assert to_gray(np.array([0, 257, 128 * 257], np.int32)).tolist() == [0, 2, 255]

    @pytest.mark.parametrize("size", [1, 2, 99, 100, 101, 199, 200, 1000])
    @pytest.mark.parametrize("unit", [1, 1e-3])
    def test_the_robust_range_by_its_definition(self, size: int, unit: float) -> None:
        """Least to greatest value, but no more than a quarter of the middle beyond its ends."""
        values = unit * (np.random.default_rng(size).standard_cauchy(size) - 1000)
        ordered, k = sorted(values), size // 100
        quarter = (ordered[size - 1 - k] - ordered[k]) / 4
        low = max(ordered[0], ordered[k] - quarter)
        high = min(ordered[-1], ordered[size - 1 - k] + quarter)
        share = (values - low) / (high - low) if high > low else np.zeros(size)
        expected = np.rint(255 * np.clip(share, 0, 1))
        np.testing.assert_array_equal(to_gray(values, hounsfield=False), expected)

    def test_what_is_not_finite_takes_no_part_in_the_range(self) -> None:
        values = np.array([-500.0, np.nan, 0, 500, np.inf, -np.inf])
        assert to_gray(values, hounsfield=False).tolist() == [0, 0, 128, 255, 255, 0]
        assert to_gray(np.array([np.nan, -7.0, np.inf])).tolist() == [0, 0, 255]
        assert to_gray(np.array([np.nan, np.inf, -np.inf])).tolist() == [0, 255, 0]

    def test_a_range_without_outliers_is_used_in_full(self) -> None:
        assert to_gray(np.arange(1000, 2021)).tolist() == np.rint(np.arange(1021) / 4).tolist()

    @pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
    @pytest.mark.parametrize("outlier", ["metal", "padding", "both"])
    def test_few_outliers_do_not_squash_the_rest(self, dtype: str, outlier: str) -> None:
        values = np.random.default_rng(0).integers(20_000, 22_000, SHAPE)
        if outlier != "padding":
            values[0, :10] = 65_535
        if outlier != "metal":
            values[1, :10] = 0
        gray = to_gray(values.astype(dtype))
        spread = int(gray[2:].max()) - int(gray[2:].min())
        assert spread >= 255 / 1.5
        assert (np.diff(gray[2:].ravel()[np.argsort(values[2:], axis=None)].astype(int)) >= 0).all()

    def test_a_small_object_on_an_even_ground_is_seen(self) -> None:
        values = np.full(SHAPE, 7000, np.uint16)
        values[5, 5:8] = 9000
        gray = to_gray(values)
        assert (gray[5, 5:8] == 255).all()
        assert np.count_nonzero(gray) == 3

    def test_64_bits(self) -> None:
        assert to_gray(np.array([0, 2**63, 2**64 - 1], np.uint64)).tolist() == [0, 128, 255]
        assert to_gray(np.array([-(2**63), 0, 2**63 - 1])).tolist() == [0, 128, 255]
        assert to_gray(np.array([-1e308, 0, 1e308])).tolist() == [0, 128, 255]
        assert to_gray(np.array([1e300, np.nan, 1e39]), hounsfield=True).tolist() == [255, 0, 255]

    def test_volumes_keep_their_shape(self) -> None:
        volume = np.stack([UNITS, UNITS - 5, UNITS])
        np.testing.assert_array_equal(to_gray(volume)[0], SHOWN)
        assert to_gray(np.float64(3)).shape == ()
        assert to_gray(np.empty((0, 4))).shape == (0, 4)


def test_luma_keeps_gray_exactly_and_the_type() -> None:
    gray = np.arange(0, 65536, 7, dtype=np.uint16)
    for dtype in ("u1", "u2", "i2", "u4", "i4", "u8", "f4"):
        values = gray.astype(dtype)
        result = luma(np.stack([values] * 3, -1))
        np.testing.assert_array_equal(result, values)
        assert dtype in ("u8", "f4") or result.dtype == values.dtype
    assert luma(np.array([60_000, 0, 0], np.uint16)) == round(60_000 * 0.299)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4"])
def test_luma_of_colors_is_that_of_pil(dtype: str) -> None:
    color = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(color).convert("L"))
    np.testing.assert_array_equal(luma(color.astype(dtype)), expected)
    # The weighted sum of the first ends just below a half, that of the second just above.
    edges = np.array([[(0, 62, 229)], [(0, 52, 184)]], np.uint8)
    expected = np.asarray(Image.fromarray(edges).convert("L"))
    np.testing.assert_array_equal(luma(edges.astype(dtype)), expected)


def test_luma_of_floats_has_the_weights_of_bt_601() -> None:
    np.testing.assert_allclose(luma(np.eye(3)), [0.299, 0.587, 0.114], rtol=1e-12)
    assert luma(np.array([[2**60, 0, 0]], np.uint64))[0] == pytest.approx(0.299 * 2**60)


def test_transparency_is_laid_over_black() -> None:
    values = UNITS.astype(np.int16)
    alpha = np.ones(SHAPE)
    alpha[:, 20:30], alpha[:, 30:] = 0.5, 0
    values[:, 30:] = 30_000  # unseen, so that it takes no part in the choice of the scale
    gray = over_black(values, alpha, "lung")
    np.testing.assert_array_equal(gray[:, :20], SHOWN[:, :20])
    np.testing.assert_array_equal(gray[:, 20:30], np.rint(SHOWN[:, 20:30] * np.float32(0.5)))
    assert not gray[:, 30:].any()
    assert not over_black(values, np.zeros(SHAPE), "lung").any()
    shown = over_black(values, alpha == 1, (40, 400))
    np.testing.assert_array_equal(shown[:, :20], to_gray(values[:, :20], (40, 400)))

"""TIFF files of all sample formats become the right gray."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from covidct.datasets.gray import to_gray
from covidct.datasets.reading import image_format, read_image
from covidct.errors import InvalidFileError

SHAPE = (13, 18)
#: An 8-bit picture that uses its full range, and Hounsfield units of a slice.
PICTURE = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
PICTURE[0, :2] = 0, 255
UNITS = np.random.default_rng(1).choice([-1000.0, -850, -90, 40, 300], SHAPE)
LUNG = to_gray(UNITS, hounsfield=True)

_PREDICTOR = 317


def tiff(
    values: np.ndarray,
    *,
    order: str = "<",
    photometric: int = 1,
    compression: int = 1,
    predictor: int = 1,
    rows: int | None = None,
    tile: tuple[int, int] | None = None,
    planar: bool = False,
    big: bool = False,
    packed: int | None = None,
    extra: dict[int, list[int]] | None = None,
) -> bytes:
    """Write a TIFF file; an independent writer, since PIL knows few sample formats."""
    if values.ndim == 2:
        values = values[..., None]
    height, width, channels = values.shape
    values = values.astype(values.dtype.newbyteorder(order))
    depth = packed or values.dtype.itemsize * 8
    planes = [values[..., k : k + 1] for k in range(channels)] if planar else [values]
    blocks = []
    for plane in planes:
        if tile:
            for top, left in itertools.product(range(0, height, tile[0]), range(0, width, tile[1])):
                block = np.zeros((*tile, plane.shape[-1]), values.dtype)
                part = plane[top : top + tile[0], left : left + tile[1]]
                block[: part.shape[0], : part.shape[1]] = part
                blocks.append(block)
        else:
            step = rows or height
            blocks += [plane[top : top + step] for top in range(0, height, step)]
    data = [_compressed(_predicted(block, predictor), compression, packed) for block in blocks]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags: dict[int, list[int]] = {
        256: [width],
        257: [height],
        258: [depth] * channels,
        259: [compression],
        262: [photometric],
        277: [channels],
        284: [2 if planar else 1],
        _PREDICTOR: [predictor],
        339: [kind] * channels,
    }
    if tile:
        tags |= {322: [tile[1]], 323: [tile[0]]}
    else:
        tags[278] = [rows or height]
    tags |= extra or {}
    out = io.BytesIO()
    out.write(bytes(16 if big else 8))
    places = []
    for block in data:
        places.append(out.tell())
        out.write(block)
        out.write(bytes(out.tell() % 2))
    tags |= {324: places, 325: [len(b) for b in data]} if tile else {}
    tags |= {} if tile else {273: places, 279: [len(b) for b in data]}
    word, entry, count = ("Q", "HHQ", "Q") if big else ("I", "HHI", "H")
    size = 8 if big else 4
    entries = b""
    for tag, items in sorted(tags.items()):
        field = struct.pack(f"{order}{len(items)}I", *items)
        if len(field) > size:
            place = out.tell()
            out.write(field)
            field = struct.pack(order + word, place)
        entries += struct.pack(order + entry, tag, 4, len(items)) + field.ljust(size, b"\0")
    place = out.tell()
    out.write(struct.pack(order + count, len(tags)) + entries + bytes(size))
    out.seek(0)
    magic = b"II" if order == "<" else b"MM"
    if big:
        out.write(magic + struct.pack(order + "HHHQ", 43, 8, 0, place))
    else:
        out.write(magic + struct.pack(order + "HI", 42, place))
    return out.getvalue()


def _predicted(block: np.ndarray, predictor: int) -> np.ndarray:
    whole = np.dtype(f"u{block.dtype.itemsize}").newbyteorder(block.dtype.byteorder)
    if predictor == 2:
        numbers = np.ascontiguousarray(block).view(whole).astype(whole.newbyteorder("="))
        numbers[:, 1:] -= numbers[:, :-1].copy()
        return numbers.astype(whole)
    if predictor == 3:
        height, width, channels = block.shape
        most_significant_first = block.astype(block.dtype.newbyteorder(">"))
        planes = most_significant_first.reshape(height, -1).view(np.uint8)
        planes = planes.reshape(height, width * channels, -1).transpose(0, 2, 1)
        planes = planes.reshape(height, -1, channels).copy()
        planes[:, 1:] -= planes[:, :-1].copy()
        return planes
    return block


def _compressed(block: np.ndarray, compression: int, packed: int | None) -> bytes:
    data = block.tobytes()
    if packed:
        shifts = np.arange(packed - 1, -1, -1)
        data = b"".join(
            np.packbits((row.astype(int)[:, None] >> shifts & 1).astype(np.uint8)).tobytes()
            for row in block.reshape(len(block), -1)
        )
    if compression in (8, 32946):
        return zlib.compress(data)
    if compression == 32773:  # PackBits without runs
        parts = (data[i : i + 128] for i in range(0, len(data), 128))
        return b"".join(bytes([len(part) - 1]) + part for part in parts)
    if compression == 5:  # LZW, with PIL as the encoder of single bytes
        buffer = io.BytesIO()
        Image.frombytes("L", (len(data), 1), data).save(
            buffer, "TIFF", compression="tiff_lzw", tiffinfo={278: 1}
        )
        buffer.seek(0)
        with Image.open(buffer) as image:
            start, length = image.tag_v2[273][0], image.tag_v2[279][0]
        return buffer.getvalue()[start : start + length]
    return data


@pytest.fixture
def shown(tmp_path: Path) -> Callable[..., np.ndarray]:
    def read(content: bytes, **options: Any) -> np.ndarray:
        path = tmp_path / "slice.tif"
        path.write_bytes(content)
        image = read_image(path, **options)
        assert image.mode == "L"
        return np.asarray(image)

    return read


DTYPES = ("u2", "u4", "u8", "i2", "i4", "i8", "f2", "f4", "f8")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_8_bit_picture_in_deeper_samples_is_kept(dtype: str, order: str, shown) -> None:
    values = PICTURE.astype(dtype)
    np.testing.assert_array_equal(shown(tiff(values, order=order)), PICTURE)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("dtype", "offset"),
    [
        *((dtype, 0) for dtype in ("i2", "i4", "i8", "f2", "f4", "f8")),
        *((dtype, 1024) for dtype in ("u2", "u4", "u8", "i2", "i4", "f4")),
        *(("u2", 32768), ("u4", 32768)),
    ],
)
def test_hounsfield_units_go_through_the_window(dtype: str, offset: int, order: str, shown) -> None:
    content = tiff((UNITS + offset).astype(dtype), order=order)
    np.testing.assert_array_equal(shown(content), LUNG)
    expected = to_gray(UNITS, (40, 400), hounsfield=True)
    np.testing.assert_array_equal(shown(content, window=(40, 400)), expected)


@pytest.mark.parametrize("depth", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("photometric", [0, 1])
def test_packed_samples(depth: int, photometric: int, shown) -> None:
    highest = 2**depth - 1
    values = np.rint(PICTURE / 255 * highest).astype(np.uint16)
    stored = highest - values if photometric == 0 else values
    gray = shown(tiff(stored, packed=depth, photometric=photometric))
    np.testing.assert_allclose(gray, PICTURE, atol=1)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_white_may_be_zero(dtype: str, order: str, shown) -> None:
    kind = np.dtype(dtype)
    if kind.kind == "u":
        values = PICTURE.astype(kind) * (257 if kind.itemsize == 2 else 1)
        stored = np.iinfo(kind).max - values
    elif kind.kind == "i":
        stored = ~(PICTURE.astype(int) // 2).astype(kind)
    else:
        stored = 255 - PICTURE.astype(kind)
    gray = shown(tiff(stored, order=order, photometric=0)).astype(float)
    assert np.corrcoef(gray.ravel(), PICTURE.ravel())[0, 1] > 0.99
    assert gray.min() == 0
    assert gray.max() == 255
    if kind.kind != "i":
        np.testing.assert_array_equal(gray, PICTURE)


COMPRESSIONS = [1, 5, 8, 32946, 32773]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("layout", ["strip", "strips", "tiles"])
@pytest.mark.parametrize(
    ("dtype", "predictor"), [("i2", 1), ("i2", 2), ("f4", 2), ("f4", 3), ("f8", 3), ("f2", 3)]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_compressions_predictors_and_layouts(
    compression: int, layout: str, dtype: str, predictor: int, order: str, shown
) -> None:
    if compression in (1, 32773):
        predictor = 1  # these know none
    options: dict[str, Any] = {"strips": {"rows": 5}, "tiles": {"tile": (16, 16)}}.get(layout, {})
    content = tiff(
        UNITS.astype(dtype), compression=compression, predictor=predictor, order=order, **options
    )
    np.testing.assert_array_equal(shown(content), LUNG)


@pytest.mark.parametrize("planar", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("layout", [{}, {"rows": 4}, {"tile": (16, 16)}])
def test_deep_color_keeps_its_low_byte(
    planar: bool, order: str, predictor: int, layout: dict[str, Any], shown
) -> None:
    values = np.stack([(UNITS + 1024).astype(np.uint16)] * 3, -1)
    options = {"compression": 8, "predictor": predictor, **layout}
    content = tiff(values, photometric=2, planar=planar, order=order, **options)
    np.testing.assert_array_equal(shown(content), LUNG)


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("colors", [1, 3])
def test_a_channel_more_may_be_opacity(extra: int, colors: int, shown) -> None:
    alpha = np.full(SHAPE, 65535, np.uint16)
    alpha[3] = 0
    alpha[4] = 32768
    channels = [PICTURE.astype(np.uint16) * 257] * colors
    if extra == 1:
        channels = [np.rint(c * (alpha / 65535)).astype(np.uint16) for c in channels]
    content = tiff(
        np.stack([*channels, alpha], -1), photometric=2 if colors == 3 else 1, extra={338: [extra]}
    )
    expected = PICTURE.astype(float)
    if extra:
        expected *= alpha / 65535
    np.testing.assert_allclose(shown(content), expected, atol=1 if extra else 0)


def test_a_palette_of_16_bits(shown) -> None:
    palette = np.zeros(2**16, np.uint16)
    palette[:256] = np.arange(256) * 257
    content = tiff(PICTURE.astype(np.uint16), photometric=3, extra={320: [*map(int, palette)] * 3})
    np.testing.assert_array_equal(shown(content), PICTURE)


def test_big_tiff(shown) -> None:
    np.testing.assert_array_equal(shown(tiff(UNITS, big=True, rows=5)), LUNG)
    with pytest.raises(InvalidFileError, match="is a big-endian BigTIFF"):
        shown(tiff(UNITS, big=True, order=">"))


def test_orientation_is_applied(shown) -> None:
    content = tiff(np.rot90(UNITS), extra={274: [6]})
    np.testing.assert_array_equal(shown(content), LUNG)


def test_missing_lengths_of_strips(shown) -> None:
    content = tiff(UNITS, rows=5).replace(struct.pack("<HH", 279, 4), struct.pack("<HH", 65000, 4))
    np.testing.assert_array_equal(shown(content), LUNG)


def test_not_finite_values_of_hounsfield_units(shown) -> None:
    values = UNITS.copy()
    values[2, :3] = np.nan, np.inf, -np.inf
    gray = shown(tiff(values))
    assert gray[2, :3].tolist() == [0, 255, 0]
    np.testing.assert_array_equal(gray[3:], LUNG[3:])


def test_previews_and_masks_are_passed_over(shown) -> None:
    def pages(*kinds: int) -> bytes:
        out = io.BytesIO()
        deep = Image.fromarray(PICTURE.astype(np.uint16) * 257)
        small = deep.resize((6, 4), Image.Resampling.NEAREST)
        chosen = [small if kind else deep for kind in kinds]
        with TiffImagePlugin.AppendingTiffWriter(out, new=True) as writer:
            for kind, image in zip(kinds, chosen, strict=True):
                image.save(writer, "TIFF", tiffinfo={254: kind})
                writer.newFrame()
        return out.getvalue()

    for kinds in ((0, 1), (1, 0), (0, 4, 1)):
        np.testing.assert_array_equal(shown(pages(*kinds)), PICTURE)
    with pytest.raises(InvalidFileError, match="contains several frames"):
        shown(pages(0, 0))


def test_pages_that_go_round_in_a_circle_end(shown) -> None:
    content = bytearray(tiff(UNITS))
    place = struct.unpack("<I", content[4:8])[0]
    content[-4:] = struct.pack("<I", place)
    with pytest.raises(InvalidFileError, match="contains several frames"):
        shown(bytes(content))


def refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "slice.tif"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match=reason) as caught:
        read_image(path)
    assert str(caught.value).startswith(repr(str(path)))


def test_unknown_samples_get_their_true_reason(tmp_path: Path) -> None:
    complex_ = tiff(UNITS, extra={339: [6]})
    refused(
        complex_, "is a TIFF with 1 channel.* of 64-bit complex samples.*save it as a PNG", tmp_path
    )
    refused(tiff(np.zeros((4, 4, 5), np.uint16)), "neither gray nor RGB", tmp_path)
    odd = tiff(UNITS, compression=8, extra={_PREDICTOR: [9]})
    refused(odd, "unknown predictor 9", tmp_path)


def test_sizes_are_bounded_before_decoding(tmp_path: Path) -> None:
    refused(tiff(UNITS, extra={256: [9_000], 257: [9_000]}), "more than the 4.* bytes", tmp_path)
    refused(tiff(UNITS, extra={256: [90_000], 257: [90_000]}), "90000 x 90000 pixels", tmp_path)
    content = tiff(UNITS)
    refused(
        content.replace(struct.pack("<I", UNITS.nbytes), struct.pack("<I", 2**31)),
        "trunc",
        tmp_path,
    )


@pytest.mark.parametrize("options", [{}, {"compression": 8}, {"compression": 5, "rows": 4}])
def test_truncated_files_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    content = tiff(UNITS.astype(np.float32), **options)
    for length in range(0, len(content) - 1, 97):
        refused(content[:length], "slice.tif", tmp_path)


def test_flipped_bytes_are_read_or_refused(tmp_path: Path) -> None:
    content = tiff(UNITS.astype(np.int16), compression=8, predictor=2, rows=5)
    rng = np.random.default_rng(0)
    path = tmp_path / "slice.tif"
    for _ in range(300):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        try:
            read_image(path)
        except InvalidFileError as error:
            assert str(error).startswith(repr(str(path)))  # noqa: PT017  # only if it is refused


def test_the_format_is_known(tmp_path: Path) -> None:
    path = tmp_path / "slice"
    path.write_bytes(tiff(UNITS))
    assert image_format(path) == "TIFF"


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_up_to_8_bits_pil_is_relied_on(
    photometric: int, depth: int, compression: int, tmp_path: Path
) -> None:
    highest = 2**depth - 1
    values = PICTURE // (256 // (highest + 1))
    stored = highest - values if photometric == 0 else values
    path = tmp_path / "slice.tif"
    packed = depth if depth < 8 else None
    path.write_bytes(
        tiff(stored, packed=packed, photometric=photometric, compression=compression, rows=5)
    )
    gray = np.asarray(read_image(path).convert("L"))
    np.testing.assert_array_equal(gray, values.astype(int) * 255 // highest)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tag", [274, 34665, 34853, 330, 700])
def test_tags_that_lead_nowhere_do_no_harm(dtype: type, tag: int, shown) -> None:
    np.testing.assert_array_equal(
        shown(tiff(PICTURE.astype(dtype), extra={tag: [99_999]})), PICTURE
    )


def test_cmyk_of_16_bits(tmp_path: Path) -> None:
    black = 65_535 - PICTURE.astype(np.uint16) * 257
    path = tmp_path / "slice.tif"
    path.write_bytes(tiff(np.stack([black * 0] * 3 + [black], -1), photometric=5))
    np.testing.assert_array_equal(np.asarray(read_image(path).convert("L")), PICTURE)

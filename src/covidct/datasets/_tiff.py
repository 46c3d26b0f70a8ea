"""Decoding of TIFF files in full depth, whose samples PIL refuses or reads wrongly.

PIL drops the low byte of 16-bit color, does not invert deep MinIsWhite files, reads uint32 as
int32, and refuses samples of 64 bits, half floats, packed samples of 10 or 14 bits, and 16-bit gray
with alpha. All these are decoded here; data are decompressed by PIL and its libraries.
"""

from __future__ import annotations

import io
import os
import struct
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from ._decoding import Refusal, Samples

__all__ = ["TiffPage", "full_page"]

# Largest size of decoded samples in bytes: 100 million pixels of 32 bits.
_MAX_SAMPLE_BYTES = 400_000_000

# Tags.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _ORIENTATION, _CHANNELS, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _COLORS, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 284, 317, 320, 322, 323, 324
_TILE_BYTES, _EXTRA, _FORMAT, _SUBFILE = 325, 338, 339, 254

_COMPRESSIONS = {
    1: "none",
    5: "LZW",
    8: "Deflate",
    32773: "PackBits",
    32946: "Deflate",
    34925: "LZMA",
    50000: "Zstandard",
}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = range(4)
_MAX_PAGES = 1000


class TiffPage:
    """One page of a TIFF file, described by its tags.

    Parameters
    ----------
    file : file object
        The whole file.
    offset : int or None
        Byte at which the page's directory begins; None for the first page.
    """

    def __init__(self, file: BinaryIO, offset: int | None = None) -> None:
        file.seek(0)
        header = file.read(8)
        if header[:4] == b"MM\0+":  # PIL does not know it
            raise Refusal("is a big-endian BigTIFF file, which is not read here; save it as a PNG")
        if header[2] == 43:  # BigTIFF
            header += file.read(8)
        self.byte_order = "<" if header[:2] == b"II" else ">"
        self._file = file
        self._tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(self._tags.next if offset is None else offset)
        self._tags.load(file)
        self.next_offset = int(self._tags.next)

    def many(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the values of a tag."""
        values = self._tags.get(tag, default)
        return tuple(map(int, values if isinstance(values, tuple) else (values,)))

    def one(self, tag: int, default: int) -> int:
        """Return the first value of a tag."""
        return (*self.many(tag), default)[0]

    @property
    def is_preview(self) -> bool:
        """True if the page is a smaller version, or a mask, of another page."""
        return bool(self.one(_SUBFILE, 0) & 0b101)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.one(_WIDTH, 0), self.one(_HEIGHT, 0)

    @property
    def description(self) -> str:
        """Format of the samples, for messages."""
        kinds = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
        compression = self.one(_COMPRESSION, 1)
        return (
            f"TIFF with {len(self.many(_BITS, (1,)))} channel(s) of "
            f"{'/'.join(map(str, sorted(set(self.many(_BITS, (1,))))))}-bit "
            f"{kinds.get(self.one(_FORMAT, 1), 'untyped')} samples, compression "
            f"{_COMPRESSIONS.get(compression, compression)}, photometric interpretation "
            f"{self.one(_PHOTOMETRIC, 1)}"
        )

    @property
    def is_deep(self) -> bool:
        """True if :meth:`samples` must decode the page, False if PIL decodes it correctly."""
        bits, photometric = set(self.many(_BITS, (1,))), self.one(_PHOTOMETRIC, _BLACK_IS_ZERO)
        if len(bits) != 1 or self.one(_COMPRESSION, 1) not in _COMPRESSIONS:
            return False
        depth, kind = bits.pop(), self.one(_FORMAT, 1)
        if kind == 3:
            known = depth in (16, 32, 64)
        elif kind in (1, 2, 4):
            known = depth in (16, 32, 64) or (depth == 8 and kind == 2) or 8 < depth < 16
        else:
            return False
        if photometric == _PALETTE:
            return depth == 16 and kind == 1
        return known and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)

    def samples(self) -> Samples:
        """Decode the page in full depth."""
        width, height = self.size
        depth = self.one(_BITS, 1)
        channels, planar = self.one(_CHANNELS, 1), self.one(_PLANAR, 1) == 2
        photometric = self.one(_PHOTOMETRIC, _BLACK_IS_ZERO)
        colors = 3 if photometric == _RGB else 1
        if channels < colors or (channels > colors + 1 and colors == 1):
            raise Refusal(
                f"is a {self.description}, which is neither gray nor RGB; "
                "save the slice as a gray image"
            )
        if width * height * channels * max(depth, 8) // 8 > _MAX_SAMPLE_BYTES:
            raise Refusal(
                f"has {width} x {height} pixels of {channels} x {depth} bits, more than the "
                f"{_MAX_SAMPLE_BYTES} bytes allowed; save a smaller image"
            )
        if planar:
            planes = [self._plane(1, plane, channels) for plane in range(channels)]
            values = np.concatenate(planes, axis=-1)
        else:
            values = self._plane(channels, 0, 1)
        alpha = None
        if channels > colors and (extra := self.one(_EXTRA, 0)) in (1, 2):
            full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
            alpha = (values[..., colors] / full).clip(0, 1).astype(np.float32)
            if extra == 1:  # colors are multiplied with it already
                alpha = (alpha > 0).astype(np.float32)
        values = values[..., 0] if colors == 1 else values[..., :3]
        if photometric == _PALETTE:
            values = np.array(self.many(_COLORS), np.uint16).reshape(3, -1).T[values]
        elif photometric == _WHITE_IS_ZERO:
            values = _inverted(values, depth)
        return Samples(values, alpha, self.one(_ORIENTATION, 1))

    def _plane(self, channels: int, plane: int, planes: int) -> npt.NDArray[Any]:
        """Decode one of several planes, or all channels together: (height, width, channels)."""
        width, height = self.size
        depth, predictor = self.one(_BITS, 1), self.one(_PREDICTOR, 1)
        tiled = bool(self.many(_TILES))
        block = max(1, self.one(_TILE_WIDTH, width)) if tiled else width
        across = -(-width // block)  # tiles that make up the width, the last of which may stick out
        block_row = -(-block * channels * depth // 8)
        data = self._bytes(across * block_row, block_row, tiled=tiled, plane=plane, planes=planes)
        if depth % 8:
            if tiled or predictor != 1:
                raise Refusal(f"is a {self.description}, in tiles; save it as a 16-bit PNG")
            return _unpack_bits(data, width * channels, depth).reshape(height, width, channels)
        code = {2: "i", 3: "f"}.get(self.one(_FORMAT, 1), "u")
        stored = np.dtype(f"{self.byte_order}{code}{depth // 8}")
        if predictor != 1 and self.one(_COMPRESSION, 1) not in (1, 32773):  # as in libtiff
            for start in range(0, data.shape[1], block_row):
                part = data[:, start : start + block_row]
                part[:] = _undo_predictor(part, stored, predictor, channels)
        values = data.view(stored).reshape(height, across * block, channels)[:, :width]
        return values.astype(stored.newbyteorder("="))

    def _bytes(
        self, row: int, block_row: int, *, tiled: bool, plane: int, planes: int
    ) -> npt.NDArray[np.uint8]:
        """Decompress the data to the bytes of each row, (height, row).

        The compressed strips or tiles are packed into a new TIFF file in memory, whose samples are
        declared as bytes, and which PIL reads like any other. This supports every compression of
        PIL, for samples of any type.
        """
        height = self.size[1]
        if tiled:
            offsets, counts = self.many(_TILES), self.many(_TILE_BYTES)
        else:
            offsets, counts = self.many(_STRIPS), self.many(_STRIP_BYTES)
        rows = max(1, min(self.one(_ROWS_PER_STRIP, height), height))
        compression = self.one(_COMPRESSION, 1)
        if not counts and compression == 1 and not tiled:  # missing in the files of some writers
            lengths = [min(rows, height - top) * row for top in range(0, height, rows)]
            counts = tuple(lengths * planes)
        per_plane = len(offsets) // planes
        part = slice(plane * per_plane, (plane + 1) * per_plane)
        offsets, counts = offsets[part], counts[part]
        end = self._file.seek(0, os.SEEK_END)
        if (
            not per_plane
            or len(counts) != len(offsets)
            or sum(counts) > end
            or any(start + count > end for start, count in zip(offsets, counts, strict=True))
        ):
            raise Refusal("is truncated; replace it by an intact copy or remove it")
        tags = {
            _WIDTH: [row],
            _HEIGHT: [height],
            _BITS: [8],
            _COMPRESSION: [compression],
            _PHOTOMETRIC: [_BLACK_IS_ZERO],
            _FILL_ORDER: [self.one(_FILL_ORDER, 1)],
            _CHANNELS: [1],
        }
        content = io.BytesIO()
        content.write(bytes(8))
        places = []
        for start, count in zip(offsets, counts, strict=True):
            self._file.seek(start)
            places.append(content.tell())
            content.write(self._file.read(count))
        if tiled:
            height_of_tile = self.one(_TILE_HEIGHT, height)
            tags |= {_TILE_WIDTH: [block_row], _TILE_HEIGHT: [height_of_tile]}
            tags |= {_TILES: places, _TILE_BYTES: list(counts)}
        else:
            tags |= {_STRIPS: places, _ROWS_PER_STRIP: [rows], _STRIP_BYTES: list(counts)}
        _write_directory(content, tags)
        with Image.open(content, formats=("TIFF",)) as image:
            return np.array(image)


def full_page(file: BinaryIO) -> tuple[int, TiffPage]:
    """Return the only page of a TIFF file that is not a preview, with its number from 0."""
    pages: list[tuple[int, TiffPage]] = []
    offset: int | None = None
    seen: set[int] = set()
    for number in range(_MAX_PAGES):
        page = TiffPage(file, offset)
        pages.append((number, page))
        offset = page.next_offset
        if not offset or offset in seen:
            break
        seen.add(offset)
    full = [item for item in pages if not item[1].is_preview] or pages[:1]
    if len(full) > 1:
        raise Refusal(
            f"contains several frames ({len(full)} pages); save each slice as an image of its own"
        )
    return full[0]


def _write_directory(content: io.BytesIO, tags: dict[int, list[int]]) -> None:
    """Append a TIFF directory with values of 32 bits, and write the header that points to it."""
    entries = b""
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            place = content.tell()
            content.write(data)
            data = struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, 4, len(values)) + data
    place = content.tell()
    content.write(struct.pack("<H", len(tags)) + entries + bytes(4))
    content.seek(0)
    content.write(b"II*\0" + struct.pack("<I", place))
    content.seek(0)


def _undo_predictor(
    part: npt.NDArray[np.uint8], stored: np.dtype[Any], predictor: int, channels: int
) -> npt.NDArray[np.uint8]:
    """Undo a TIFF predictor by summing the differences in each row.

    Predictor 2 stores the difference of each sample from that of the pixel to its left, as integers
    of the size of the samples, also for floats. Predictor 3 (of floats) sorts the bytes of a row
    into planes, the most significant first, and stores the differences of neighboring bytes.
    """
    height = len(part)
    size = stored.itemsize
    if predictor == 2:
        whole = np.dtype(f"u{size}")
        stored_whole = whole.newbyteorder(stored.byteorder)
        values = np.ascontiguousarray(part).view(stored_whole).astype(whole)
        sums = values.reshape(height, -1, channels).cumsum(axis=1, dtype=whole)
        flat = sums.reshape(height, -1).astype(stored_whole)
        undone: npt.NDArray[np.uint8] = flat.view(np.uint8)
        return undone
    if predictor == 3 and stored.kind == "f":
        sums = part.reshape(height, -1, channels).cumsum(axis=1, dtype=np.uint8)
        planes = sums.reshape(height, size, -1)
        if stored.byteorder == "<" or (stored.byteorder == "=" and np.little_endian):
            planes = planes[:, ::-1]
        joined: npt.NDArray[np.uint8] = planes.transpose(0, 2, 1).reshape(height, -1)
        return joined
    raise Refusal(f"is a TIFF with the unknown predictor {predictor}; save it without compression")


def _unpack_bits(data: npt.NDArray[np.uint8], samples: int, depth: int) -> npt.NDArray[np.uint16]:
    """Read rows of samples of 9 to 15 bits that are packed without gaps, the high bit first."""
    values = np.empty((len(data), samples), np.uint16)
    weights = (1 << np.arange(depth - 1, -1, -1)).astype(np.uint16)
    for row, packed in enumerate(data):  # row by row: each bit takes a byte
        bits = np.unpackbits(packed, count=samples * depth).reshape(samples, depth)
        values[row] = bits @ weights
    return values


def _inverted(values: npt.NDArray[Any], depth: int) -> npt.NDArray[Any]:
    """Invert samples in which 0 is white."""
    inverted = values
    if values.dtype.kind == "u":
        inverted = np.array(2**depth - 1, values.dtype) - values
    elif values.dtype.kind == "i":
        inverted = ~values
    elif (finite := values[np.isfinite(values)]).size:
        # Floats do not have a largest value; they are mirrored within their range.
        inverted = finite.min() + finite.max() - values
    return inverted

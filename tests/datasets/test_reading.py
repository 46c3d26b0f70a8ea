"""read_image: right pixels from intact files, one named error from anything else."""

from __future__ import annotations

import io
import os
import random
import re
import socket
import struct
import sys
import threading
import types
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from covidct.datasets import reading
from covidct.datasets.reading import read_image
from covidct.errors import InvalidFileError, InvalidSliceError

ORIENTATION = 0x0112
GRAY = Image.fromarray(np.random.default_rng(0).integers(0, 256, (11, 17), dtype=np.uint8))
COLOR = Image.merge("RGB", [GRAY, GRAY.transpose(Image.Transpose.ROTATE_180), GRAY])
DEEP = Image.fromarray(np.asarray(GRAY).astype(np.uint16) * 257)
FLOAT = Image.fromarray(np.asarray(GRAY).astype(np.float32) / 3)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


LOSSLESS = {
    "png": (GRAY, "PNG", {}),
    "png color": (COLOR, "PNG", {}),
    "png alpha": (COLOR.convert("RGBA"), "PNG", {}),
    "png palette": (COLOR.convert("P"), "PNG", {}),
    "png one bit": (GRAY.convert("1"), "PNG", {}),
    "webp": (COLOR, "WEBP", {"lossless": True}),
    "tiff": (GRAY, "TIFF", {}),
    "tiff lzw": (GRAY, "TIFF", {"compression": "tiff_lzw"}),
    "tiff cmyk": (COLOR.convert("CMYK"), "TIFF", {}),
    "bmp": (COLOR, "BMP", {}),
    "pgm": (GRAY, "PPM", {}),
    "ppm": (COLOR, "PPM", {}),
}
# Shown as 8-bit gray: tested in test_deep_pictures.py.
DEEPER = {
    "png deep": (DEEP, "PNG", {}),
    "tiff deep": (DEEP, "TIFF", {}),
    "tiff float": (FLOAT, "TIFF", {}),
}
LOSSY = {
    "jpeg": (GRAY, "JPEG", {}),
    "jpeg color": (COLOR, "JPEG", {"progressive": True}),
    "jpeg cmyk": (COLOR.convert("CMYK"), "JPEG", {}),
    "webp lossy": (COLOR, "WEBP", {}),
    "gif": (COLOR.convert("P"), "GIF", {}),
}
INTACT = {
    name: encoded(image, form, **options)
    for name, (image, form, options) in (LOSSLESS | DEEPER | LOSSY).items()
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(content: bytes, name: str = "slice.png") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(autouse=True)
def _no_warning_leaks() -> None:
    """Every remark of PIL's, on whatever file, would fail the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        yield
        assert warnings.filters == filters


def refused(path: Path, reason: str) -> InvalidFileError:
    with pytest.raises(InvalidFileError, match=reason) as caught:
        read_image(path)
    assert str(caught.value).startswith(repr(str(path)))
    return caught.value


class TestIntactFiles:
    @pytest.mark.parametrize("name", LOSSLESS)
    def test_pixels_and_mode_are_kept(self, name: str, write) -> None:
        image = read_image(write(INTACT[name]))
        assert type(image) is Image.Image
        assert image.mode == LOSSLESS[name][0].mode
        np.testing.assert_array_equal(np.asarray(image), np.asarray(LOSSLESS[name][0]))

    @pytest.mark.parametrize("name", LOSSY)
    def test_lossy_formats(self, name: str, write) -> None:
        image = read_image(write(INTACT[name]))
        assert type(image) is Image.Image
        assert (image.mode, image.size) == (LOSSY[name][0].mode, (17, 11))

    @pytest.mark.parametrize("name", ["a.jpg", "a.dcm", "a.txt", "a", "a%20 b\n.png", "Ünï 层.png"])
    def test_content_counts_not_the_name(self, name: str, write) -> None:
        assert read_image(write(INTACT["png"], name)) == GRAY

    def test_takes_a_string(self, write) -> None:
        assert read_image(str(write(INTACT["png"]))) == GRAY

    def test_follows_a_link(self, write, tmp_path: Path) -> None:
        link = tmp_path / "link.png"
        link.symlink_to(write(INTACT["png"]))
        assert read_image(link) == GRAY

    @pytest.mark.parametrize("size", [(1, 30000), (30000, 1), (1, 1)])
    def test_extreme_sides(self, size: tuple[int, int], write) -> None:
        assert read_image(write(encoded(Image.new("L", size), "PNG"))).size == size

    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
    def test_noted_rotation_is_applied_once(self, form: str, write) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = 6  # to be turned clockwise by a quarter
        upright = Image.new("L", (16, 32), 250)
        upright.paste(10, (0, 0, 16, 16))
        stored = upright.transpose(Image.Transpose.ROTATE_90)
        image = read_image(write(encoded(stored, form, exif=exif)))
        np.testing.assert_allclose(np.asarray(image.convert("L")), np.asarray(upright), atol=30)
        assert image.getexif().get(ORIENTATION, 1) == 1

    def test_the_file_is_closed(self, write, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = []
        original = Path.open

        def spy(path: Path, *args: object, **kwargs: object) -> object:
            opened.append(original(path, *args, **kwargs))
            return opened[-1]

        monkeypatch.setattr(Path, "open", spy)
        read_image(write(INTACT["tiff lzw"]))
        with pytest.raises(InvalidFileError):
            read_image(write(INTACT["png"][:80]))
        assert opened
        assert all(file.closed for file in opened)

    def test_single_frame_of_an_animated_format(self, write) -> None:
        content = encoded(GRAY, "PNG", save_all=True)
        assert read_image(write(content)) == GRAY


class TestRefusedFiles:
    def test_missing(self, tmp_path: Path) -> None:
        refused(tmp_path / "no.png", r"cannot be opened \(No such file or directory\); check the")

    def test_empty(self, write) -> None:
        refused(write(b""), r"is empty \(0 bytes\)")

    def test_directory(self, tmp_path: Path) -> None:
        refused(tmp_path, "is a directory")

    def test_link_to_itself(self, tmp_path: Path) -> None:
        loop = tmp_path / "loop.png"
        loop.symlink_to(loop)
        refused(loop, "Too many levels of symbolic links")

    def test_dangling_link(self, tmp_path: Path) -> None:
        link = tmp_path / "link.png"
        link.symlink_to(tmp_path / "gone.png")
        refused(link, "No such file")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
    def test_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        refused(tmp_path / "pipe.png", "is not a regular file")

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no sockets here")
    def test_socket(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s.png")
            refused(Path("s.png"), "is not a regular file")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
    def test_unreadable(self, write) -> None:
        path = write(INTACT["png"])
        path.chmod(0)
        refused(path, r"cannot be opened \(Permission denied\)")

    def test_null_byte_in_the_name(self) -> None:
        with pytest.raises(InvalidFileError, match="null"):
            read_image("a\0b.png")

    def test_newline_in_the_name_stays_on_one_line(self, write) -> None:
        assert "\n" not in str(refused(write(b"x", "a\nb.png"), "is not an image"))

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"<!DOCTYPE html><html></html>", "is an HTML page; download the file itself"),
            (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer.*git lfs pull"),
            # PIL would run Ghostscript.
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "is a PostScript document"),
            (b"\x89PNG\r\n\x1a\n", "begins as a PNG file, but its header is damaged"),
            (bytes(200), r"is not an image in a format .* are PNG, JPEG, WEBP, .* DICOM\)"),
            (encoded(COLOR, "PCX"), "is a PCX image"),
            (encoded(COLOR, "PDF"), "is a PDF document"),
            (encoded(COLOR, "ICO"), "is an icon"),
            (encoded(COLOR, "JPEG2000"), "is a JPEG 2000 image.*save it as a PNG"),
            (bytes(344) + b"n+1\0" + bytes(50), r"is a NIfTI volume.*\.nii"),
            (b"\x1f\x8b" + bytes(50), "is a gzip archive"),
            (b"PK\x03\x04" + bytes(50), "is a ZIP archive.*unpack it"),
            (b"\x93NUMPY" + bytes(50), "is a NumPy array"),
            (
                b"\xff\xd8\xff\xc1\0\x0b\x0c" + bytes(20),
                "is a JPEG of 12 bits a sample, which is not decoded here; save it as a PNG",
            ),
            (b"\xff\xd8\xff\xc3\0\x0b\x10" + bytes(20), "is a lossless JPEG of 16 bits a sample"),
        ],
        # By name: a PDF holds the time at which it was made.
        ids=[
            *("HTML", "LFS pointer", "EPS", "PNG's signature", "zeros", "PCX", "PDF", "ICO"),
            *("JPEG 2000", "NIfTI", "gzip", "ZIP", "NumPy", "12-bit JPEG", "lossless JPEG"),
        ],
    )
    def test_other_formats_are_named(self, content: bytes, reason: str, write) -> None:
        refused(write(content), reason)

    def test_errors_of_slices_can_be_skipped(self, write) -> None:
        assert isinstance(refused(write(b""), "is empty"), InvalidSliceError)

    @pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
    def test_several_frames(self, form: str, write) -> None:
        other = COLOR.transpose(Image.Transpose.ROTATE_180)
        content = encoded(COLOR, form, save_all=True, append_images=[other])
        refused(write(content), "contains several frames")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


class TestBombs:
    @pytest.mark.parametrize("side", [9_500, 10_001, 13_000, 60_000])
    def test_too_many_pixels(self, side: int, write, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever PIL itself thinks of it: nothing, a warning or an error."""
        monkeypatch.setattr(reading, "MAX_PIXELS", 90_000_000)
        content = png_header(side, side) + png_chunk(b"IDAT", zlib.compress(b"")) + b""
        error = refused(write(content), f"{side} x {side} pixels|{side**2} pixels")
        assert "save a smaller image" in str(error)

    @pytest.mark.parametrize("limit", [None, 10, 150])
    def test_own_limit_does_not_rest_on_pils(
        self, limit: int | None, write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        monkeypatch.setattr(reading, "MAX_PIXELS", 11 * 17 - 1)
        refused(write(INTACT["png"]), "17 x 11 pixels|187 pixels")

    def test_the_limit_itself_is_allowed(self, write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "MAX_PIXELS", 11 * 17)
        assert read_image(write(INTACT["png"])) == GRAY

    def test_too_many_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "sparse.webp"
        with path.open("wb") as file:
            file.write(b"RIFF")
            file.truncate(reading.MAX_BYTES + 1)
        refused(path, f"has {reading.MAX_BYTES + 1} bytes, more than the {reading.MAX_BYTES}")

    @pytest.mark.parametrize("before", [True, False])
    def test_text_chunk(self, before: bool, write) -> None:
        inflated = zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1))
        text = png_chunk(b"zTXt", b"Comment\0\0" + inflated)
        pixels = png_chunk(b"IDAT", zlib.compress(bytes(6)))
        chunks = text + pixels if before else pixels + text
        refused(write(png_header(2, 2) + chunks + png_chunk(b"IEND", b"")), "(?i)too large")


class TestDamage:
    @pytest.mark.parametrize("name", INTACT)
    def test_truncated_files_are_refused_or_lack_nothing(self, name: str, write) -> None:
        content = INTACT[name]
        whole = read_image(write(content))
        for length in {*range(0, len(content), 29), len(content) - 1, len(content) // 2}:
            path = write(content[:length])
            try:
                image = read_image(path)
            except InvalidFileError as error:
                assert str(error).startswith(repr(str(path)))  # noqa: PT017  # only if it is refused
            else:
                assert image == whole

    @pytest.mark.parametrize("name", ["png", "jpeg", "webp", "bmp", "pgm", "tiff", "gif"])
    def test_half_a_file_is_refused(self, name: str, write) -> None:
        content = INTACT[name]
        refused(write(content[: len(content) // 2]), "cannot be decoded|is not an intact image")

    @pytest.mark.parametrize("allowed", [True, False])
    def test_pils_leniency_is_set_aside_and_restored(
        self, allowed: bool, write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", allowed)
        content = INTACT["png color"]
        refused(write(content[: len(content) * 3 // 4]), "truncated")
        assert allowed is ImageFile.LOAD_TRUNCATED_IMAGES

    def test_png_checksum(self, write) -> None:
        content = bytearray(INTACT["png"])
        content[-20] ^= 255
        refused(write(bytes(content)), r"cannot be decoded \(.+\); replace it by an intact copy")

    @pytest.mark.parametrize("name", INTACT)
    def test_flipped_bytes(self, name: str, write) -> None:
        damage(name, write, times=20)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", INTACT)
    def test_many_flipped_bytes(self, name: str, write) -> None:
        damage(name, write, times=3000)

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            struct.error("unpack requires a buffer of 4 bytes"),
            SyntaxError("broken PNG file"),
            EOFError("no more images"),
            OverflowError("Python int too large"),
            IndexError("index out of range"),
            KeyError(17),
            TypeError("not enough arguments"),
            RecursionError("maximum recursion depth exceeded"),
            ZeroDivisionError("division by zero"),
            zlib.error("Error -3"),
            AttributeError("no tile"),
            AssertionError(),
        ],
    )
    def test_whatever_a_parser_raises(
        self, error: Exception, write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: object) -> None:
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail, raising=False)
        detail = re.escape(str(error) or type(error).__name__)
        caught = refused(write(INTACT["png"]), rf"cannot be decoded \({detail}\)")
        assert caught.__cause__ is error

    def test_an_interrupt_passes(self, write, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(self: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(ImageFile.ImageFile, "load", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read_image(write(INTACT["png"]))


def damage(name: str, write: Callable[[bytes], Path], *, times: int) -> None:
    """Overwrite, drop and insert bytes, mostly in the header: an image or the one error comes."""
    generator = random.Random(name)
    for _ in range(times):
        content = bytearray(INTACT[name])
        for _ in range(generator.choice((1, 2, 8))):
            place = generator.randrange(min(len(content), generator.choice((60, 10_000))))
            stop = place + generator.randrange(3)
            content[place:stop] = generator.randbytes(generator.randrange(3))
        path = write(bytes(content))
        try:
            image = read_image(path)
        except InvalidFileError as error:
            assert str(error).startswith(repr(str(path)))  # noqa: PT017  # only if it is refused
        else:
            assert image.width * image.height > 0


class TestWarnings:
    def test_header_that_pil_remarks_on(self, write) -> None:
        """PIL warns of a broken animation header, and reads the still image."""
        content = INTACT["png"]
        odd = content[:33] + png_chunk(b"acTL", struct.pack(">II", 0, 0)) + content[33:]
        path = write(odd)
        with pytest.warns(UserWarning, match="Invalid APNG"):
            Image.open(path).close()
        assert read_image(path) == GRAY

    def test_readers_in_threads_leave_the_filters_alone(self, write) -> None:
        paths = [write(INTACT[name], f"{i}") for i, name in enumerate(INTACT)]
        before = list(warnings.filters)

        def read_all() -> None:
            for path in paths * 5:
                read_image(path)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=read_all) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert warnings.filters == before


class TestDicom:
    def test_told_by_its_magic(self, write, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []
        stand_in = types.ModuleType("covidct.datasets.dicom")
        stand_in.read_slice = lambda path, *, window: seen.append((path, window)) or GRAY
        monkeypatch.setitem(sys.modules, "covidct.datasets.dicom", stand_in)
        path = write(bytes(128) + b"DICM" + bytes(10), "slice.png")
        assert read_image(path, window=(40, 400)) is GRAY
        assert seen == [(path, (40, 400))]

    def test_the_magic_counts_only_in_its_place(self, write) -> None:
        refused(write(bytes(127) + b"DICM" + bytes(10), "slice.dcm"), "is not an image")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_picture_that_is_transparent_everywhere_is_refused(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (8, 6), 200)
    image.putalpha(0)
    image.save(tmp_path / "a.png")
    refused(tmp_path / "a.png", r"transparent everywhere .* save it without alpha")
    image.putpixel((0, 0), (200,) * len(mode))
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").size == (8, 6)

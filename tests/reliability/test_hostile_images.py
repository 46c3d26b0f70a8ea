"""Files that nobody vouches for, through all that reads slices: right, or one error naming it."""

from __future__ import annotations

import csv
import io
import math
import os
import random
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct import cli
from covidct._text import printable
from covidct.audit.measurements import measure_slices
from covidct.datasets.canvases import make_canvases, to_canvas
from covidct.datasets.reading import read_image
from covidct.errors import InvalidFileError

SIZE = (40, 56)
NAMES: tuple[str, ...] = (
    "plain",
    "100%",
    "%s %d",
    "two words",
    "Ünï 层",
    "line\nbreak",
    "tab\t",
    "quo'te\"",
    "a,b",
)
if sys.platform == "linux":
    NAMES = (*NAMES, os.fsdecode(b"\xff\xfe"), "\x1b[2J")  # no UTF-8; what would clear a terminal
SUFFIXES = (".png", ".jpg", ".tif", ".bmp")


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _png(*chunks: bytes, side: int = 40) -> bytes:
    """Write a gray square with more chunks than it needs."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(41 * 40)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + _chunk(b"IEND", b"")


def _bombs(size: int = 2_000_000) -> list[bytes]:
    """Return files of which none may be read: they would grow to ``size`` bytes, or far beyond."""
    inflated = zlib.compress(bytes(size))
    return [
        _png(side=60_000),
        _png(_chunk(b"zTXt", b"Comment\0\0" + inflated)),
        _png(_chunk(b"iTXt", b"Comment\0\1\0\0\0" + inflated)),
    ]


def _sound() -> list[bytes]:
    gray = Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 61), dtype=np.uint8))
    color = Image.merge("RGB", [gray, gray.rotate(180), gray])
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        _encoded(gray, "PNG"),
        _encoded(deep, "PNG"),
        _encoded(color.convert("P"), "PNG"),
        _encoded(color.convert("RGBA"), "PNG"),
        _encoded(Image.new("L", (1, 1), 9), "PNG"),
        _encoded(Image.new("L", (1, 30000), 9), "PNG"),
        _encoded(Image.new("L", (30000, 1), 9), "PNG"),
        _encoded(color, "JPEG", exif=turned),
        _encoded(color.convert("CMYK"), "JPEG"),
        _encoded(color.convert("CMYK"), "TIFF"),
        _encoded(gray.convert("F"), "TIFF"),
        _encoded(color, "BMP"),
        _encoded(gray, "GIF", save_all=True, append_images=[gray.rotate(90)]),  # two frames
    ]


def mutants(number: int, seed: int) -> Iterator[bytes]:
    rng, sound = random.Random(seed), _sound()
    yield from sound
    broken = [b"", b"\0" * 500, b"no image", b"\x89PNG\r\n\x1a\n", *_bombs()]
    yield from broken
    for _ in range(number - len(sound) - len(broken)):
        data = bytearray(rng.choice(sound))
        if rng.random() < 0.5:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.choice((0, 1, 8))):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(data)


def lay_out(root: Path, number: int, *, seed: int = 0) -> list[Path]:
    """Write mutants into two class folders, with names and suffixes that do not fit them."""
    paths = []
    for label in ("covid", "normal"):
        (root / label).mkdir(parents=True)
    for i, data in enumerate(mutants(number, seed)):
        name = f"{NAMES[i % len(NAMES)]} {i}{SUFFIXES[i % len(SUFFIXES)]}"
        paths.append(root / ("covid", "normal")[i % 2] / name)
        paths[-1].write_bytes(data)
    return paths


def readable(path: Path) -> bool:
    try:
        read_image(path)
    except InvalidFileError:
        return False
    return True


@pytest.fixture(scope="module")
def predictor(tiny: str, phantoms, tmp_path_factory) -> covidct.Predictor:
    run_dir = tmp_path_factory.mktemp("hostile") / "run"
    recipe = covidct.Recipe.demo().scaled(1)
    options = {"cv": 2, "groups": "patient", "weights": None, "threads": 1, "device": "cpu"}
    covidct.CrossValidator(tiny, recipe, run_dir=run_dir, **options).run(phantoms)
    return covidct.Predictor.from_run(run_dir, device="cpu")


def pass_through_all(root: Path, number: int, predictor: covidct.Predictor, *, seed: int) -> None:
    paths = lay_out(root, number, seed=seed)
    good = {path for path in paths if readable(path)}
    assert good
    assert len(good) < len(paths)

    dataset = covidct.load_dataset("folder", root, on_error="skip")
    assert set(dataset.paths) == good
    skipped = dict(dataset.skipped)
    assert set(skipped) == {printable(p.relative_to(root).as_posix()) for p in set(paths) - good}
    assert all(skipped.values())

    canvases = make_canvases(dataset, SIZE)
    for path, canvas in zip(dataset.paths, canvases, strict=True):
        np.testing.assert_array_equal(canvas, to_canvas(read_image(path), SIZE))
    assert str(covidct.audit_dataset(dataset))

    predictions = {Path(p.path): p for p in predictor.predict(root, on_error="skip")}
    assert set(predictions) == set(paths)
    for path, prediction in predictions.items():
        if path in good:
            assert 0 <= prediction.probability <= 1
        else:
            assert math.isnan(prediction.probability)
            assert repr(str(path)) in prediction.doubts[0]


@pytest.mark.timeout(900)
def test_two_hundred_files(tmp_path, predictor):
    pass_through_all(tmp_path / "slices", 200, predictor, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_thousand_files(tmp_path, predictor):
    for seed in range(25):
        pass_through_all(tmp_path / str(seed), 200, predictor, seed=seed + 1)


def test_one_bad_file_is_named(slice_folder, predictor):
    bad = slice_folder / "COVID" / "100% ü\n.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    paths = sorted(slice_folder.glob("*/*.png"))
    dataset = covidct.CTDataset(paths, [p.parent.name == "COVID" for p in paths])
    for use in (
        lambda: make_canvases(dataset, SIZE),
        lambda: covidct.audit_dataset(dataset),
        lambda: predictor.predict(slice_folder),
    ):
        with pytest.raises(InvalidFileError) as caught:
            use()
        assert repr(str(bad)) in str(caught.value)


def test_a_hundred_million_bytes_of_text(slice_folder, predictor):
    """As a text chunk or inflated to one: refused by all four, in memory that stays bounded."""
    size = 100_000_000
    texts = [_png(_chunk(b"tEXt", b"Comment\0" + bytes(size))), *_bombs(size)[1:]]
    for i, content in enumerate(texts):
        (slice_folder / "COVID" / f"text {i}.png").write_bytes(content)
    del texts
    tracemalloc.start()
    try:
        dataset = covidct.load_dataset("folder", slice_folder, on_error="skip")
        assert [name for name, _ in dataset.skipped] == [f"COVID/text {i}.png" for i in range(3)]
        make_canvases(dataset, SIZE)
        covidct.audit_dataset(dataset)
        unread = [p for p in predictor.predict(slice_folder, on_error="skip") if not p.readable]
        assert len(unread) == 3
        assert tracemalloc.get_traced_memory()[1] < 4 * size
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Glyph")  # of the map's title: the font draws a box instead
def test_names_that_are_no_text_come_through_a_run(tiny, phantoms, tmp_path, capfdbinary):
    """No byte of a file's name may cost a trained fold, or a line of predictions."""
    names = [os.fsencode(name) for name in NAMES]
    for i in range(2 * len(names)):
        folder = tmp_path / "slices" / ("normal", "covid")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        path = os.fsencode(folder) + b"/" + names[i // 2] + b".png"
        phantoms[i][0].resize((60, 50)).save(os.fsdecode(path))
    dataset = covidct.load_dataset("folder", tmp_path / "slices")
    run_dir = tmp_path / "run"
    validator = covidct.CrossValidator(
        tiny,
        covidct.Recipe.demo().scaled(1),
        cv=2,
        groups=range(len(dataset)),
        weights=None,
        device="cpu",
        threads=1,
        run_dir=run_dir,
    )
    validator.run(dataset)
    loaded = covidct.CrossValidationResult.load(run_dir)
    assert sorted(loaded.predictions["path"]) == sorted(dataset.names)
    long = tmp_path / "slices" / "covid" / f"{'ü' * 125}.png"
    phantoms[0][0].save(long)
    call = ["predict", str(run_dir), str(tmp_path / "slices"), "--cam", str(tmp_path / "maps")]
    assert cli.main(call) == 0
    printed = csv.DictReader(io.StringIO(os.fsdecode(capfdbinary.readouterr().out)))
    assert {row["path"] for row in printed} == {*map(str, dataset.paths), str(long)}
    assert len(list((tmp_path / "maps").iterdir())) == len(dataset) + 1


def test_prediction_follows_links_and_ends(slice_folder, tmp_path, predictor):
    """Linked folders are scored too, a circle of them once, and a tree deeper than Python's."""
    deep = tmp_path / "new" / "/".join("d" * 300)
    deep.mkdir(parents=True)
    (deep / "deep.png").write_bytes((slice_folder / "COVID" / "slice 0%.png").read_bytes())
    (tmp_path / "new" / "linked").symlink_to(slice_folder)
    (slice_folder / "back").symlink_to(tmp_path / "new")
    found = [Path(p.path) for p in predictor.predict(tmp_path / "new")]
    assert len(found) == 13
    assert sum(path.is_relative_to(tmp_path / "new" / "linked") for path in found) == 12


def test_a_preamble_of_another_format_does_not_stop_the_audit(tmp_path):
    """The first 128 bytes of a DICOM file are anyone's: here the header of a huge bitmap."""
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    from pydicom.data import get_testdata_file

    content = bytearray(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    bitmap = bytearray(_encoded(Image.new("L", (4, 4)), "BMP")[:126])
    bitmap[18:26] = struct.pack("<ii", 60_000, 60_000)
    content[: len(bitmap)] = bitmap
    for i in range(6):
        path = tmp_path / ("covid", "normal")[i % 2] / f"{i}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    facts = measure_slices(covidct.load_dataset("folder", tmp_path))
    assert set(facts.formats) == {"DICOM"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_listed_as_skipped(slice_folder):
    (slice_folder / "COVID" / "gone.png").symlink_to("nowhere")
    (slice_folder / "COVID" / "loop.png").symlink_to("loop.png")
    os.mkfifo(slice_folder / "COVID" / "pipe.png")
    (slice_folder / "COVID" / "torn.png").write_bytes(b"\x89PNG")
    dataset = covidct.load_dataset("folder", slice_folder, on_error="skip")
    assert len(dataset) == 12
    reasons = {Path(name).name: why for name, why in dataset.skipped}
    assert sorted(reasons) == ["gone.png", "loop.png", "pipe.png", "torn.png"]
    assert all("not a file" in reasons[name] for name in ("gone.png", "loop.png", "pipe.png"))
    assert repr(str(slice_folder / "COVID" / "torn.png")) in reasons["torn.png"]


@pytest.mark.parametrize("target", ["loop.png", "nowhere"])
def test_links_to_nothing_are_named(target, slice_folder, predictor):
    """A link in a circle, or to a file that is gone, is missing rather than broken."""
    link = slice_folder / "COVID" / "loop.png"
    link.symlink_to(link.with_name(target))
    with pytest.raises(FileNotFoundError, match=r"1 of 13 paths are not files: .*loop\.png"):
        covidct.load_dataset("folder", slice_folder)
    unread = [p for p in predictor.predict(slice_folder, on_error="skip") if not p.readable]
    assert [p.path for p in unread] == [str(link)]
    assert repr(str(link)) in unread[0].doubts[0]

"""Files that nobody vouches for, through all that reads slices: right, or one error naming it."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.datasets.canvases import make_canvases, to_canvas
from covidct.datasets.reading import read_image
from covidct.errors import InvalidFileError

SIZE = (40, 56)
NAMES = ("plain", "100%", "%s %d", "two words", "Ünï 层", "line\nbreak", "tab\t", "quo'te\"", "a,b")
SUFFIXES = (".png", ".jpg", ".tif", ".bmp")


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _sound() -> list[bytes]:
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 61), dtype=np.uint8))
    colour = Image.merge("RGB", [grey, grey.rotate(180), grey])
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        _encoded(grey, "PNG"),
        _encoded(deep, "PNG"),
        _encoded(colour.convert("P"), "PNG"),
        _encoded(colour.convert("RGBA"), "PNG"),
        _encoded(Image.new("L", (1, 1), 9), "PNG"),
        _encoded(Image.new("L", (1, 30000), 9), "PNG"),
        _encoded(Image.new("L", (30000, 1), 9), "PNG"),
        _encoded(colour, "JPEG", exif=turned),
        _encoded(colour.convert("CMYK"), "JPEG"),
        _encoded(colour.convert("CMYK"), "TIFF"),
        _encoded(grey.convert("F"), "TIFF"),
        _encoded(colour, "BMP"),
        _encoded(grey, "GIF", save_all=True, append_images=[grey.rotate(90)]),  # two frames
    ]


def mutants(number: int, seed: int) -> Iterator[bytes]:
    rng, sound = random.Random(seed), _sound()
    yield from sound
    yield from (b"", b"\0" * 500, b"no image", b"\x89PNG\r\n\x1a\n")
    for _ in range(number - len(sound) - 4):
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
    assert set(skipped) == {p.relative_to(root).as_posix() for p in set(paths) - good}
    assert all(skipped.values())

    canvases = make_canvases(dataset, SIZE)
    for path, canvas in zip(dataset.paths, canvases, strict=True):
        np.testing.assert_array_equal(canvas, to_canvas(read_image(path), SIZE))
    assert str(covidct.audit_dataset(dataset))

    predictions = {Path(p.path): p for p in predictor(root, on_error="skip")}
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
        lambda: predictor(slice_folder),
    ):
        with pytest.raises(InvalidFileError) as caught:
            use()
        assert repr(str(bad)) in str(caught.value)


@pytest.mark.parametrize("target", ["loop.png", "nowhere"])
def test_links_to_nothing_are_named(target, slice_folder, predictor):
    """A link in a circle, or to a file that is gone, is missing rather than broken."""
    link = slice_folder / "COVID" / "loop.png"
    link.symlink_to(link.with_name(target))
    with pytest.raises(FileNotFoundError, match=r"1 of 13 paths are no files: .*loop\.png"):
        covidct.load_dataset("folder", slice_folder)
    unread = [p for p in predictor(slice_folder, on_error="skip") if p.canvas is None]
    assert [p.path for p in unread] == [str(link)]
    assert repr(str(link)) in unread[0].doubts[0]

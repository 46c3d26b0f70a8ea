"""What a fold keeps of its training slices: enough to know them again, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from safetensors.numpy import load_file, save_file

import covidct
from covidct.errors import InvalidFileError
from covidct.runs.out_of_distribution import TrainingReference, descriptors, gray_levels, layout

SIZE = (96, 128)


def as_jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("L")


def noisy(image):
    pixels = np.asarray(image) + np.random.default_rng(0).normal(0, 4, image.size[::-1])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def halved(image):
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def in_circle(image):
    """Blacken the corners, as many scanners do: fields that are the same in all slices."""
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((0, 0, image.width - 1, image.height - 1), fill=255)
    return Image.composite(image, Image.new("L", image.size), mask)


def canvases(images):
    pad = covidct.AspectPreservingPad(SIZE)
    return np.stack([np.asarray(pad(image)) for image in images])


@pytest.mark.parametrize("view", [lambda image: image, in_circle], ids=["whole", "in a circle"])
@pytest.mark.parametrize("change", [as_jpeg, noisy, halved])
def test_training_slices_are_known_again_and_no_others(view, change):
    slices = covidct.load_dataset("phantom", n=32, seed=0)
    images = [view(slices[i][0]) for i in range(len(slices))]
    trained = layout(canvases(images[:16]))
    reference = TrainingReference.fit({"layout": trained}, {"layout": trained})
    assert reference.seen(layout(canvases(map(change, images[:16])))).all()
    assert not reference.seen(layout(canvases(images[16:]))).any()


@pytest.mark.parametrize(
    "spoil",
    [
        {"layout.kept": np.full((3, 192), np.nan, np.float32)},
        {"layout.kept": np.zeros((3, 191), np.float32)},
        {"layout.sd": np.zeros(191)},
        {"gray.mean": np.zeros(8)},
        {"features.limit": np.array(np.inf)},
    ],
    ids=lambda spoil: next(iter(spoil)),
)
def test_numbers_that_do_not_go_together_are_refused(spoil, phantoms, tmp_path):
    known = descriptors(canvases(phantoms[i][0] for i in range(6)))
    known["features"] = np.random.default_rng(0).normal(size=(6, 4))
    path = tmp_path / "reference.safetensors"
    TrainingReference.fit(known, known).save(path)
    assert TrainingReference.load(path).limit.keys() == known.keys()
    save_file(load_file(path) | spoil, path)
    with pytest.raises(InvalidFileError, match=r"reference\.safetensors.*'predictions.csv'"):
        TrainingReference.load(path)


@given(st.tuples(*[st.integers(1, 9)] * 3).flatmap(lambda shape: arrays(np.uint8, shape)))
def test_gray_levels_are_the_deciles(canvases):
    deciles = np.quantile(canvases, np.linspace(0.1, 0.9, 9), axis=(1, 2)).T
    np.testing.assert_allclose(gray_levels(canvases) * 255, deciles, atol=1e-9)


@pytest.mark.parametrize("sizes", [(2600, 1), (700, 1901), (1, 2600)])
def test_blocks_give_the_reference_of_the_whole(sizes, monkeypatch):
    rng = np.random.default_rng(0)
    train = {"features": rng.normal(1e4, 1, (2601, 8)), "gray": rng.normal(0, 1, (2601, 9))}
    test = {kind: values[:60] + 0.1 for kind, values in train.items()}

    def parts(slices, stops):
        for start, stop in zip((0, *stops[:-1]), stops, strict=True):
            yield {kind: values[start:stop] for kind, values in slices.items()}

    whole = TrainingReference.fit(train, test)
    blocks = TrainingReference.fit(parts(train, np.cumsum(sizes)), parts(test, (7, 60)))
    for kind, values in train.items():
        np.testing.assert_allclose(whole.mean[kind], values.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(whole.sd[kind], values.std(axis=0) + 1e-3, rtol=1e-9)
        np.testing.assert_allclose(blocks.mean[kind], whole.mean[kind], rtol=1e-12)
        np.testing.assert_allclose(blocks.sd[kind], whole.sd[kind], rtol=1e-9)
        assert blocks.limit[kind] == pytest.approx(whole.limit[kind], rel=1e-6)
    assert len(whole.kept["gray"]) == 2000
    np.testing.assert_allclose(blocks.kept["gray"], whole.kept["gray"], rtol=1e-4, atol=1e-5)


def test_few_training_slices_are_all_kept_in_order():
    values = np.random.default_rng(0).normal(size=(40, 9))
    reference = TrainingReference.fit({"gray": values}, {"gray": values})
    kept = reference.kept["gray"] * reference.sd["gray"] + reference.mean["gray"]
    np.testing.assert_allclose(kept, values, atol=1e-5)

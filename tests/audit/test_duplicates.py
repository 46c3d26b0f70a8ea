from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

import covidct
from covidct.audit import duplicates
from covidct.audit.duplicates import (
    Pairs,
    candidate_pairs,
    find_pairs,
    fingerprints,
    group_labels,
    near_duplicate_groups,
    similarities,
)
from covidct.audit.measurements import CANVAS, measure_slices


def jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def canvas(image):
    return np.asarray(image.resize((CANVAS, CANVAS), Image.Resampling.BOX))


@pytest.fixture(scope="module")
def patients():
    """One slice of each of 16 patients."""
    return covidct.load_dataset("phantom", n=16, seed=3, slices_per_patient=1)


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lambda image: jpeg(image, 20), 0.95),
        (lambda image: image.resize((image.width // 2, image.height // 2)), 0.95),
        (lambda image: image.crop((1, 0, image.width, image.height)), duplicates.SAME),
        (lambda image: image.point(lambda gray: int(0.8 * gray + 20)), 0.95),
    ],
    ids=["JPEG", "halved", "cropped by a pixel", "another window"],
)
def test_copies_are_one_slice_and_strangers_are_not(patients, change, least):
    images = [patients.read(i) for i in range(len(patients))]
    canvases = np.stack([canvas(i) for i in images] + [canvas(change(i)) for i in images])
    own = np.stack([np.arange(16), np.arange(16, 32)], axis=1)
    strangers = np.stack(np.triu_indices(16, 1), axis=1)
    assert similarities(canvases, own).min() >= least
    assert similarities(canvases, strangers).max() < duplicates.NEAR
    found = {tuple(pair) for pair in candidate_pairs(fingerprints(canvases)).tolist()}
    assert {tuple(pair) for pair in own.tolist()} <= found


def _shifted(image):
    return Image.fromarray(np.pad(np.asarray(image), ((4, 0), (4, 0)))[:-4, :-4])


def _cropped(image):
    width, height = image.size
    return image.crop((width // 50, height // 50, width - width // 50, height - height // 50))


@pytest.mark.parametrize(
    "change",
    [
        _cropped,
        _shifted,
        lambda image: ImageOps.expand(image, 20),
        lambda image: image.rotate(3, Image.Resampling.BILINEAR),
        ImageOps.mirror,
        lambda image: ImageOps.mirror(_cropped(image)),
        ImageOps.invert,
        lambda image: jpeg(image, 50),
        lambda image: image.resize((image.width // 2, image.height // 2)),
    ],
    ids=[
        *("cropped", "shifted", "margin", "rotated", "mirrored", "mirrored crop"),
        *("inverted", "JPEG", "half"),
    ],
)
@pytest.mark.parametrize("all_up_to", [4096, 0], ids=["all pairs", "hashed"])
def test_changed_copies_are_found_and_strangers_are_not(
    patients, tmp_path, monkeypatch, change, all_up_to
):
    monkeypatch.setattr(duplicates, "_COMPARE_ALL_UP_TO", all_up_to)
    images = [patients.read(i) for i in range(len(patients))]
    paths = []
    for i, image in enumerate(images + [change(image) for image in images]):
        paths.append(tmp_path / f"{i % 16 * 7 % 16}{'xy'[i // 16]}{i}.png")
        image.save(paths[-1])
    dataset = covidct.CTDataset(paths, np.arange(32) % 2, root=tmp_path)
    pairs = find_pairs(measure_slices(dataset), [f"{i * 97}-{i}" for i in range(32)])
    found = {tuple(pair) for pair in pairs.index[pairs.similarity >= duplicates.NEAR].tolist()}
    copies = {(i, i + 16) for i in range(16)}
    assert len(found & copies) >= 14
    assert not found - copies
    assert pairs.same.any()


def test_blank_slices_resemble_nothing():
    canvases = np.stack([np.full((64, 64), level, np.uint8) for level in (0, 90, 255)])
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(similarities(canvases, pairs), 0)


def test_identical_slices_are_paired_with_the_first_only(patients):
    again = patients.subset([0, 1, 0, 2, 0, 1])
    pairs = find_pairs(measure_slices(again), again.names)
    assert sorted(pairs.index[pairs.identical].tolist()) == [[0, 2], [0, 4], [1, 5]]
    np.testing.assert_array_equal(pairs.similarity[pairs.identical], 1)


def test_groups_are_chains_of_pairs_in_order_of_appearance():
    index = np.array([[1, 3], [3, 4], [2, 5]])
    zeros = np.zeros(3, np.int64)
    pairs = Pairs(index, np.ones(3, np.float32), zeros > 0, zeros, zeros > 0)
    assert group_labels(pairs, 6).tolist() == [0, 1, 2, 1, 1, 2]


def test_hashing_finds_what_comparing_all_finds(monkeypatch):
    rng = np.random.default_rng(0)
    prints = rng.normal(size=(3000, 63)).astype(np.float32)
    prints /= np.linalg.norm(prints, axis=1, keepdims=True)
    step = rng.normal(size=(3000, 63)).astype(np.float32)
    step *= 0.15 / np.linalg.norm(step, axis=1, keepdims=True)  # like neighboring slices
    both = np.concatenate([prints, prints + step])
    monkeypatch.setattr(duplicates, "_COMPARE_ALL_UP_TO", len(both))
    everything = {tuple(pair) for pair in candidate_pairs(both).tolist()}
    monkeypatch.setattr(duplicates, "_COMPARE_ALL_UP_TO", 0)
    hashed = {tuple(pair) for pair in candidate_pairs(both).tolist()}
    assert len(everything) >= 3000
    assert hashed <= everything
    assert len(hashed) >= 0.99 * len(everything)


def test_strangers_that_share_no_word_are_no_pairs(monkeypatch):
    monkeypatch.setattr(duplicates, "_COMPARE_ALL_UP_TO", 0)
    assert candidate_pairs(np.float32([[1, 0], [-1, 0]])).shape == (0, 2)


def test_thousands_alike_cost_no_square(monkeypatch):
    monkeypatch.setattr(duplicates, "_COMPARE_ALL_UP_TO", 0)
    prints = np.zeros((5000, 63), np.float32)
    most = 5000 * duplicates._WORDS * duplicates._WINDOW
    assert 5000 - 1 <= len(candidate_pairs(prints)) <= most < 5000**2 / 2


def test_one_slice_is_its_own_group(patients):
    assert covidct.audit_dataset(patients.subset([0])).groups.tolist() == [0]


def test_edges_in_a_file_give_the_similarities_of_memory(cache, monkeypatch):
    slices = covidct.load_dataset("phantom", n=12, seed=0)
    canvases = measure_slices(slices).canvases
    pairs = np.array([[i, j] for i in range(12) for j in range(i)])
    expected = similarities(canvases, pairs)
    monkeypatch.setattr(duplicates, "_MOST_IN_MEMORY", 0)
    np.testing.assert_allclose(similarities(canvases, pairs), expected, atol=1e-4)
    assert not [path for path in (cache / "canvases").iterdir() if "audit" not in path.name]


def test_slices_are_read_once_for_the_audit_and_every_split(cache, monkeypatch):
    slices = covidct.load_dataset("phantom", n=24, seed=0)
    read, found = [], type(slices).read

    def count(self, index):
        read.append(index)
        return found(self, index)

    monkeypatch.setattr(type(slices), "read", count)
    first = near_duplicate_groups(slices)
    report = covidct.audit_dataset(slices)
    np.testing.assert_array_equal(report.groups, first)
    np.testing.assert_array_equal(near_duplicate_groups(slices), first)
    assert sorted(read) == list(range(24))


def test_fingerprints_keep_the_low_frequencies_only():
    """All frequencies of 2,048 slices would take 33 MB."""
    one = np.random.default_rng(0).integers(0, 256, (1, 64, 64), np.uint8)
    peaks = []
    for n in (1024, 3072):
        tracemalloc.start()
        fingerprints(np.broadcast_to(one, (n, 64, 64)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 4e6

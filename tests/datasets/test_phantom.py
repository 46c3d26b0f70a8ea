from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import covidct
from covidct.datasets.phantom import PhantomDataset, dataset
from covidct.datasets.phantom.chest import Chest, Patient
from covidct.datasets.phantom.lesions import OTHER_FINDINGS, ground_glass, oedema

SMALL = (64, 80)


def pixels(phantoms: PhantomDataset, index: int) -> np.ndarray:
    return np.asarray(phantoms.read(index))


def test_registry_makes_phantoms_without_a_folder() -> None:
    made = covidct.load_dataset("phantom", n=6, seed=2, slices_per_patient=2, size=SMALL)
    assert isinstance(made, PhantomDataset)
    assert len(made) == 6
    assert made.name == "phantom"
    assert made.classes == ("non-COVID", "COVID")
    image, target = made[1]
    assert (image.mode, image.size, target) == ("L", SMALL[::-1], 0)


@pytest.mark.parametrize("n", [2, 3, 7, 8, 9, 40])
@pytest.mark.parametrize("slices_per_patient", [1, 4])
def test_classes_are_balanced_and_patients_have_one_class(n: int, slices_per_patient: int) -> None:
    made = PhantomDataset(n=n, slices_per_patient=slices_per_patient)
    assert abs(2 * made.targets.sum() - n) <= 1
    names, counts = np.unique(made.groups, return_counts=True)
    assert counts.max() <= slices_per_patient
    for name in names:
        assert len(set(made.targets[made.groups == name])) == 1
    assert len(set(made.names)) == n


def test_names_tell_class_patient_and_slice() -> None:
    made = PhantomDataset(n=11)
    assert made.names[:3] == (
        "COVID/patient-0000/slice-0.png",
        "non-COVID/patient-0001/slice-0.png",
        "COVID/patient-0000/slice-1.png",
    )
    assert made.names[8] == "COVID/patient-0002/slice-0.png"
    assert made.groups[8] == "patient-0002"


def test_pixels_are_the_same_for_ever() -> None:
    made = PhantomDataset(n=2, seed=0, size=SMALL)
    digest = hashlib.sha256()
    for index in range(2):
        digest.update(pixels(made, index).tobytes())
    assert digest.hexdigest() == "a94890cdfd72f88faa8d68c78394ed0a055ae4ddc5d1efb87e4aacc399d4231c"


def test_a_slice_depends_on_the_seed_and_not_on_n() -> None:
    few, many = PhantomDataset(n=5, size=SMALL), PhantomDataset(n=50, size=SMALL)
    other = PhantomDataset(n=5, seed=1, size=SMALL)
    for index in range(5):
        np.testing.assert_array_equal(pixels(few, index), pixels(many, index))
        assert (pixels(few, index) != pixels(other, index)).any()
    assert len({pixels(many, index).tobytes() for index in range(50)}) == 50


def test_nothing_is_drawn_before_it_is_read() -> None:
    dataset._make.cache_clear()
    made = PhantomDataset(n=20_000)
    made.content_hash()
    made = made.subset(np.arange(100, 200))
    assert dataset._make.cache_info().misses == 0
    made.read(0)
    made.masks(0)
    assert dataset._make.cache_info().misses == 1


def test_subset_keeps_pixels_masks_and_kind() -> None:
    made = PhantomDataset(n=12, size=SMALL)
    part = made.subset([7, 2]).subset([1])
    assert isinstance(part, PhantomDataset)
    assert part.names == (made.names[2],)
    np.testing.assert_array_equal(pixels(part, 0), pixels(made, 2))
    np.testing.assert_array_equal(part.masks(0)["lesion"], made.masks(2)["lesion"])


def test_content_hash_follows_all_that_pixels_depend_on() -> None:
    hashes = [
        PhantomDataset(n=8).content_hash(),
        PhantomDataset(n=9).content_hash(),
        PhantomDataset(n=8, seed=1).content_hash(),
        PhantomDataset(n=8, slices_per_patient=2).content_hash(),
        PhantomDataset(n=8, size=SMALL).content_hash(),
        PhantomDataset(n=8).subset([1, 0]).content_hash(),
    ]
    assert len(set(hashes)) == len(hashes)
    assert PhantomDataset(n=9).subset(range(8)).content_hash() == hashes[0]


def test_sizes_belong_to_patients_and_vary() -> None:
    made = PhantomDataset(n=32)
    sizes = np.array([made.read(index).size for index in range(32)])
    for patient in np.unique(made.groups):
        assert len(np.unique(sizes[made.groups == patient], axis=0)) == 1
    assert len(np.unique(sizes, axis=0)) == 8
    aspect = sizes[:, 0] / sizes[:, 1]
    assert aspect.min() < 1.25
    assert aspect.max() > 1.4


@pytest.mark.parametrize("size", [(64, 64), (64, 300), (300, 64), (180, 240)])
def test_every_covid_slice_shows_its_lesions(size: tuple[int, int]) -> None:
    made = PhantomDataset(n=16, seed=5, size=size)
    for index in range(16):
        masks = made.masks(index)
        assert set(masks) == {"lesion", "finding", "lung"}
        assert all(mask.shape == size and mask.dtype == bool for mask in masks.values())
        lesion, lung = masks["lesion"], masks["lung"]
        assert not (lesion & ~lung).any()
        if not made.targets[index]:
            assert not lesion.any()
            continue
        assert not masks["finding"].any()
        assert lesion.sum() > 0.02 * lung.sum()
        image = pixels(made, index).astype(float)
        assert image[lesion].mean() > image[lung & ~lesion].mean() + 10


def test_covid_is_peripheral_and_oedema_central() -> None:
    for number in range(4):
        depths = []
        for paint in (ground_glass, oedema):
            rng = np.random.default_rng(number)
            chest = Chest(Patient.draw(rng), 0.5, rng, size=(180, 240))
            depths.append(chest.cavity[paint(chest, rng)])
        assert depths[0].min() < 0.02
        assert depths[1].min() > 0.08
        assert depths[1].size > 100


def test_every_other_finding_occurs() -> None:
    made = PhantomDataset(n=100, slices_per_patient=1, size=SMALL)
    healthy = [not made.masks(i)["finding"].any() for i in np.flatnonzero(made.targets == 0)]
    assert 0 < sum(healthy) < 3 * len(healthy) / len(OTHER_FINDINGS)


def test_class_changes_nothing_outside_the_lungs() -> None:
    for patient in range(8):
        spec = dataset.SliceSpec(0, patient, 1, 4, None, label="COVID")
        ill, other = dataset._make(spec), dataset._make(spec._replace(label="non-COVID"))
        assert ill.pixels.shape == other.pixels.shape
        np.testing.assert_array_equal(ill.masks["lung"], other.masks["lung"])
        changed = ill.pixels != other.pixels
        # The edge of the lung is soft, and the scanner blurs.
        allowed = ndimage.binary_dilation(ill.masks["lung"], iterations=5)
        assert changed.any()
        assert not (changed & ~allowed).any()


def test_size_brightness_and_border_do_not_give_the_class_away() -> None:
    made = PhantomDataset(n=200, seed=11, slices_per_patient=1)
    features = []
    for index in range(len(made)):
        image = pixels(made, index).astype(float)
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        height, width = image.shape
        moments = [part(gray) for gray in (image, border) for part in (np.mean, np.std)]
        features.append([height, width, height / width, *moments])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    assert cross_val_score(model, features, made.targets, cv=5).mean() < 0.6


def test_saved_phantoms_load_as_a_folder(tmp_path: Path) -> None:
    made = PhantomDataset(n=10, size=SMALL)
    made.save(tmp_path)
    loaded = covidct.load_dataset("folder", tmp_path)
    order = [made.names.index(name) for name in loaded.names]
    assert sorted(order) == list(range(10))
    assert loaded.classes == made.classes
    np.testing.assert_array_equal(loaded.targets, made.targets[order])
    np.testing.assert_array_equal(loaded.groups, made.groups[order])
    for index, origin in enumerate(order):
        np.testing.assert_array_equal(np.asarray(loaded[index][0]), pixels(made, origin))


def test_phantoms_travel_to_workers_and_leave_random_state_alone() -> None:
    made = PhantomDataset(n=4, size=SMALL)
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # the global state is what is watched
    twin = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(pixels(twin, 3), pixels(made, 3))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002  # the global state is what is watched


def test_masks_are_the_callers_own() -> None:
    made = PhantomDataset(n=2, size=SMALL)
    made.masks(0)["lung"][:] = False
    assert made.masks(0)["lung"].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be an integer of at least 1, got 0"),
        ({"n": 2.5}, "n must be an integer of at least 1, got 2.5"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"slices_per_patient": 0}, "slices_per_patient must be an integer of at least 1"),
        ({"size": (63, 80)}, "height must be an integer of at least 64, got 63"),
        ({"size": (80, 10)}, "width must be an integer of at least 64, got 10"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        covidct.load_dataset("phantom", **options)

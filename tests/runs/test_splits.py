from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut, RepeatedStratifiedKFold, StratifiedKFold

import covidct
from covidct import CTDataset
from covidct.runs import splits as splits_module
from covidct.runs.protocol import Protocol
from covidct.runs.splits import Fold, LeakageWarning, make_split, resolve_groups


@pytest.fixture
def anonymous(slice_folder) -> CTDataset:
    """Twelve slices of which nothing is known but the class."""
    paths = sorted(slice_folder.glob("*/*.png"))
    return CTDataset(paths, [path.parent.name == "COVID" for path in paths])


def test_paper_protocol_is_stratified_and_seeded(anonymous):
    one, again, other = (make_split(anonymous, 3, seed=seed) for seed in (0, 0, 1))
    assert one.protocol.label == "paper"
    tested = np.concatenate([fold.test for fold in one.folds])
    assert sorted(tested) == list(range(12))
    assert {anonymous.targets[fold.test].sum() for fold in one.folds} == {2}
    for a, b in zip(one.folds, again.folds, strict=True):
        np.testing.assert_array_equal(a.test, b.test)
    assert any((a.test != b.test).any() for a, b in zip(one.folds, other.folds, strict=True))


def test_five_folds_of_seed_0_are_the_default():
    targets = np.arange(30) % 2
    split = make_split(targets)
    assert split.folds == make_split(targets, 5, seed=0, repeats=1).folds
    assert len(split.folds) == 5
    assert split.folds != make_split(targets, seed=1).folds


def test_folds_with_the_same_positions_are_equal():
    none = np.empty(0, np.int64)
    fold, same, other = (Fold(np.array([0, i]), np.array([2]), none) for i in (1, 1, 3))
    assert fold == same != other
    assert len({fold, same, other}) == 2
    assert hash(fold) != hash(other)
    assert fold != "fold"


@pytest.mark.parametrize("groups", ["patient", "array"])
def test_grouped_split_tears_no_group(phantoms, groups):
    split = make_split(phantoms, 3, groups=phantoms.groups if groups == "array" else groups)
    assert split.protocol.label == {"patient": "grouped by patient"}.get(
        groups, "grouped by given groups"
    )
    assert split.group_kind == {"patient": "patient", "array": "given groups"}[groups]
    assert split.groups.tolist() == phantoms.groups.tolist()
    for fold in split.folds:
        assert not set(phantoms.groups[fold.train]) & set(phantoms.groups[fold.test])


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> CTDataset:
    """Eight slices of different patients, each with a copy as JPEG under another name."""
    folder = tmp_path_factory.mktemp("copied")
    slices = covidct.load_dataset("phantom", n=8, seed=1, slices_per_patient=1)
    paths, targets = [], []
    for k, (image, target) in enumerate(slices):
        for name in (f"{k}.png", f"copy-{k}.jpg"):
            image.save(folder / name)
            paths.append(folder / name)
            targets.append(target)
    return CTDataset(paths, targets)


@pytest.mark.parametrize("seed", range(3))
def test_near_duplicates_are_never_on_both_sides(copied, seed):
    split = make_split(copied, 2, groups="near-duplicate", seed=seed)
    assert (split.protocol.label, split.group_kind) == (
        "grouped by near-duplicate",
        "near-duplicate",
    )
    assert split.groups.dtype.kind == "U"
    pairs = np.arange(len(copied)) // 2
    for fold in split.folds:
        assert not set(pairs[fold.train]) & set(pairs[fold.test])


def test_splitters_of_scikit_learn(anonymous, phantoms):
    split = make_split(anonymous, RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0))
    assert len(split.folds) == 4
    assert split.protocol == Protocol("splitter", "RepeatedStratifiedKFold", None)
    pairs = np.arange(len(phantoms)) // 8
    split = make_split(phantoms, LeaveOneGroupOut(), groups=pairs)
    assert len(split.folds) == 3
    assert split.protocol == Protocol("splitter", "LeaveOneGroupOut", "given groups")


@pytest.mark.parametrize("form", ["positions", "masks", "iterator", "array"])
def test_folds_may_be_given(anonymous, form):
    tested = [np.array([0, 1, 6, 7]), np.array([2, 3, 8, 9])]
    parts = [(np.setdiff1d(np.arange(12), test), test) for test in tested]
    given = [tuple(np.isin(np.arange(12), part) for part in fold) for fold in parts]
    forms = {"positions": parts, "masks": given, "iterator": iter(parts), "array": np.array(given)}
    cv = forms[form]
    split = make_split(anonymous, cv)
    assert split.protocol == Protocol("given", "given folds", None)
    for fold, (train, test) in zip(split.folds, parts, strict=True):
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.test, test)


def test_given_folds_may_keep_groups_together(phantoms):
    folds = make_split(phantoms, 2, groups="patient").folds
    split = make_split(phantoms, [(f.train, f.test) for f in folds], groups="patient")
    assert split.protocol == Protocol("given", "given folds", "patient")
    assert resolve_groups(phantoms, None) == (None, "")


def test_a_number_of_folds_may_be_numpys(anonymous):
    assert make_split(anonymous, np.int64(2)).protocol.label == "paper"


def test_random_split_of_known_patients_warns(phantoms, anonymous):
    advice = r"[(]5 of 6 patients[)]; use groups='patient[+]near-duplicate' for an unbiased"
    with pytest.warns(LeakageWarning, match=advice):
        make_split(phantoms, 2)
    rest = np.flatnonzero(phantoms.groups == phantoms.groups[0])[1:]
    with pytest.warns(LeakageWarning, match="of 6 patients"):  # one of whom has a single slice
        make_split(phantoms.subset(np.setdiff1d(range(24), rest)), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_split(anonymous, 2).groups is None
        make_split(phantoms, 2, groups="patient")
        # Whoever keeps near-duplicates together knows that patients may be torn.
        split = make_split(phantoms, 2, groups="near-duplicate")
    assert split.group_kind == "patient"  # what intervals draw as a whole
    assert any(set(phantoms.groups[f.train]) & set(phantoms.groups[f.test]) for f in split.folds)


def test_random_split_of_found_copies_warns(anonymous):
    copies = [0, 1, 2, 3, 4, 5, 0, 1, 2, 6, 7, 8, 9, 10, 11, 6, 7, 8]
    said = "3 of 6 near-duplicate groups, the largest with 2 slices.* groups='near-duplicate'"
    with pytest.warns(LeakageWarning, match=said):
        split = make_split(anonymous.subset(copies), 3)
    # What was found is what intervals draw as a whole.
    assert (split.protocol.label, split.group_kind) == ("paper", "near-duplicate")
    assert len(np.unique(split.groups)) == 12
    assert split.groups.dtype.kind == "U"


def with_split(dataset: CTDataset, parts: list[str]) -> CTDataset:
    return CTDataset(dataset.paths, dataset.targets, official_split=parts)


def test_official_split(anonymous):
    parts = ["train", "train", "train", "val", "test", "test"] * 2
    split = make_split(with_split(anonymous, parts), "official", repeats=3)
    assert (split.protocol.label, len(split.folds)) == ("official", 3)
    fold = split.folds[0]
    for part, name in ((fold.train, "train"), (fold.validation, "val"), (fold.test, "test")):
        np.testing.assert_array_equal(part, np.flatnonzero(np.array(parts) == name))
    assert split.groups is split.group_kind is None
    assert len(make_split(with_split(anonymous, parts), "official").folds) == 5
    patients = [f"p{i}" for i in range(12)]
    known = CTDataset(anonymous.paths, anonymous.targets, patients, official_split=parts)
    split = make_split(known, "official")
    assert (split.groups.tolist(), split.group_kind) == (patients, "patient")


def test_an_official_split_that_tears_patients_or_is_never_run_is_refused(anonymous):
    parts = ["train", "train", "train", "val", "test", "test"] * 2
    with pytest.raises(ValueError, match="repeats must be an integer of at least 1, got 0"):
        make_split(with_split(anonymous, parts), "official", repeats=0)
    for torn, where in (
        ([2, 3], "training and the validation"),
        ([3, 4], "validation and the test"),
    ):
        patients = [str(i) for i in range(12)]
        patients[torn[1]] = patients[torn[0]]
        dataset = CTDataset(anonymous.paths, anonymous.targets, patients, official_split=parts)
        with pytest.raises(
            ValueError, match=f"fold 0 .* group '{torn[0]}' in both the {where} part"
        ):
            make_split(dataset, "official")


@pytest.mark.parametrize(
    ("cv", "groups", "message"),
    [
        (7, None, "class 'non-COVID' has 6 slices, fewer than the 7 folds"),
        (1, None, "cv must be an integer of at least 2, got 1"),
        (
            "five",
            None,
            "cv must be an integer, 'official', 'source', a scikit-learn.*got 'five'",
        ),
        ("official", None, "has no official split"),
        ("official", "patient", "the patients of dataset 'custom' are unknown"),
        (3, "patients", "one label per slice, got 'patients'"),
        (3, [1, 2], "2 labels for 12 slices"),
        (3, [None, float("nan"), ""] * 4, "no label .* for 12 slices, the first at position 0"),
        (3, [[1, 2]] * 12, "groups must have one value for each of 12"),
        (5.0, None, "cv must be an integer, .* or pairs of training and test positions, got 5.0"),
        (3, ["a", float("nan")] * 6, "no label .* for 6 slices, the first at position 1"),
        (
            3,
            [0] * 6 + [1] * 6,
            r"groups \(given groups\) .* 1 of 'non-COVID' and 1 of 'COVID'; a split is impossible",
        ),
        (3, [*"aabbcc", *"dddeee"], "2 of 'non-COVID' and 3 of 'COVID'; use at most 2 folds"),
    ],
)
def test_impossible_splits_say_why(anonymous, cv, groups, message):
    with pytest.raises(ValueError, match=message):
        make_split(anonymous, cv, groups=groups)


def test_the_rarer_class_is_named():
    with pytest.raises(ValueError, match="class '0' has 2 slices, fewer than the 3 folds"):
        make_split([0, 0, 1, 1, 1], 3)


class Fixed:
    """A splitter that yields what it was given."""

    def __init__(self, train, test):
        self.fold = (train, test)

    def split(self, X, y=None, groups=None):
        yield self.fold


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (range(6), range(5, 12), "slices in both the training and the test part"),
        (range(3), range(3, 12), "training part of fold 0 has only class 'COVID'"),
        (range(8), [], "test part of fold 0 has no slice"),
        (range(8), range(8, 13), "position 12, but the positions of 12 slices are 0 to 11"),
        (range(8), [-1], "position -1"),
    ],
)
def test_folds_of_foreign_splitters_are_checked(anonymous, train, test, message):
    with pytest.raises(ValueError, match=message):
        make_split(anonymous, Fixed(list(train), list(test)))


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")  # scikit-learn
def test_torn_groups_of_foreign_splitters_are_refused(phantoms):
    splitter = StratifiedKFold(3, shuffle=True, random_state=0)
    with pytest.raises(ValueError, match=r"group .* in both the training and the test part"):
        make_split(phantoms, splitter, groups="patient")


def test_targets_alone_can_be_split() -> None:
    targets = np.arange(40) % 2
    split = make_split(targets, 4, groups=np.arange(40) // 4)
    assert sorted(len(fold.test) for fold in split.folds) == [8, 8, 12, 12]
    with pytest.raises(ValueError, match=r"needs a CTDataset|are unknown"):
        make_split(targets, 4, groups="near-duplicate")


@pytest.fixture
def one_slice_of_two_patients(tmp_path: Path) -> covidct.CTDataset:
    """Phantoms of 8 patients; a slice of patient 0 is also listed as patient 2's."""
    phantoms = covidct.load_dataset("phantom", n=32, seed=0)
    phantoms.save(tmp_path)
    saved = covidct.load_dataset("folder", tmp_path)
    first = saved.subset(np.argsort(saved.groups, kind="stable"))
    copy = tmp_path / "COVID" / "copy.png"
    copy.write_bytes(first.paths[0].read_bytes())
    return covidct.CTDataset(
        [*first.paths, copy], [*first.targets, 1], [*first.groups, "patient-0002"]
    )


def test_near_duplicates_of_other_patients_are_kept_together(
    one_slice_of_two_patients: covidct.CTDataset,
) -> None:
    data = one_slice_of_two_patients
    split = make_split(data, 2, groups="patient+near-duplicate")
    assert split.protocol.group_kind == "patient+near-duplicate"
    assert split.group_kind == "patient"  # intervals resample patients
    for fold in split.folds:
        side = np.isin(np.arange(len(data)), fold.test)
        assert (
            len(
                {
                    side[i]
                    for i in range(len(data))
                    if data.groups[i] in ("patient-0000", "patient-0002")
                }
            )
            == 1
        )


def test_a_split_by_patient_warns_of_near_duplicates(
    one_slice_of_two_patients: covidct.CTDataset,
) -> None:
    data = one_slice_of_two_patients
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = [make_split(data, 4, groups="patient", seed=seed) for seed in range(4)]
    torn = sum(
        len({number for number, fold in enumerate(split.folds) for i in (0, 32) if i in fold.test})
        == 2
        for split in splits
    )
    told = [
        str(w.message) for w in caught if "near-duplicates of another patient" in str(w.message)
    ]
    assert torn
    assert len(told) == torn
    alike = splits_module.near_duplicate_groups(data)
    counts = [
        sum(any(alike[i] == alike[j] for j in f.train) for f in split.folds for i in f.test)
        for split in splits
    ]
    assert [int(message.split()[0]) for message in told] == [count for count in counts if count]
    assert max(counts) < len(data)


@pytest.mark.parametrize("groups", [None, "patient"])
@pytest.mark.filterwarnings("ignore::covidct.runs.splits.LeakageWarning")  # not tested here
def test_repeats_shuffle_the_folds_of_one_search(phantoms, groups, monkeypatch):
    searches = []
    find = splits_module.near_duplicate_groups
    monkeypatch.setattr(
        splits_module, "near_duplicate_groups", lambda *given: searches.append(1) or find(*given)
    )
    once = make_split(phantoms, 2, groups=groups, seed=3)
    number = len(searches)
    split = make_split(phantoms, 2, groups=groups, seed=3, repeats=4)
    assert len(searches) == 2 * number
    assert split.repeats == (0, 0, 1, 1, 2, 2, 3, 3)
    assert split.folds[:2] == once.folds  # bit for bit
    for first, second in zip(split.folds[::2], split.folds[1::2], strict=True):
        assert sorted([*first.test, *second.test]) == list(range(24))
        if groups:
            assert not set(phantoms.groups[first.train]) & set(phantoms.groups[first.test])
    # Six patients allow few divisions, of which one may be drawn twice.
    different = {frozenset(fold.test.tolist()) for fold in split.folds}
    assert len(different) == 8 if groups is None else len(different) > 2
    assert make_split(phantoms, 2, groups=groups, seed=3, repeats=2).folds == split.folds[:4]


def test_splitters_repeat_themselves(anonymous):
    with pytest.raises(ValueError, match=r"repeats=2 needs a number of folds, cv='official' or"):
        make_split(anonymous, StratifiedKFold(2), repeats=2)
    assert len(make_split(anonymous, StratifiedKFold(2), repeats=1).folds) == 2


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 1), min_size=8, max_size=60),
    st.integers(2, 4),
    st.integers(0, 5),
    st.integers(1, 3),
)
def test_random_folds_test_every_slice_once_per_repeat_at_equal_shares(targets, cv, seed, repeats):
    counts = np.bincount(targets, minlength=2)
    if counts.min() < cv:
        return
    split = make_split(targets, cv, seed=seed, repeats=repeats)
    assert split.repeats == tuple(np.repeat(range(repeats), cv))
    for fold, repeat in zip(split.folds, split.repeats, strict=True):
        assert sorted([*fold.train, *fold.test]) == list(range(len(targets)))
        held = np.bincount(np.take(targets, fold.test), minlength=2)
        assert (np.abs(held - counts / cv) < 1).all()
        assert fold in split.folds[repeat * cv : (repeat + 1) * cv]
    for start in range(0, repeats * cv, cv):
        tested = np.concatenate([fold.test for fold in split.folds[start : start + cv]])
        assert sorted(tested) == list(range(len(targets)))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 1)), min_size=6, max_size=20),
    st.integers(2, 3),
    st.integers(0, 5),
)
def test_grouped_folds_keep_groups_together_and_test_every_slice_once(patients, cv, seed):
    """Whole patients of one class each, of any number of slices, mixed over the dataset."""
    sizes, labels = np.transpose(patients)
    if np.bincount(labels, minlength=2).min() < cv:
        return
    order = np.random.default_rng(seed).permutation(sizes.sum())
    groups = np.repeat(np.arange(len(sizes)), sizes)[order]
    targets = labels[groups]
    split = make_split(targets, cv, groups=groups, seed=seed)
    for fold in split.folds:
        assert sorted([*fold.train, *fold.test]) == list(range(len(targets)))
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert set(targets[fold.test]) == set(targets[fold.train]) == {0, 1}
    assert sorted(np.concatenate([f.test for f in split.folds])) == list(range(len(targets)))
    again = make_split(targets, cv, groups=groups, seed=seed)
    for one, two in zip(split.folds, again.folds, strict=True):
        np.testing.assert_array_equal(one.test, two.test)

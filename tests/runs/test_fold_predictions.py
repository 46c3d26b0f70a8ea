"""Predictions by fold, slice and patient, against sums by hand and scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from covidct.runs.fold_predictions import FoldPredictions, per_patient
from covidct.runs.protocol import Protocol
from covidct.runs.splits import Fold

TARGETS = np.array([0, 0, 1, 1, 0, 1])
PATIENTS = np.array(["a", "a", "b", "b", "c", "c"])
TESTS = [[0, 2, 4], [5, 1, 3], [0, 1, 2], [3, 4, 5]]  # two repeats of two folds
PROBABILITIES = np.array([0.1, 0.7, 0.6, 0.3, 0.5, 0.8, 0.4, 0.2, 0.9, 0.4, 0.7, 1.0])
NONE = np.empty(0, np.int64)


def predicted(groups=PATIENTS, *, tests=TESTS, names=("",) * 4, **options):
    index = np.concatenate(tests)
    rows = pd.DataFrame(
        {
            "index": index,
            "path": [f"{i}.png" for i in index],
            "target": TARGETS[index],
            "label": np.array(["healthy", "COVID"])[TARGETS[index]],
            "group": "" if groups is None else groups[index],
            "fold": np.repeat(range(len(tests)), [len(test) for test in tests]),
            "probability": PROBABILITIES[: len(index)],
            "logit": np.arange(len(index)) / 8,
            "p_flu": PROBABILITIES[: len(index)][::-1],
        }
    )
    folds = tuple(
        Fold(np.setdiff1d(range(6), test), np.array(test), NONE, name)
        for test, name in zip(tests, names, strict=False)
    )
    options = {"group_kind": "patient", **options}
    return FoldPredictions(
        "m", "d", "hash", ("healthy", "COVID"), Protocol.paper(), folds, rows, **options
    )


def test_folds_have_numbers_names_and_repeats():
    result = predicted()
    assert (result.model_name, result.dataset_name, result.content_hash) == ("m", "d", "hash")
    assert result.fold_names == ("0", "1", "2", "3")
    assert result.repeat_numbers == (0, 0, 1, 1)
    assert predicted(names=("north", "", "south", "")).fold_names == ("north", "1", "south", "3")
    rows = result.fold_predictions(1)
    assert rows.index.tolist() == [0, 1, 2]
    assert list(rows) == list(result.predictions)
    assert rows["index"].tolist() == [5, 1, 3]
    assert rows["probability"].tolist() == [0.3, 0.5, 0.8]


@pytest.mark.parametrize(
    ("groups", "kind", "expected"),
    [
        (PATIENTS, "patient", (True, "patient", "patient", True)),
        (PATIENTS, "near-duplicate", (True, "near-duplicate group", "near-duplicate group", False)),
        (None, "patient", (False, "patient", "slice", False)),
        (np.array(["", *PATIENTS[1:]]), "patient", (False, "patient", "slice", False)),
        (PATIENTS, None, (True, "group", "group", True)),
    ],
)
def test_units(groups, kind, expected):
    result = predicted(groups, group_kind=kind)
    units = (result.has_groups, result.unit, result.resampled_unit, result.has_patients)
    assert units == expected
    assert (result._units() == result.predictions["group" if expected[0] else "index"]).all()


def test_slices_are_averaged_over_the_folds_that_tested_them():
    result = predicted(labels=("flu",))
    index = np.concatenate(TESTS)
    pooled = result.pooled_predictions()
    assert pooled["index"].tolist() == list(range(6))
    assert pooled.index.tolist() == list(range(6))
    assert list(pooled) == list(result.predictions)
    for column in ("probability", "logit", "p_flu"):
        values = result.predictions[column].to_numpy()
        expected = [np.mean(values[index == i]) for i in range(6)]
        assert pooled[column].to_numpy() == pytest.approx(expected), column
    assert pooled["fold"].tolist() == [0, 1, 0, 1, 0, 1]  # the first that tested it
    assert pooled["target"].tolist() == TARGETS.tolist()
    unlabeled = predicted().pooled_predictions()
    assert unlabeled["p_flu"].tolist() == result.predictions["p_flu"][[0, 4, 1, 5, 2, 3]].tolist()


def test_patients_are_averaged_within_each_fold():
    found = predicted().patient_predictions()
    columns = ["fold", "repeat", "group", "target", "probability", "slices", "positive_slices"]
    assert list(found) == columns
    assert found.to_dict("list") == {
        "fold": [0, 0, 0, 1, 1, 1, 2, 2, 3, 3],
        "repeat": [0] * 6 + [1] * 4,
        "group": [*"abc", *"abc", *"ab", *"bc"],
        # A patient with any positive slice, in this fold or another one, is positive.
        "target": [0, 1, 1, 0, 1, 1, 0, 1, 1, 1],
        "probability": pytest.approx([0.1, 0.7, 0.6, 0.5, 0.8, 0.3, 0.3, 0.9, 0.4, 0.85]),
        "slices": [1, 1, 1, 1, 1, 1, 2, 1, 1, 2],
        "positive_slices": [0, 1, 0, 0, 1, 1, 0, 1, 1, 1],
    }
    assert predicted(None).patient_predictions() is None


def test_patients_may_have_numbers():
    rows = pd.DataFrame({"fold": 0, "group": [7, 7], "target": [0, 1], "probability": [0.25, 0.75]})
    (row,) = per_patient(rows).to_dict("records")
    assert (row["group"], row["target"], row["probability"]) == ("7", 1, 0.5)


def test_confusion_matrices_are_those_of_scikit_learn():
    result = predicted()
    expected = []
    for fold, test in enumerate(TESTS):
        called = PROBABILITIES[3 * fold : 3 * fold + 3] >= 0.5
        expected.append(confusion_matrix(TARGETS[test], called, labels=[0, 1]))
        np.testing.assert_array_equal(result.confusion_matrix(fold), expected[-1])
    np.testing.assert_allclose(result.confusion_matrix(), np.mean(expected, axis=0))


def test_share_of_slices_with_their_patient_in_training():
    # Folds 0 and 1 train on the other slice of each patient; folds 2 and 3 on one of b alone.
    assert predicted().shared_groups() == pytest.approx((3 + 3 + 1 + 1) / 12)
    assert predicted(tests=[[0, 1], [2, 3], [4, 5]], names=("",) * 3).shared_groups() == 0
    assert predicted(None).shared_groups() is None
    # The patients of slices that are trained on and never tested are unknown.
    assert predicted(tests=[[0, 2]], names=("",)).shared_groups() is None


def test_patients_of_both_classes_are_counted():
    (note,) = predicted().group_notes()
    assert note == (
        "1 of 3 patients have slices of both classes; a patient with any COVID slice counts as "
        "COVID."
    )
    assert predicted(tests=[[0, 1], [2, 3]], names=("", "")).group_notes() == []

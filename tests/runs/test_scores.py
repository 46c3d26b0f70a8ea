"""Metrics and intervals of a run, against scikit-learn and against arrays put together by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from covidct.evaluation import intervals
from covidct.evaluation.label_scores import LabelScores
from covidct.evaluation.metrics import METRICS, TABLE_METRICS
from covidct.evaluation.tables import percent, percent_range
from covidct.runs.protocol import Protocol
from covidct.runs.scores import ScoredFolds
from covidct.runs.splits import Fold

SLICES = 120
PATIENTS = np.arange(SLICES) // 2
TARGETS = (PATIENTS % 3 == 0).astype(int)
KINDS = np.array(["flu", "normal"])[PATIENTS % 2]
KINDS[TARGETS == 1] = "COVID"


def scored(*, repeats=1, folds=4, patients=True, labels=(), kind="patient", **options):
    """Predictions of folds of whole patients."""
    rng = np.random.default_rng(3)
    orders = [rng.permutation(60) for _ in range(repeats)]
    parts = [part for order in orders for part in np.array_split(order, folds)]
    tests = [np.flatnonzero(np.isin(PATIENTS, part)) for part in parts]
    index = np.concatenate(tests)
    values = {name: rng.random(len(index)) + 0.5 * (KINDS[index] == name) for name in labels}
    total = sum(values.values())
    rows = pd.DataFrame(
        {
            "index": index,
            "path": [f"{i}.png" for i in index],
            "target": TARGETS[index],
            "label": KINDS[index] if labels else np.array(["no", "yes"])[TARGETS[index]],
            "group": [f"p{PATIENTS[i]:02}" for i in index] if patients else "",
            "fold": np.repeat(range(len(tests)), [len(test) for test in tests]),
            "probability": np.clip(rng.normal(0.25 + 0.5 * TARGETS[index], 0.3), 0, 1),
            "logit": 0.0,
            **{f"p_{name}": value / total for name, value in values.items()},
        }
    )
    none = np.empty(0, np.int64)
    names = options.pop("names", [""] * len(tests))
    split = tuple(
        Fold(np.setdiff1d(range(SLICES), test), test, none, name)
        for test, name in zip(tests, names, strict=True)
    )
    protocol = options.pop("protocol", Protocol.grouped("patient"))
    return ScoredFolds(
        "net",
        "ward",
        "",
        ("no", "yes"),
        protocol,
        split,
        rows,
        group_kind=kind if patients else None,
        labels=labels,
    )


def by_scikit_learn(targets, probabilities):
    calls = np.asarray(probabilities) >= 0.5
    return {
        "accuracy": sk.accuracy_score(targets, calls),
        "precision": sk.precision_score(targets, calls),
        "recall": sk.recall_score(targets, calls),
        "specificity": sk.recall_score(targets, calls, pos_label=0),
        "f1": sk.f1_score(targets, calls),
        "auc": sk.roc_auc_score(targets, probabilities),
    }


def patients_of_fold(result, fold):
    rows = result.predictions[result.predictions["fold"] == fold]
    parts = [part for _, part in sorted(rows.groupby("group"))]
    return (
        np.array([part["target"].max() for part in parts]),
        np.array([part["probability"].mean() for part in parts]),
    )


def test_metrics_of_folds_are_those_of_scikit_learn():
    result = scored()
    expected = []
    for fold in range(4):
        rows = result.predictions[result.predictions["fold"] == fold]
        expected.append(by_scikit_learn(rows["target"], rows["probability"]))
        found = result.fold_metrics[fold]
        assert {name: found[name] for name in expected[-1]} == pytest.approx(expected[-1])
    assert len(result.fold_metrics) == 4
    for name in expected[0]:
        values = [scores[name] for scores in expected]
        assert result.summary()[name] == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_metrics_of_patients_are_those_of_scikit_learn():
    result = scored()
    assert len(result.patient_metrics) == 4
    for fold, found in enumerate(result.patient_metrics):
        expected = by_scikit_learn(*patients_of_fold(result, fold))
        assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert scored(patients=False).patient_metrics is None
    assert scored(patients=False).patient_intervals() is None


@pytest.mark.parametrize("patients", [True, False])
def test_intervals_resample_patients_or_slices(patients):
    result = scored(patients=patients)
    rows = result.predictions
    options = {"folds": rows["fold"], "groups": rows["group" if patients else "index"]}
    for level in (0.95, 0.8):
        expected = intervals.bootstrap(rows["target"], rows["probability"], **options, level=level)
        assert result.intervals(level=level) == expected
    assert result.intervals() == result.intervals(level=0.95) != expected
    result.intervals().clear()  # a copy
    assert set(result.intervals()) == set(METRICS)
    assert result.resampling == (
        "by resampling whole patients" if patients else "by resampling slices"
    )


def test_intervals_of_patients():
    result = scored()
    folds = [patients_of_fold(result, fold) for fold in range(4)]
    targets, probabilities = (np.concatenate(parts) for parts in zip(*folds, strict=True))
    fold_of = np.repeat(range(4), 15)
    names = result.patient_predictions()["group"]
    for level in (0.95, 0.8):
        found = result.patient_intervals(level=level)
        options = {"folds": fold_of, "groups": names, "level": level}
        expected = intervals.bootstrap(targets, probabilities, **options)
        assert tuple(found["auc"]) == pytest.approx(tuple(expected["auc"]))
        for name, count in {"accuracy": 60, "recall": 20, "specificity": 40}.items():
            mean = np.mean([by_scikit_learn(*fold)[name] for fold in folds])
            interval = intervals.wilson(mean * count, count, level=level)
            assert tuple(found[name]) == pytest.approx(tuple(interval)), name
    assert result.patient_intervals() == result.patient_intervals(level=0.95) != found
    result.patient_intervals().clear()  # a copy
    assert set(result.patient_intervals()) == set(METRICS)


def test_one_fold_has_intervals_of_patients():
    result = scored(folds=1)
    accuracy = by_scikit_learn(*patients_of_fold(result, 0))["accuracy"]
    expected = intervals.wilson(60 * accuracy, 60)
    assert tuple(result.patient_intervals()["accuracy"]) == pytest.approx(tuple(expected))


def test_intervals_of_few_patients_are_said_to_be_rough():
    result = scored()
    assert not any(note.startswith("Small sample") for note in result.interval_notes())
    result.predictions = result.predictions[result.predictions["index"] < 80]
    assert any(note.startswith("Small sample (40 patients)") for note in result.interval_notes())


def test_patients_of_one_class_have_no_interval_of_recall():
    result = scored()
    result.predictions["target"] = 0
    found = result.patient_intervals()
    assert np.isnan(found["recall"].low)
    calls = [(patients_of_fold(result, fold)[1] < 0.5).mean() for fold in range(4)]
    expected = intervals.wilson(60 * np.mean(calls), 60)
    assert tuple(found["specificity"]) == pytest.approx(tuple(expected))
    assert json_numbers(result)["patient_intervals_95"]["recall"] == [None, None]


def json_numbers(result):
    content = result.to_dict()
    content["patient_intervals_95"] = {
        name: list(ends)[:2] for name, ends in content["patient_intervals_95"].items()
    }
    return content


@pytest.mark.parametrize("patients", [True, False])
def test_labels_with_probabilities_of_their_own(patients):
    names = ("COVID", "flu", "normal")
    result = scored(labels=names, patients=patients)
    rows = result.predictions
    expected = LabelScores.of(
        rows["label"],
        {name: rows[f"p_{name}"] for name in names},
        folds=rows["fold"],
        groups=rows["group" if patients else "index"],
        unit="patient" if patients else "slice",
    )
    found = result.label_scores
    np.testing.assert_array_equal(found.confusion_matrix(), expected.confusion_matrix())
    assert found.macro_f1 == expected.macro_f1
    assert found.macro_f1_interval == expected.macro_f1_interval
    assert found.unit == expected.unit
    calls = rows[[f"p_{name}" for name in names]].to_numpy().argmax(axis=1)
    of_folds = [
        sk.f1_score(rows["label"][part], np.array(names)[calls[part]], average="macro")
        for part in (rows["fold"] == fold for fold in range(4))
    ]
    assert found.macro_f1 == pytest.approx(np.mean(of_folds))
    assert result.to_dict()["labels"] == found.to_dict()
    notes = result.table().notes
    start = f"Macro F1 of the 3 labels, by the highest probability: {percent(found.macro_f1)} ("
    assert any(note.startswith(start) for note in notes)
    assert any(note.startswith("By label: recall on 'COVID' ") for note in notes)
    assert scored().label_scores is None
    assert "labels" not in scored().to_dict()
    assert not any(note.startswith(("Macro", "By label")) for note in scored().table().notes)


def test_table_in_percent():
    result = scored()
    table = result.table()
    assert table.caption == "net on ward, protocol: grouped by patient (percent)"
    assert table.header == ("fold", "0", "1", "2", "3", "mean ± sd", "95 % interval")
    assert len(table.rows) == len(TABLE_METRICS)
    for name, row in zip(TABLE_METRICS, table.rows, strict=True):
        scores = [percent(of_fold[name]) for of_fold in result.fold_metrics]
        ends = percent_range(*result.intervals()[name])
        assert row == (METRICS[name].title, *scores, percent(*result.summary()[name]), ends)
    means = {name: np.mean([m[name] for m in result.patient_metrics]) for name in METRICS}
    ends = result.patient_intervals()
    listed = ", ".join(
        f"{name} {percent(means[name])} ({percent_range(*ends[name])})"
        for name in ("accuracy", "recall", "specificity")
    )
    assert f"Per patient, by the mean probability of its slices: {listed}" in table.notes
    assert not any("retrained" in note for note in table.notes)
    # By chance, a patient has slices of both classes.
    result = scored()
    result.predictions.loc[0, "target"] = 1 - result.predictions.loc[0, "target"]
    assert any(note.startswith("1 of 60 patients have") for note in result.table().notes)


@pytest.mark.parametrize(
    ("repeats", "folds", "header"),
    [
        (1, 10, [*map(str, range(10))]),
        (1, 11, []),
        (2, 5, [*map(str, range(10))]),
        (2, 6, ["0", "1"]),
        (10, 3, [*map(str, range(10))]),
        (11, 3, []),
    ],
)
def test_columns_of_many_folds_are_those_of_repeats(repeats, folds, header):
    result = scored(repeats=repeats, folds=folds)
    table = result.table()
    by_repeat = repeats > 1 and len(header) == repeats
    assert table.header[0] == ("repeat" if by_repeat else "fold")
    assert list(table.header[1:-2]) == header
    accuracies = np.reshape([m["accuracy"] for m in result.fold_metrics], (repeats, folds))
    shown = accuracies.mean(axis=1) if by_repeat else accuracies.ravel()[: len(header)]
    assert list(table.rows[0][1:-2]) == [percent(value) for value in shown]
    over = f"the {repeats * folds} folds of {repeats} repeats" if repeats > 1 else "folds"
    assert table.notes[0].startswith(f"sd: sample standard deviation over {over}, which is")
    ends = percent_range(*result.retraining_interval())
    retrained = f"95 % interval of the accuracy for retrained networks: {ends}."
    assert (retrained in table.notes) is (repeats > 1)


def test_frame_has_a_row_per_fold():
    result = scored()
    frame = result.to_frame()
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert frame.index.name == "fold"
    assert frame["auc"].tolist() == [scores["auc"] for scores in result.fold_metrics]
    named = scored(names=["north", "south", "", "west"])
    assert named.to_frame().index.tolist() == ["north", "south", "2", "west"]


def test_plain_values():
    result = scored()
    content = json_numbers(result)
    assert [content[key] for key in ("model", "dataset", "protocol")] == [
        *("net", "ward", "grouped by patient")
    ]
    assert content["folds"] == result.fold_metrics
    assert content["patients"] == result.patient_metrics
    mean, sd = result.summary()["auc"]
    assert content["summary"]["auc"] == {"mean": mean, "sd": sd}
    assert list(content["intervals_95"]["auc"])[:2] == list(result.intervals()["auc"])
    assert content["patient_intervals_95"]["auc"] == list(result.patient_intervals()["auc"])
    assert result.settings == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, None),
        ({"patients": False}, "if patients have several slices: they resample slices"),
        ({"kind": "near-duplicate"}, "they resample near-duplicate groups"),
    ],
)
def test_intervals_without_patients_are_said_to_be_narrow(options, said):
    result = scored(**options)
    notes = [note for note in result.interval_notes() if "too narrow" in note]
    assert len(notes) == (said is not None)
    assert not notes or said in notes[0]
    assert set(result.interval_notes()) <= set(result.table().notes)


@pytest.mark.parametrize(
    ("protocol", "patients", "said"),
    [
        (Protocol.paper(), True, None),  # by chance, no patient is torn
        (Protocol.paper(), False, "Slices are split at random"),
        (Protocol.grouped("patient"), False, None),
    ],
)
def test_random_splits_are_said_to_leak(protocol, patients, said):
    notes = scored(protocol=protocol, patients=patients).table().notes
    found = [note for note in notes if note.startswith("Slices are split at random")]
    assert len(found) == (said is not None)


def test_retraining_intervals_and_variances_have_a_level_and_a_metric():
    result = scored(repeats=3)
    low, high = result.retraining_interval("auc")
    narrow = result.retraining_interval("auc", level=0.5)
    assert low < narrow.low < narrow.high < high
    assert result.retraining_interval() == result.retraining_interval("accuracy") != (low, high)
    assert result.variance_components().both != result.variance_components("auc").both
    assert result.variance_components().both == result.variance_components("accuracy").both
    assert result.interval_table("auc").header[1] == "AUC"
    assert result.interval_table().header[1] == "accuracy"

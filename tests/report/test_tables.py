from __future__ import annotations

import math

import pytest

from covidct.evaluation.comparison import corrected_resampled_ttest, holm
from covidct.report.tables import fold_table, group_table, test_table

test_table.__test__ = False  # a function of the library, whose name pytest takes for a test


def better(result, changed, by):
    scores = [
        {**fold, "accuracy": fold["accuracy"] + by + 0.01 * k}
        for k, fold in enumerate(result.fold_metrics)
    ]
    return changed(result, fold_metrics=scores)


def test_same_folds_are_tested(random, changed):
    runs = {"a": random, "b": better(random, changed, 0.1), "c": better(random, changed, 0.3)}
    table = test_table(runs)
    assert [row[0] for row in table.rows] == ["a less b", "a less c", "b less c"]
    train = test = 12  # of 24 phantoms, in two folds
    p_values = [
        corrected_resampled_ttest(d, n_train=train, n_test=test).p_value
        for d in ([-0.1, -0.11], [-0.3, -0.31], [-0.2, -0.2])
    ]
    assert [row[3] for row in table.rows] == [f"{p:.3f}" for p in p_values]
    assert [row[4] for row in table.rows] == [f"{p:.3f}" for p in holm(p_values)]
    assert table.rows[0][1] == "-10.5"


def test_other_folds_are_not_tested(random, grouped):
    assert test_table({"random": random, "grouped": grouped}) is None


def test_other_slices_are_not_tested(random, changed):
    other = changed(random, {"dataset": {**random.run["dataset"], "content_hash": "0"}})
    assert test_table({"a": random, "b": other}) is None


def test_repeats_of_one_split_are_not_tested(random, changed):
    repeated = changed(random, folds=(random.folds[0],) * 2)
    assert test_table({"a": repeated, "b": repeated}) is None


def test_undefined_metrics_are_dashes_and_said_to_be(random, changed):
    scores = [{**fold, "precision": math.nan} for fold in random.fold_metrics]
    table = fold_table(changed(random, fold_metrics=scores))
    assert [row[2] for row in (*table.rows, table.footer[0])] == ["–"] * 3
    assert any("Precision is undefined" in note and "2 of 2" in note for note in table.notes)


def test_no_groups_no_table(random, changed):
    predictions = random.predictions.copy()
    predictions["group"] = ""
    assert group_table(changed(random, predictions=predictions)) is None


@pytest.mark.parametrize(
    ("protocol", "unit"),
    [("paper", "patient"), ("grouped by near-duplicate", "near-duplicate group")],
)
def test_groups_are_called_what_they_are(random, changed, protocol, unit):
    result = changed(random, protocol=protocol)
    assert result.unit == unit
    assert group_table(result).caption.startswith(f"Each {unit} ")

from __future__ import annotations

import math

import pytest

from covidct.report.result_tables import difference_table, fold_table, group_table
from covidct.runs.protocol import Protocol


def test_same_folds_are_tested(random, changed):
    runs = {"a": random, "b": changed(random), "c": changed(random)}
    table = difference_table(runs)
    assert [row[0] for row in table.rows] == ["a minus b", "a minus c", "b minus c"]
    assert {row[1] for row in table.rows} == {"+0.0"}
    assert len(table.header) == len(table.rows[0])
    assert "Holm: p-value corrected for the number of tests, 3." in table.notes


def test_what_a_split_is_worth_is_tested(random, grouped):
    (row,) = difference_table({"random": random, "grouped": grouped}).rows
    assert row[0] == "random minus grouped"
    assert row[-2:] == ("–", "–")


def test_other_folds_and_more_are_not_tested(random, grouped, changed):
    other = changed(grouped, model_name="resnet18")
    assert difference_table({"random": random, "grouped": other}) is None


def test_other_slices_are_not_tested(random, changed):
    other = changed(random, content_hash="0")
    assert difference_table({"a": random, "b": other}) is None


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
    ("protocol", "kind", "unit"),
    [
        (Protocol.paper(), "patient", "patient"),
        (Protocol.grouped("near-duplicate"), "near-duplicate", "near-duplicate group"),
        (Protocol.grouped("near-duplicate"), "patient", "patient"),
    ],
)
def test_groups_are_called_what_they_are(random, changed, protocol, kind, unit):
    result = changed(random, protocol=protocol, group_kind=kind)
    assert result.unit == unit
    table = group_table(result)
    assert table.caption == f"Metrics per {unit}, in percent"
    assert [row[0] for row in table.rows] == ["mean ± sd", "95 % interval"]
    assert table.header[0] == unit

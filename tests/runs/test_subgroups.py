"""Metrics of subgroups: their names, columns and numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from covidct.errors import UnknownNameError
from covidct.evaluation import metrics
from covidct.runs.external_test import ExternalEvaluation
from covidct.runs.protocol import Protocol
from covidct.runs.scores import ScoredFolds
from covidct.runs.splits import Fold
from covidct.runs.subgroups import subgroup_count, subgroup_names


def test_names_of_subgroups():
    assert subgroup_names([1, 2, 1], "stage").tolist() == ["1", "2", "1"]
    ages = pd.Series([*range(40), None])
    names = subgroup_names(ages, "age")
    assert len(set(names[:40])) == subgroup_count(ages) == 4
    assert names[-1] == "unknown"
    dates = range(20200101, 20200141)
    assert len(set(subgroup_names(dates, "date").tolist())) == 4
    with pytest.raises(ValueError, match="'id' has 60 different values, more than 50 subgroups"):
        subgroup_names([f"x{i}" for i in range(60)], "id")
    with pytest.raises(ValueError, match="'id' has 2 values for a dataset of 3 slices"):
        subgroup_names(["x", "y"], "id", count=3)


def test_external_tests_have_subgroups():
    rng = np.random.default_rng(0)
    targets = np.tile([0, 0, 1], 30)
    labels = np.tile(["normal", "CAP", "COVID"], 30)
    probabilities = np.where(targets, 0.8, 0.2) + rng.uniform(-0.1, 0.1, (2, 90))
    probabilities[1, labels == "CAP"] = 0.7  # the second network fails on pneumonia
    groups = np.array([f"p{i // 3}" for i in range(90)])
    columns = pd.DataFrame({"label": labels, "age": np.repeat(np.arange(30), 3)})
    found = ExternalEvaluation("a", "b", probabilities, targets, groups, columns=columns)
    frame = found.by("label")
    assert frame["specificity"].to_dict() == pytest.approx(
        {"CAP": 0.5, "COVID": np.nan, "normal": 1}, nan_ok=True
    )
    assert frame.loc["CAP", ["slices", "groups"]].tolist() == [30, 30]
    gap = found.gaps("label").loc["specificity"]
    assert (gap["highest"], gap["lowest"], gap["difference"]) == ("normal", "CAP", 0.5)
    assert gap["p_value"] <= 0.001
    assert "specificity on 'CAP' 50.0" in str(found)
    assert found.to_dict()["labels"]["CAP"]["specificity"] == 0.5
    assert len(found.by("age")) == 4
    assert found.by(["x", "y"] * 45)["slices"].tolist() == [45, 45]
    with pytest.raises(UnknownNameError, match="scanner"):
        found.by("scanner")


def test_runs_keep_the_columns_of_the_dataset(made_up_run):
    run = made_up_run(lambda targets, index: np.where(targets, 0.9, 0.1), slices=40)
    directory = run._directory
    scanners = np.where(np.arange(40) < 30, "A", "B")
    columns = pd.DataFrame(
        {"scanner": scanners, "age": range(40), "id": [f"{i}-x" for i in range(40)], "none": None}
    )
    columns.loc[[3, 5], "scanner"] = None
    wide = pd.DataFrame({"note": [f"text {i}" for i in range(60)]})
    directory.write_columns(wide)
    assert directory.read_columns() is None  # texts that differ everywhere are no subgroups
    directory.write_columns(columns)
    again = type(run).load(run.run_dir)
    assert list(again.columns) == ["scanner", "age", "id"]
    assert again.by("scanner")["slices"].to_dict() == {"A": 28, "B": 10, "unknown": 2}
    assert len(again.by("age")) == 4
    direct = again.by(pd.Series(scanners, name="device"))
    assert direct.index.name == "device"
    assert direct["slices"].tolist() == [30, 10]
    rows = again.predictions
    part = rows[rows["index"] < 30]
    each = [metrics.score(p["target"], p["probability"])["auc"] for _, p in part.groupby("fold")]
    assert direct.loc["A", "auc"] == pytest.approx(np.mean(each))
    with pytest.raises(UnknownNameError, match="hospital"):
        again.by("hospital")
    with pytest.raises(ValueError, match="'subgroup' has 3 values for a dataset of 40 slices"):
        again.by([1, 2, 3])


def test_values_of_all_slices_name_subgroups_of_the_tested_ones():
    """Also if the last slices of the dataset are in the validation part."""
    index = np.arange(40)
    rows = pd.DataFrame(
        {"index": index[20:30], "target": index[20:30] % 2, "probability": 0.7, "fold": 0}
    ).assign(group="", label="", logit=0.8)
    fold = Fold(index[:20], index[20:30], index[30:])
    scored = ScoredFolds("a", "b", "", ("no", "yes"), Protocol.official(), (fold,), rows)
    assert scored.by(np.where(index < 25, "early", "late"))["slices"].tolist() == [5, 5]
    with pytest.raises(ValueError, match="39 values for a dataset of 40 slices"):
        scored.by(np.repeat("early", 39))


def test_large_numbers_have_no_exponent():
    names = subgroup_names(np.arange(34_000, 135_000, 1000), "image size")
    assert names[0] == "34000 to 59000"

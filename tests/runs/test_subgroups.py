"""Metrics of subgroups and tests of their gaps, on predictions with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from covidct.errors import UnknownNameError
from covidct.evaluation import metrics
from covidct.runs import subgroups
from covidct.runs.external_test import ExternalEvaluation
from covidct.runs.protocol import Protocol
from covidct.runs.scores import ScoredFolds
from covidct.runs.splits import Fold
from covidct.runs.subgroups import (
    Gap,
    Scored,
    compare,
    describe_gap,
    gap_frame,
    subgroup_count,
    subgroup_frame,
    subgroup_names,
    subgroup_table,
)


def patients_of(n, wrong, *, sites, slices=3, seed=0):
    """Predictions of n patients; `wrong` of each subgroup's patients are judged wrong."""
    patients = np.repeat(np.arange(n), slices)
    targets = patients % 2
    names = np.asarray(sites)[(patients // 2) % len(sites)]
    probabilities = np.where(targets == 1, 0.9, 0.1)
    rng = np.random.default_rng(seed)
    for name, share in wrong.items():
        for target in (0, 1):
            members = np.unique(patients[(names == name) & (targets == target)])
            bad = rng.permutation(members)[: round(share * len(members))]
            chosen = np.isin(patients, bad)
            probabilities[chosen] = 1 - probabilities[chosen]
    folds = patients % 5
    return Scored(targets, probabilities, np.arange(n * slices), patients, folds), names


def test_known_shares_are_found():
    scored, names = patients_of(160, {"a": 0.0, "b": 0.5}, sites=["a", "b"])
    frame = subgroup_frame(scored, names, "site")
    assert frame.index.name == "site"
    assert frame.loc["a", ["slices", "groups", "accuracy"]].tolist() == [240, 80, 1]
    assert frame.loc["b", "accuracy"] == pytest.approx(0.5, abs=0.02)
    assert 0.25 < frame.loc["b", "recall_low"] < frame.loc["b", "recall"] < 0.65
    gap = compare(scored, names, n_permutations=199)[0]
    assert (gap.highest, gap.lowest, gap.left_out) == ("a", "b", ())
    assert gap.difference == pytest.approx(1 - frame.loc["b", "accuracy"])
    assert 0.3 < gap.low < gap.difference < gap.high < 0.7
    assert gap.p_value == 1 / 200


def test_equal_subgroups_have_no_gap():
    scored, names = patients_of(120, {}, sites=["a", "b", "c"])
    for gap in compare(scored, names, n_permutations=99):
        assert gap.difference == 0
        assert gap.p_value == 1
    assert [*describe_gap(gap, unit="patient")] == ["AUC is the same in all subgroups."]


def test_type_one_error_of_the_gap(monkeypatch):
    """Patients differ, subgroups don't: p is at most 0.2 in about a fifth of the cases."""
    monkeypatch.setattr(subgroups, "_interval", lambda *_: (np.nan, np.nan))  # slow, not needed
    rng = np.random.default_rng(0)
    found = []
    for _ in range(80):
        sizes = rng.integers(1, 6, 40)
        patients = np.repeat(np.arange(40), sizes)
        targets = patients % 2
        logits = 1.0 * (2 * targets - 1) + rng.normal(size=40)[patients]
        logits = logits + rng.normal(size=len(patients))
        scored = Scored(
            targets,
            1 / (1 + np.exp(-logits)),
            np.arange(len(patients)),
            patients,
            np.zeros(len(patients), np.int64),
        )
        names = np.array(["a", "b"])[rng.permutation(np.arange(40) // 20)[patients]]
        found.append(compare(scored, names, n_permutations=49)[0].p_value)
    assert 0.06 < np.mean(np.asarray(found) <= 0.2) < 0.34  # three standard errors around 0.2


def test_small_subgroups_are_listed_but_not_compared():
    scored, names = patients_of(60, {}, sites=["a", "b"])
    names = names.astype("<U5")
    names[scored.units < 6] = "small"
    gaps = gap_frame(compare(scored, names, n_permutations=19))
    assert gaps.loc["accuracy", "left_out"] == ("small",)
    assert gaps.loc["accuracy", "highest"] in ("a", "b")
    few, of = patients_of(10, {}, sites=["a", "b"])
    gap = compare(few, of, n_permutations=19)[0]
    assert np.isnan([gap.difference, gap.low, gap.p_value]).all()
    assert gap.left_out == ("a", "b")
    table = subgroup_table(
        subgroup_frame(few, of, "site"),
        gap_frame(compare(few, of, n_permutations=19)),
        unit="patient",
        groups_known=True,
    )
    assert "fewer than 10 patients decide: a, b" in str(table)


def test_classes_are_no_test_of_subgroups():
    scored, _ = patients_of(80, {}, sites=["a"])
    probabilities = np.where(scored.units < 20, 1 - scored.probabilities, scored.probabilities)
    probabilities[scored.targets == 0] = 0.1
    scored = scored._replace(probabilities=probabilities)
    names = np.where(scored.targets == 1, "COVID", "normal")
    gap = compare(scored, names, n_permutations=19)[0]
    assert gap.highest == "normal"
    assert np.isnan(gap.p_value)
    names[(scored.targets == 0) & (scored.units >= 70)] = (
        "CAP"  # left out, but permuted with others
    )
    assert np.isnan(compare(scored, names, n_permutations=19)[0].p_value)
    assert "not tested" in next(describe_gap(gap, unit="patient"))


def test_sentence_about_a_gap():
    gap = Gap("auc", "a", "b", 0.1, np.nan, np.nan, 0.3, ())
    assert [*describe_gap(gap, unit="patient")] == [
        "AUC is 10.0 percentage points higher for 'a' than for 'b' (p = 0.3): this may be chance."
    ]


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

"""Gaps between subgroups and their tests, on predictions with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from covidct.runs import subgroup_gaps
from covidct.runs.subgroup_gaps import Gap, Scored, compare, describe_gap, gap_frame
from covidct.runs.subgroups import subgroup_frame, subgroup_table


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
    monkeypatch.setattr(subgroup_gaps, "_interval", lambda *_: (np.nan, np.nan))  # slow, not needed
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
    assert "fewer than 10 patients: a, b" in str(table)


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

"""Sources that can be recognized, and that give the label away."""

from __future__ import annotations

import numpy as np
import pytest

import covidct
from covidct.audit.checks import check_sources
from covidct.audit.findings import AuditReport
from covidct.audit.measurements import measure_slices
from covidct.audit.sources import measure_confounding, recognize_sources


def test_confounding_of_known_counts():
    sources = np.repeat(["a", "b"], 100)
    targets = np.r_[np.ones(90, int), np.zeros(10, int), np.ones(30, int), np.zeros(70, int)]
    found = measure_confounding(sources, targets.astype(str), targets, np.arange(200))
    assert found.counts == {"a": {"0": 10, "1": 90}, "b": {"0": 70, "1": 30}}
    # chi-squared of a fourfold table: n (ad - bc)^2 / product of the margins
    expected = np.sqrt((90 * 70 - 10 * 30) ** 2 / (100 * 100 * 120 * 80))
    assert found.cramers_v == pytest.approx(expected)
    assert found.accuracy == 0.8
    assert found.base_rate == 0.6
    assert found.p_value == 1 / 200
    (finding,) = check_sources(found, None)
    assert finding.severity == "warning"
    assert "predicts the class of 80 % of slices (base rate 60 %)" in finding.title
    assert "'a': 10 0, 90 1" in finding.detail
    report = AuditReport("a", "slices", (finding,), np.arange(200), {})
    assert report.known_shortcuts == (finding.title,)


def test_few_patients_confound_by_chance():
    """Ten patients of many slices each: an association this large is not rare."""
    patients = np.repeat(np.arange(10), 20)
    targets = (patients % 2).astype(int)
    sources = np.where(np.isin(patients, [0, 2, 4, 1, 3]), "a", "b")
    found = measure_confounding(sources, targets.astype(str), targets, patients)
    assert found.cramers_v > 0.1
    assert found.p_value > 0.05
    assert [*check_sources(found, None)] == []


def test_one_source_or_class_is_not_measured():
    ones = np.ones(4, int)
    assert measure_confounding(np.repeat("a", 4), ones.astype(str), ones % 2, np.arange(4)) is None
    assert measure_confounding(np.array(list("aabb")), ones.astype(str), ones, np.arange(4)) is None


@pytest.fixture(scope="module")
def phantoms():
    return covidct.load_dataset("phantom", n=96, seed=0)


def test_sources_of_other_sizes_are_recognized(phantoms):
    other = covidct.load_dataset("phantom", n=48, seed=1, size=(200, 240))
    both = covidct.concat([phantoms.subset(range(48)), other], names=["a", "b"])
    found = recognize_sources(measure_slices(both), both.sources, both.groups)
    assert found.accuracy > 0.8
    assert found.p_value < 0.05
    (finding,) = check_sources(None, found)
    assert finding.severity == "note"
    assert "not a shortcut while" in finding.detail


def test_sources_by_chance_are_not_recognized(phantoms):
    patients = np.unique(phantoms.groups, return_inverse=True)[1]
    measurements, findings = measure_slices(phantoms), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        sources = rng.permutation(np.array(["a", "b"] * 12))[patients]
        found = recognize_sources(measurements, sources, phantoms.groups)
        findings += check_sources(None, found)
    assert len(findings) <= 1  # 5 % each


def test_few_groups_are_not_measured(phantoms):
    part = phantoms.subset(range(24))
    sources = np.where(np.arange(24) < 12, "a", "b")
    assert recognize_sources(measure_slices(part), sources, part.groups) is None


def test_the_audit_of_joined_sources(phantoms):
    a = phantoms.subset(np.flatnonzero((phantoms.targets == 1) | (np.arange(96) >= 80)))
    b = covidct.load_dataset("phantom", n=96, seed=3)
    b = b.subset(np.flatnonzero((b.targets == 0) | (np.arange(96) >= 80)))
    report = covidct.audit_dataset(covidct.concat([a, b], names=["a", "b"]))
    (finding,) = (f for f in report.findings if f.evidence["rule"] == "source and label")
    assert finding.severity == "warning"
    rows = report.tables["sources"]
    assert [row["source"] for row in rows] == ["a", "b"]
    assert rows[0]["positive share"] > 0.8
    assert "Slices of each source" in str(report)
    assert report.to_dict()["tables"]["sources"][0]["labels"].keys() == {"COVID", "non-COVID"}

"""The tables are whole, say what may be compared, and cost nothing to import."""

from __future__ import annotations

import json
import subprocess
import sys
from math import isnan

import pytest

import covidct
from covidct.errors import UnknownNameError
from covidct.evaluation import metrics, published

DATASETS = ("sars-cov-2-ct", "covid19-ct")


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, covidct; covidct.published.TABLE_2\n"
        "heavy = {'numpy', 'scipy', 'sklearn', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_network_of_the_paper_has_all_five_metrics(dataset):
    rows = published.results(dataset=dataset, comparable=True)
    assert [row.network for row in rows] == covidct.list_models()[: len(rows)]
    assert len(rows) == 12
    for row in rows:
        assert tuple(row.metrics) == metrics.PAPER_METRICS
        assert all(0.8 < mean < 1 and 0 < sd < 0.07 for mean, sd in row.metrics.values())


@pytest.mark.parametrize("dataset", DATASETS)
def test_f1_follows_from_precision_and_recall(dataset):
    """A misread figure would show: the harmonic mean holds up to rounding and averaging."""
    for row in published.results(dataset=dataset, comparable=True):
        precision, recall = row.metrics["precision"].mean, row.metrics["recall"].mean
        f1 = 2 * precision * recall / (precision + recall)
        assert row.metrics["f1"].mean == pytest.approx(f1, abs=0.004), row.network


@pytest.mark.parametrize(("dataset", "share"), [("sars-cov-2-ct", 0.504), ("covid19-ct", 0.468)])
def test_accuracy_follows_from_recall_and_specificity(dataset, share):
    for row in published.results(dataset=dataset, comparable=True):
        recall, specificity = row.metrics["recall"].mean, row.metrics["specificity"].mean
        accuracy = share * recall + (1 - share) * specificity
        assert row.metrics["accuracy"].mean == pytest.approx(accuracy, abs=0.0021), row.network


def test_cells_are_read_as_printed():
    (row,) = published.results(dataset="covid19-ct", network="squeezenet")
    assert row.metrics["precision"] == (0.863, 0.061)
    (quoted,) = published.results(dataset="sars-cov-2-ct", network="COVID CT-Net")
    assert dict(quoted.metrics) == {
        "recall": (0.85, 0.002),
        "specificity": (0.962, 0.001),
        "f1": (0.9, 0.001),
    }
    (single,) = published.results(network="CovidDenseNet")
    assert single.metrics["auc"].mean == 0.875
    assert isnan(single.metrics["auc"].sd)


def test_what_is_not_comparable_says_why():
    others = published.results(comparable=False)
    assert len(others) == 11 + 1
    for row in others:
        assert row.reason
        assert row.protocol
        assert row.citation
        assert set(row.metrics) <= set(metrics.METRICS)


def test_lookups_are_patterns_and_empty_where_nothing_is_known():
    assert {r.network for r in published.results(network="densenet*")} == {
        "densenet121",
        "densenet169",
        "densenet201",
    }
    assert published.results(dataset="my-own") == ()


def test_entries_cannot_be_changed():
    entry = published.TABLE_2[0]
    with pytest.raises(TypeError):
        entry.metrics["accuracy"] = published.Spread(1.0)
    with pytest.raises(AttributeError):
        entry.network = "mine"


class TestCompare:
    SUMMARY = {"accuracy": (0.861, 0.029), "auc": (0.93, 0.02), "f1": (0.85, float("nan"))}  # noqa: RUF012  # nothing changes it

    def test_rows(self):
        comparison = published.compare(self.SUMMARY, "squeezenet", "covid19-ct")
        assert comparison.comparable
        assert [row.metric for row in comparison.rows] == ["accuracy", "f1"]
        accuracy = comparison.rows[0]
        assert accuracy.run == (0.861, 0.029)
        assert accuracy.published == (0.873, 0.032)
        assert accuracy.difference == pytest.approx(-0.012)
        assert accuracy.difference_in_sds == pytest.approx(-0.012 / 0.032)

    def test_text_shows_every_row_and_caveat(self):
        comparison = published.compare(self.SUMMARY, "densenet169", "covid19-ct")
        text = str(comparison)
        assert "86.1 ± 2.9  91.2 ± 1.4        -5.1             -3.6" in text
        assert "85.0  90.8 ± 1.4" in text
        assert all(caveat in text for caveat in comparison.caveats)
        assert "91.6" in text
        assert not any(line.endswith(" ") for line in text.splitlines())

    def test_another_protocol_is_not_comparable_and_says_so(self):
        comparison = published.compare(
            self.SUMMARY, "squeezenet", "covid19-ct", protocol="grouped by patient"
        )
        assert not comparison.comparable
        assert "The protocols differ: the run used 'grouped by patient'" in str(comparison)
        assert "protocols differ" not in str(
            published.compare(self.SUMMARY, "squeezenet", "covid19-ct")
        )

    def test_deviations_make_it_not_comparable_and_are_named(self):
        deviations = ["30 epochs instead of 100", "random weights instead of ImageNet's"]
        comparison = published.compare(
            self.SUMMARY, "squeezenet", "covid19-ct", deviations=deviations, notes=["A note."]
        )
        assert not comparison.comparable
        assert "not comparable" in str(comparison).splitlines()[0]
        assert f"the run has {'; '.join(deviations)}." in str(comparison)
        assert comparison.caveats[-1] == "A note."

    def test_as_json(self):
        given = published.compare(self.SUMMARY, "squeezenet", "covid19-ct").to_dict()
        assert json.loads(json.dumps(given, allow_nan=False))["comparable"] is True
        assert given["rows"]["f1"]["run"] == {"mean": 0.85, "sd": None}
        assert given["rows"]["accuracy"]["difference_in_sds"] == pytest.approx(-0.375)
        assert given["deviations"] == []

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_a_slice_that_does_not_exist_is_mentioned_where_it_counts(self, dataset):
        text = str(published.compare(self.SUMMARY, "squeezenet", dataset))
        assert ("2,481" in text) == (dataset == "sars-cov-2-ct")

    def test_unknown_names_propose_known_ones(self):
        with pytest.raises(UnknownNameError, match="did you mean 'squeezenet'"):
            published.compare(self.SUMMARY, "squeeznet", "covid19-ct")
        with pytest.raises(UnknownNameError, match="unknown dataset of the paper 'phantom'"):
            published.compare(self.SUMMARY, "squeezenet", "phantom")

"""Net benefit against its definition."""

from __future__ import annotations

import json

import numpy as np
import pytest

from covidct.evaluation import figures
from covidct.evaluation.decision_curve import DecisionCurve, net_benefit
from covidct.evaluation.intervals import cluster_bootstrap


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=300)
    return targets, np.clip(rng.normal(0.35 + 0.3 * targets, 0.2), 0, 1)


def test_is_that_of_vickers_and_elkin(predictions):
    targets, probabilities = predictions[0], predictions[1].round(1)
    thresholds = np.array([0.1, 0.4, 0.7])
    curve = net_benefit(targets, probabilities, thresholds=thresholds, n_resamples=100)
    for k, t in enumerate(thresholds):
        positive = probabilities >= t
        true, false = np.sum(positive & (targets == 1)), np.sum(positive & (targets == 0))
        assert curve.model[k] == pytest.approx(true / 300 - false / 300 * t / (1 - t))
        share = targets.mean()
        assert curve.treat_all[k] == pytest.approx(share - (1 - share) * t / (1 - t))
        assert curve.low[k] < curve.model[k] < curve.high[k]


def test_defaults(predictions):
    targets, probabilities = (of[:40] for of in predictions)
    curve = net_benefit(targets, probabilities, thresholds=np.float32([0.25, 0.5]))
    same = net_benefit(
        *(targets, probabilities),
        thresholds=[0.25, 0.5],
        level=0.95,
        n_resamples=2000,
        seed=0,
        prevalence=None,
    )
    assert curve.to_dict() == same.to_dict()
    assert curve.thresholds.dtype == np.float64
    assert len(net_benefit(targets, probabilities, n_resamples=100).thresholds) == 99


def test_another_prevalence_is_that_of_weighted_slices(predictions):
    """At a prevalence of 1/4, negatives count three times as often as in balanced data."""
    targets, probabilities = np.array([0] * 50 + [1] * 50), np.linspace(0.02, 0.98, 100)
    rare = np.concatenate([np.tile(np.arange(50), 3), np.arange(50, 100)])
    thresholds = [0.2, 0.5]
    options = {"thresholds": thresholds, "n_resamples": 100}
    direct = net_benefit(targets[rare], probabilities[rare], **options)
    weighted = net_benefit(targets, probabilities, prevalence=0.25, **options)
    np.testing.assert_allclose(weighted.model, direct.model)
    np.testing.assert_allclose(weighted.treat_all, direct.treat_all)


@pytest.mark.parametrize("prevalence", [None, 0.2])
def test_intervals_are_those_of_the_definition_in_every_resample(predictions, prevalence):
    targets, probabilities = (of[:60] for of in predictions)
    codes, thresholds = np.arange(60) // 3, np.array([0.2, 0.5])
    options = {"level": 0.8, "n_resamples": 150, "seed": 3}

    def statistic(weights):
        found = np.empty((len(weights), 2))
        for row, w in enumerate(weights):
            for k, t in enumerate(thresholds):
                positive = probabilities >= t
                sensitivity = w[positive & (targets == 1)].sum() / w[targets == 1].sum()
                fall_out = w[positive & (targets == 0)].sum() / w[targets == 0].sum()
                share = np.average(targets, weights=w) if prevalence is None else prevalence
                found[row, k] = share * sensitivity - (1 - share) * fall_out * t / (1 - t)
        return {"0.2": found[:, 0], "0.5": found[:, 1]}

    names = np.char.add("patient ", codes.astype(str))
    expected = cluster_bootstrap(statistic, np.unique(names, return_inverse=True)[1], **options)
    curve = net_benefit(
        targets,
        probabilities,
        thresholds=thresholds,
        groups=names,
        prevalence=prevalence,
        **options,
    )
    ends = np.array([expected["0.2"], expected["0.5"]])
    np.testing.assert_allclose(np.column_stack([curve.low, curve.high]), ends, atol=1e-12)
    assert curve.prevalence == (targets.mean() if prevalence is None else prevalence)
    alone = net_benefit(targets, probabilities, thresholds=0.5, prevalence=prevalence, **options)
    assert alone.model == pytest.approx(curve.model[1:])


def test_words_and_numbers_of_a_curve():
    thresholds, zero = np.array([0.1, 0.6, 0.7, 0.8]), np.zeros(4)
    treat_all = np.array([0.2, 0.1, -0.1, -0.2])
    model = np.array([0.2, 0.15, 0.125, 0.05])
    low = np.array([0.1, 0.05, 0.1, np.nan])
    curve = DecisionCurve(thresholds, model, low, model + 0.1, treat_all, 0.28, "patient")
    assert curve.useful.tolist() == [False, True, True, True]
    assert curve.sentence == (
        "Acting on the prediction is better than treating all or none at thresholds from 60 to "
        "80 %. At 70 %, for example, the gain equals 12 more true positives per 100 patients "
        "without additional false positives."
    )
    table = curve.table()
    assert table.caption == "Net benefit per patient, where 28.0 % are COVID-19"
    assert table.header == ("threshold", "model", "treat all", "treat none")
    assert table.rows[1] == ("0.6", "0.150 (0.050 to 0.250)", "0.100", "0")
    assert table.rows[3] == ("0.8", "0.050 (–)", "-0.200", "0")
    assert table.notes == (curve.sentence,)
    assert str(curve) == str(table)
    assert curve.to_dict() == {
        "thresholds": thresholds.tolist(),
        "model": model.tolist(),
        "low": [0.1, 0.05, 0.1, None],
        "high": (model + 0.1).tolist(),
        "treat_all": treat_all.tolist(),
        "prevalence": 0.28,
        "unit": "patient",
    }
    once = DecisionCurve(thresholds, np.array([0.2, 0.15, 0, 0]), low, model, treat_all, 0.28)
    assert "at a threshold of 60 %. At 60 %, for example" in once.sentence
    assert "5 more true positives per 100 slices" in once.sentence
    never = DecisionCurve(thresholds, np.maximum(treat_all, 0), zero, zero, treat_all, 0.28)
    assert never.sentence == (
        "Acting on the prediction is not better than treating every slice as COVID-19, or every "
        "one as non-COVID, at any threshold."
    )


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 20, 99, 100, 1000])
def test_a_table_shows_up_to_nine_thresholds(count):
    thresholds = np.arange(1, count + 1) / (count + 1)
    curve = DecisionCurve(*[thresholds] * 5, 0.5)
    rows = [float(row[0]) for row in curve.table().rows]
    assert min(count, 5) <= len(rows) <= 9
    assert np.diff(rows) == pytest.approx(np.full(len(rows) - 1, rows[0]), abs=1e-3)


def test_noise_is_nowhere_useful_and_signal_is(predictions):
    targets, probabilities = predictions
    curve = net_benefit(targets, probabilities, n_resamples=100)
    assert curve.useful[40:60].all()
    assert "is better than treating all or none" in curve.sentence
    wrong = net_benefit(targets, 1 - probabilities, n_resamples=100)
    assert not wrong.useful.any()
    assert wrong.sentence.startswith("Acting on the prediction is not better")
    json.dumps(curve.to_dict(), allow_nan=False)
    assert len(curve.table().rows) == 9
    figure = figures.decision_curves({"signal": curve, "inverted": wrong})
    assert "inverted: nowhere better" in figure.get_label()
    rare = net_benefit(targets, probabilities, prevalence=0.1, n_resamples=100)
    with pytest.raises(ValueError, match="one prevalence"):
        figures.decision_curves({"a": curve, "b": rare})


def test_wrong_calls():
    with pytest.raises(ValueError, match="both classes"):
        net_benefit([1, 1], [0.2, 0.8])
    with pytest.raises(ValueError, match="thresholds must be in"):
        net_benefit([0, 1], [0.2, 0.8], thresholds=[1.0])

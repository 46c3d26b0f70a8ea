"""Net benefit against its definition."""

from __future__ import annotations

import json

import numpy as np
import pytest

from covidct.evaluation import figures
from covidct.evaluation.decision_curve import net_benefit


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=300)
    return targets, np.clip(rng.normal(0.35 + 0.3 * targets, 0.2), 0, 1)


def test_is_that_of_vickers_and_elkin(predictions):
    targets, probabilities = predictions
    thresholds = np.array([0.1, 0.4, 0.7])
    curve = net_benefit(targets, probabilities, thresholds=thresholds, n_resamples=100)
    for k, t in enumerate(thresholds):
        positive = probabilities >= t
        true, false = np.sum(positive & (targets == 1)), np.sum(positive & (targets == 0))
        assert curve.model[k] == pytest.approx(true / 300 - false / 300 * t / (1 - t))
        share = targets.mean()
        assert curve.treat_all[k] == pytest.approx(share - (1 - share) * t / (1 - t))
        assert curve.low[k] < curve.model[k] < curve.high[k]


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


def test_noise_is_nowhere_useful_and_signal_is(predictions):
    targets, probabilities = predictions
    curve = net_benefit(targets, probabilities, n_resamples=100)
    assert curve.useful[40:60].all()
    assert "does better than treating all or none" in curve.sentence
    wrong = net_benefit(targets, 1 - probabilities, n_resamples=100)
    assert not wrong.useful.any()
    assert wrong.sentence.startswith("At no threshold")
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

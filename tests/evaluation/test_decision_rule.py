"""Decision rules: what is fitted is applied, and another prevalence shifts the logit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from covidct.evaluation import calibration, metrics
from covidct.evaluation.decision_rule import (
    Criterion,
    DecisionRule,
    fit_rule,
    probability_logit,
)


def draw(rng, n, prevalence):
    """Probabilities that are too extreme and too high, with their targets."""
    targets = (rng.random(n) < prevalence).astype(int)
    evidence = rng.normal(1.5 * (2 * targets - 1), np.sqrt(3))  # its log-likelihood ratio is itself
    return targets, expit(2 * evidence + 1)


@pytest.mark.parametrize("method", [False, "temperature", "platt"])
@pytest.mark.parametrize("target", ["sensitivity", "specificity"])
def test_target_is_met_on_the_fitted_predictions(method, target):
    targets, probabilities = draw(np.random.default_rng(0), 400, 0.4)
    rule = fit_rule(targets, probabilities, calibrate=method, **{target: 0.9})
    positive = rule.decide(probabilities)
    scores = metrics.score(targets, positive.astype(float))
    reached = scores["recall" if target == "sensitivity" else "specificity"]
    assert 0.9 <= reached <= 0.91
    assert rule.calibrates == bool(method)


def test_default_rule_changes_nothing():
    probabilities = np.array([0.0, 0.1, 0.5, 1.0])
    np.testing.assert_array_equal(DecisionRule().calibrate(probabilities), probabilities)
    assert DecisionRule().decide(probabilities).tolist() == [False, False, True, True]
    assert not DecisionRule(slope=0.5).decide(np.nan)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -1.0), (1.0, 0.7), (3.0, 0.0)])
def test_probabilities_follow_the_line_of_the_logit(slope, intercept):
    probabilities = np.array([0.1, 0.5, 0.9, np.nan])
    rule = DecisionRule(slope=slope, intercept=intercept, threshold=expit(intercept))
    assert rule.calibrates
    expected = expit(slope * logit(probabilities) + intercept)
    np.testing.assert_allclose(rule.calibrate(probabilities), expected, rtol=1e-12)
    assert rule.decide(probabilities).tolist() == [False, True, True, False]
    ends = rule.calibrate(np.float32([0, 1]))
    expected = expit(slope * np.array([-1, 1]) * np.log(1e12) + intercept)
    np.testing.assert_allclose(ends, expected, rtol=1e-3)
    np.testing.assert_allclose(
        probability_logit([0, 0.2, 1]), [-np.log(1e12), np.log(0.25), np.log(1e12)], rtol=1e-5
    )
    assert np.isfinite(probability_logit(np.float32([0, 1]))).all()
    assert DecisionRule().calibrate(np.float32([0.2])).dtype == np.float64


def test_options_reach_the_rule():
    targets, probabilities = draw(np.random.default_rng(3), 100, 0.4)
    assert fit_rule(targets, probabilities) == DecisionRule()
    rule = fit_rule(targets, probabilities, threshold=0.3, per="patient")
    assert rule == DecisionRule(threshold=0.3, per="patient")
    logits = logit(probabilities)
    rule = fit_rule(targets, probabilities, calibrate="temperature")
    slope = pytest.approx(1 / calibration.fit_temperature(logits, targets))
    assert (slope, 0, 0.5, targets.mean()) == (
        rule.slope,
        rule.intercept,
        rule.threshold,
        rule.prevalence,
    )
    rule = fit_rule(targets, probabilities, calibrate=True)
    line = calibration.fit_recalibration(logits, targets, method="platt")
    assert (rule.slope, rule.intercept) == pytest.approx(line)


@pytest.mark.parametrize(
    ("kind", "value", "threshold", "text"),
    [
        ("threshold", 0.0, 0.0, "threshold 0"),
        ("threshold", 0.25, 0.25, "threshold 0.25"),
        ("threshold", 1, 1, "threshold 1"),
        ("sensitivity", 0.5, 0.8, "sensitivity 50 %"),
        ("sensitivity", 1.0, 0.3, "sensitivity 100 %"),
        ("specificity", 0.5, np.nextafter(0.1, 1), "specificity 50 %"),
        ("specificity", 1.0, np.nextafter(0.4, 1), "specificity 100 %"),
    ],
)
def test_criteria(kind, value, threshold, text):
    criterion = Criterion(kind, value)
    assert criterion.choose([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.8]) == threshold
    assert str(criterion) == text


@pytest.mark.parametrize(
    ("kind", "value"),
    [("threshold", 1.01), ("threshold", -0.1), ("sensitivity", 0), ("specificity", 1.1)],
)
def test_impossible_criteria_are_refused(kind, value):
    with pytest.raises(ValueError, match=f"{kind} must be in"):
        Criterion(kind, value)


def test_another_prevalence_shifts_the_logit():
    """A rule fitted at 50 % is calibrated at 10 % after the shift, and not before it."""
    rng = np.random.default_rng(1)
    rule = fit_rule(*draw(rng, 20_000, 0.5), calibrate=True)
    assert rule.prevalence == pytest.approx(0.5, abs=0.01)
    shifted = rule.at_prevalence(0.1)
    assert shifted.prevalence == 0.1
    assert shifted.intercept - rule.intercept == pytest.approx(logit(0.1) - logit(rule.prevalence))
    targets, probabilities = draw(rng, 20_000, 0.1)
    after = calibration.logistic_calibration(targets, logit(shifted.calibrate(probabilities)))
    assert after.slope == pytest.approx(1, abs=0.08)
    assert after.intercept == pytest.approx(0, abs=0.08)
    before = calibration.logistic_calibration(targets, logit(rule.calibrate(probabilities)))
    assert before.intercept < -1.5
    direct = fit_rule(*draw(np.random.default_rng(1), 20_000, 0.5), calibrate=True, prevalence=0.1)
    assert direct == shifted


def test_a_threshold_for_a_sensitivity_moves_with_the_prevalence():
    targets, probabilities = draw(np.random.default_rng(2), 500, 0.5)
    common, rare = (
        fit_rule(targets, probabilities, calibrate=True, sensitivity=0.9, prevalence=p)
        for p in (0.5, 0.05)
    )
    assert rare.threshold < common.threshold
    np.testing.assert_array_equal(rare.decide(probabilities), common.decide(probabilities))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sensitivity": 0.9, "threshold": 0.5}, "got sensitivity and threshold"),
        ({"prevalence": 0.1}, "set calibrate=True"),
        ({"threshold": 1.5}, "threshold must be in"),
        ({"calibrate": "isotonic"}, "'temperature' or 'platt', got 'isotonic'"),
        ({"calibrate": True, "prevalence": 1.0}, "prevalence must be in"),
        ({"per": "volume"}, "'slice' or 'patient', got 'volume'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit_rule([0, 1, 0, 1], [0.2, 0.7, 0.6, 0.4], **options)


@pytest.mark.parametrize(
    "values",
    [
        {"slope": 0.0},
        {"slope": np.inf},
        {"intercept": np.inf},
        {"intercept": np.nan},
        {"threshold": 1.1},
        {"prevalence": 0.0},
    ],
)
def test_impossible_rules_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        DecisionRule(**values)
    with pytest.raises(ValueError, match="calibrated rule"):
        DecisionRule().at_prevalence(0.1)
    with pytest.raises(ValueError, match="prevalence must be in"):
        DecisionRule(prevalence=0.5).at_prevalence(0)
    assert DecisionRule(threshold=0).decide([0.0]).all()
    assert not DecisionRule(threshold=1).decide([0.99]).any()

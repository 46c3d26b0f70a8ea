"""Operating points: thresholds from other folds, values by hand, coverage of known truths."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from covidct.evaluation import calibration
from covidct.evaluation.decision_rule import Criterion
from covidct.evaluation.operating_points import (
    OperatingPoints,
    operating_point,
    predictive_values,
)

CENTER, BETWEEN, WITHIN = 1.2, 0.8, 1.0  # of the logits: class mean, patients, slices


def draw(rng, patients):
    """Logits of patients with 2 to 6 slices each, and the fold of each patient."""
    sick = np.arange(patients) % 2
    of = np.repeat(np.arange(patients), rng.integers(2, 7, patients))
    centers = rng.normal(CENTER * (2 * sick - 1), BETWEEN)
    logits = rng.normal(centers[of], WITHIN)
    folds = rng.permutation(patients) % 5
    return sick[of], expit(logits), of, folds[of]


@pytest.fixture(scope="module")
def predictions():
    return draw(np.random.default_rng(0), 100)


@pytest.mark.parametrize("kind", ["sensitivity", "specificity"])
def test_thresholds_are_chosen_on_the_other_folds(predictions, kind):
    targets, probabilities, patients, folds = predictions
    criterion = Criterion(kind, 0.9)
    point = operating_point(
        targets, probabilities, criterion, folds=folds, groups=patients, n_resamples=100
    )
    predicted = np.empty(len(targets), bool)
    for k in range(5):
        other = folds != k
        assert point.thresholds[k] == criterion.choose(targets[other], probabilities[other])
        predicted[~other] = probabilities[~other] >= point.thresholds[k]
    (tn, fp), (fn, tp) = point.confusion
    assert tp == np.sum(predicted & (targets == 1))
    assert fp == np.sum(predicted & (targets == 0))
    expected = tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn)
    assert tuple(point.values.values()) == pytest.approx(expected)
    for name, value in point.values.items():
        assert point.intervals[name].low < value < point.intervals[name].high
    assert point.values[kind] == pytest.approx(0.9, abs=0.03)


def test_labels_of_a_fold_do_not_move_its_threshold(predictions):
    targets, probabilities, _, folds = predictions
    lied = np.where(folds == 2, 1 - targets, targets)
    options = {"folds": folds, "n_resamples": 100}
    honest, fooled = (
        operating_point(of, probabilities, Criterion("sensitivity", 0.9), **options)
        for of in (targets, lied)
    )
    changed = honest.thresholds != fooled.thresholds
    assert not changed[2]
    assert changed.any()


def test_decisions_are_those_of_the_calibrated_threshold(predictions):
    """Calibration is monotonic, so it changes no decision at a target sensitivity."""
    targets, probabilities, _, folds = predictions
    logits = np.log(probabilities / (1 - probabilities))
    point = operating_point(
        targets, probabilities, Criterion("sensitivity", 0.9), folds=folds, n_resamples=100
    )
    for method in ("temperature", "platt"):
        fit = calibration.cross_fit(logits, targets, folds=folds, sensitivity=0.9, method=method)
        cells = np.bincount(2 * targets + fit.predicted, minlength=4).reshape(2, 2)
        np.testing.assert_array_equal(point.confusion, cells)


def test_slices_of_a_fold_are_left_out_of_its_repeats():
    targets, probabilities = np.tile([0, 1, 0, 1], 2), np.tile([0.1, 0.6, 0.4, 0.8], 2)
    folds, units = [0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3, 0, 1, 2, 3]
    point = operating_point(
        targets, probabilities, Criterion("sensitivity", 1.0), folds=folds, units=units
    )
    np.testing.assert_array_equal(point.thresholds, [0.8, 0.6, 0.8, 0.6])


def test_a_validation_part_chooses_the_threshold_of_its_fold(predictions):
    targets, probabilities, patients, folds = predictions
    other = draw(np.random.default_rng(1), 60)
    point = operating_point(
        targets,
        probabilities,
        Criterion("specificity", 0.8),
        folds=folds,
        groups=patients,
        fitted_on=(other[0], other[1], other[3], other[2]),
        n_resamples=100,
    )
    for k in range(5):
        own = other[3] == k
        assert point.thresholds[k] == Criterion("specificity", 0.8).choose(
            other[0][own], other[1][own]
        )
    assert point.confusion.sum() == len(targets)


def test_predictive_values_by_hand():
    values = predictive_values(0.9, 0.8, 0.1)
    assert values["ppv"] == pytest.approx(0.09 / (0.09 + 0.18))
    assert values["npv"] == pytest.approx(0.72 / (0.72 + 0.01))
    assert values["positive_likelihood_ratio"] == pytest.approx(4.5)
    assert values["negative_likelihood_ratio"] == pytest.approx(0.125)
    assert predictive_values(0.9, 1.0, 0.1)["positive_likelihood_ratio"] == np.inf
    with pytest.raises(ValueError, match="prevalence must be in"):
        predictive_values(0.9, 0.8, 1.0)


def test_predictive_values_at_the_prevalence_of_the_data(predictions):
    targets, probabilities, patients, folds = predictions
    share = float(targets.mean())
    point = operating_point(
        targets,
        probabilities,
        Criterion("threshold", 0.5),
        folds=folds,
        groups=patients,
        prevalences=[share, 0.05],
    )
    same, rare = point.at_prevalence
    assert same.values["ppv"] == pytest.approx(point.values["ppv"])
    assert same.values["npv"] == pytest.approx(point.values["npv"])
    assert rare.values["ppv"] < 0.5 < rare.values["npv"]
    for name, (low, high) in rare.intervals.items():
        assert low < rare.values[name] < high


def test_without_a_false_positive_the_likelihood_ratio_is_infinite():
    targets = np.arange(80) % 2
    probabilities = np.where(targets == 1, 0.9, 0.1)
    point = operating_point(
        targets,
        probabilities,
        Criterion("threshold", 0.5),
        folds=np.zeros(80),
        prevalences=[0.1],
    )
    (found,) = point.at_prevalence
    assert found.values["positive_likelihood_ratio"] == np.inf
    low, high = found.intervals["positive_likelihood_ratio"]
    assert 5 < low < 20
    assert high == np.inf
    assert point.intervals["sensitivity"].method == "wilson"
    points = OperatingPoints((point,), "slice", "slice", 80, "the other folds")
    assert "∞" in str(points.table())
    json.dumps(points.to_dict(), allow_nan=False)


def test_a_single_patient_has_no_interval():
    criterion, one = Criterion("threshold", 0.5), np.zeros(4)
    point = operating_point([0, 1, 0, 1], [0.1, 0.9, 0.8, 0.7], criterion, folds=one, groups=one)
    assert all(np.isnan(interval.low) for interval in point.intervals.values())
    assert point.intervals["ppv"].reason == "there is only one {unit}"


def test_notes_name_the_targets_that_they_concern(predictions):
    targets, probabilities, patients, folds = predictions
    points = tuple(
        operating_point(
            targets, probabilities, Criterion("threshold", t), folds=folds, groups=patients
        )
        for t in (0.5, 0.01)
    )
    notes = OperatingPoints(points, "slice", "patient", 100, "the other folds").table().notes
    assert any(note.startswith("Threshold 0.01: Wilson's interval (sens") for note in notes)
    assert not any(note.startswith("Wilson") for note in notes)


@pytest.mark.parametrize("kind", ["sensitivity", "specificity"])
def test_coverage(kind):
    """Nominal 95 % intervals cover the value at the target, and that of the chosen thresholds."""
    spread = np.hypot(BETWEEN, WITHIN)
    sign = 1 if kind == "sensitivity" else -1
    other = {"sensitivity": "specificity", "specificity": "sensitivity"}[kind]
    cut = sign * (CENTER - spread * stats.norm.ppf(0.9))  # of the logit, at a target of 90 %
    truth = {kind: 0.9, other: stats.norm.cdf((sign * cut + CENTER) / spread)}
    ppv = predictive_values(truth["sensitivity"], truth["specificity"], 0.05)["ppv"]
    covered, of_rule, of_ppv = 0, 0, 0
    for seed in range(40):
        targets, probabilities, patients, folds = draw(np.random.default_rng(seed), 80)
        point = operating_point(
            targets,
            probabilities,
            Criterion(kind, 0.9),
            folds=folds,
            groups=patients,
            prevalences=[0.05],
            n_resamples=200,
        )
        low, high = point.intervals[other]
        covered += low <= truth[other] <= high
        low, high = point.at_prevalence[0].intervals["ppv"]
        of_ppv += low <= ppv <= high
        cuts = np.log(point.thresholds / (1 - point.thresholds))
        reached = stats.norm.cdf((CENTER - sign * cuts) / spread).mean()
        low, high = point.intervals[kind]
        of_rule += low <= reached <= high
    assert min(covered, of_ppv, of_rule) >= 35  # 95 % of 40 are 38; fewer than 35 have p = 0.002


def test_wrong_calls():
    with pytest.raises(ValueError, match="no threshold can be chosen for fold 0"):
        operating_point([0, 1], [0.1, 0.9], Criterion("sensitivity", 0.9), folds=[0, 0])
    with pytest.raises(ValueError, match="'sensitivity', 'specificity' or 'threshold'"):
        Criterion("recall", 0.9)
    with pytest.raises(ValueError, match="specificity must be in"):
        Criterion("specificity", 0.0)
    assert Criterion("threshold", 0.0).choose([0, 1], [0.1, 0.9]) == 0


def test_sentences_give_natural_frequencies(predictions):
    targets, probabilities, patients, folds = predictions
    criteria = [Criterion("sensitivity", 0.9), Criterion("threshold", 0.3)]
    options = {"folds": folds, "groups": patients, "n_resamples": 100}
    points = [operating_point(targets, probabilities, c, **options) for c in criteria]
    first, second = OperatingPoints(tuple(points), "patient", "patient", 100, "x").sentences()
    assert first.startswith("At a target sensitivity of 90 %: of 100 patients with COVID-19, about")
    flagged = 100 * (1 - points[0].values["specificity"])
    assert f"of 100 patients without, about {flagged:.0f} (" in first
    assert second.startswith("At the threshold 0.3: ")
    rare = operating_point(targets, probabilities, criteria[0], prevalences=[0.02], **options)
    (sentence,) = OperatingPoints((rare,), "patient", "patient", 100, "x").sentences()
    ppv, (low, high) = (100 * np.array(v["ppv"]) for v in rare.at_prevalence[0][1:])
    assert sentence.startswith("Where 2 % of patients have COVID-19, at a target sensitivity")
    assert f"called COVID-19, about {ppv:.0f} ({low:.0f} to {high:.0f}) have it" in sentence


def test_likelihood_ratios_have_three_digits(predictions):
    targets, _, patients, folds = predictions
    # All probabilities are alike: no result changes the odds.
    point = operating_point(
        targets,
        np.full(len(targets), 0.5),
        Criterion("sensitivity", 0.9),
        folds=folds,
        groups=patients,
        prevalences=[0.1],
        n_resamples=100,
    )
    table = OperatingPoints((point,), "slice", "patient", 100, "x").table()
    assert table.rows[0][4].startswith("1.00 (")

"""Operating points: thresholds from other folds, values by hand, coverage of known truths."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from covidct.evaluation import calibration, metrics, operating_points
from covidct.evaluation.decision_rule import Criterion
from covidct.evaluation.intervals import Interval, cluster_bootstrap, robust_share, wilson
from covidct.evaluation.operating_points import (
    OperatingPoint,
    OperatingPoints,
    PredictiveValues,
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


def hull(first, second):
    return min(first[0], second[0]), max(first[1], second[1])


@pytest.fixture(scope="module")
def uncertain():
    """Single slices of 90 patients, with errors at every threshold and ties."""
    rng = np.random.default_rng(5)
    targets = np.arange(90) % 2
    probabilities = np.clip(rng.normal(0.4 + 0.2 * targets, 0.25), 0, 1).round(2)
    probabilities[:4] = 0.5
    return targets, probabilities, np.arange(90) // 2 % 3


@pytest.mark.parametrize(
    "criterion",
    [
        Criterion("sensitivity", 0.7),
        Criterion("specificity", 0.7),
        Criterion("threshold", 0.5),
    ],
    ids=str,
)
def test_intervals_cover_chosen_again_and_kept_thresholds(uncertain, criterion):
    """Reference: slices are repeated as often as they were drawn, and counted by the metrics."""
    targets, probabilities, folds = uncertain
    options = {"level": 0.8, "n_resamples": 100, "seed": 2}
    point = operating_point(
        targets, probabilities, criterion, folds=folds, prevalences=[0.1], **options
    )

    def statistic(weights):
        found = []
        for row in weights.astype(int):
            drawn = np.repeat(np.arange(90), row)
            values = {}
            for kind in ("", "fixed "):
                called = np.empty(len(drawn), bool)
                for k, threshold in enumerate(point.thresholds):
                    of, other = drawn[folds[drawn] == k], drawn[folds[drawn] != k]
                    if not kind:
                        threshold = criterion.choose(targets[other], probabilities[other])
                    called[folds[drawn] == k] = probabilities[of] >= threshold
                names = ("recall", "specificity", "precision", "npv")
                scores = metrics.score(targets[drawn], called.astype(float), names=names)
                values |= {kind + name: scores[name] for name in names}
                at = predictive_values(scores["recall"], scores["specificity"], 0.1)
                values |= {f"{kind}{name} at 0.1": value for name, value in at.items()}
            found.append(values)
        return {name: np.array([values[name] for values in found]) for name in found[0]}

    called = probabilities >= point.thresholds[folds]
    cells = np.bincount(2 * targets + called, minlength=4).reshape(2, 2)
    np.testing.assert_array_equal(point.confusion, cells)
    assert point.folds.tolist() == [0, 1, 2]
    ends = cluster_bootstrap(statistic, np.arange(90), **options)
    assert {interval.method for interval in ends.values()} == {"bootstrap"}
    names = {"sensitivity": "recall", "specificity": "specificity", "ppv": "precision"}
    for name, other in (names | {"npv": "npv"}).items():
        expected = hull(ends[other], ends[f"fixed {other}"])
        assert point.intervals[name] == pytest.approx(expected, abs=1e-9)
        assert point.intervals[name].method == "bootstrap"
    (rare,) = point.at_prevalence
    for name, interval in rare.intervals.items():
        expected = hull(ends[f"{name} at 0.1"], ends[f"fixed {name} at 0.1"])
        assert interval == pytest.approx(expected, abs=1e-9)
    assert rare.prevalence == 0.1


@pytest.mark.parametrize("kind", ["sensitivity", "specificity"])
def test_few_errors_also_have_wilsons_interval(kind):
    rng = np.random.default_rng(6)
    targets, folds = np.arange(60) % 2, np.arange(60) // 2 % 2
    right = 2 * targets - 1
    probabilities = np.clip(0.5 + 0.25 * right + rng.normal(0, 0.12, 60), 0, 1)
    options = {"folds": folds, "level": 0.9, "n_resamples": 100, "prevalences": [0.2]}
    point = operating_point(targets, probabilities, Criterion(kind, 0.95), **options)
    called = probabilities >= point.thresholds[folds]
    cases = {
        "sensitivity": targets == 1,
        "specificity": targets == 0,
        "ppv": called,
        "npv": ~called,
    }
    undefined = Interval(np.nan, np.nan)
    for name, chosen in cases.items():
        share = robust_share(
            undefined, (called == targets)[chosen], np.flatnonzero(chosen), level=0.9
        )
        assert point.intervals[name].method == share.method == "wilson"
        assert point.intervals[name].low <= share.low < share.high <= point.intervals[name].high
    (at,) = point.at_prevalence
    corners = [
        predictive_values(se, sp, 0.2)
        for se in point.intervals["sensitivity"]
        for sp in point.intervals["specificity"]
    ]
    assert list(at.intervals) == list(corners[0])
    for name, interval in at.intervals.items():
        ends = [corner[name] for corner in corners]
        assert (*interval, interval.method) == (min(ends), max(ends), "wilson")


def test_without_an_error_the_interval_is_wilsons_at_the_level():
    targets = np.arange(80) % 2
    point = operating_point(
        *(targets, 0.1 + 0.8 * targets, Criterion("threshold", 0.5)),
        folds=np.zeros(80),
        level=0.8,
        n_resamples=100,
    )
    for interval in point.intervals.values():
        assert interval == pytest.approx(wilson(40, 40, level=0.8))


def test_one_false_positive_gives_finite_and_infinite_ratios():
    targets = np.arange(80) % 2
    probabilities = 0.1 + 0.8 * targets
    probabilities[0] = 0.9
    point = operating_point(
        *(targets, probabilities, Criterion("threshold", 0.5)),
        folds=np.zeros(80),
        prevalences=[0.1],
        n_resamples=100,
    )
    (at,) = point.at_prevalence
    assert at.values["positive_likelihood_ratio"] == pytest.approx(40)
    low, high = at.intervals["positive_likelihood_ratio"]
    assert 5 < low < 40 < high


def test_defaults_and_predictions_of_one_class():
    targets, probabilities = np.zeros(20, int), np.linspace(0, 1, 20)
    arguments = targets, probabilities, Criterion("threshold", 0.5)
    point = operating_point(*arguments, folds=np.zeros(20))
    same = operating_point(*arguments, folds=np.zeros(20), level=0.95, n_resamples=2000, seed=0)
    assert point.intervals["specificity"] == same.intervals["specificity"]
    assert point.intervals["specificity"].method == "bootstrap"
    assert point.confusion.tolist() == [[10, 10], [0, 0]]
    few = operating_point(
        targets, 0.6 * probabilities, *arguments[2:], folds=targets, prevalences=[0.1]
    )
    assert few.intervals["specificity"].method == "wilson"
    assert np.isnan(few.intervals["sensitivity"]).all()
    for interval in few.at_prevalence[0].intervals.values():
        assert np.isnan(interval).all()
        assert interval.reason == "the metric is undefined"
    missed = operating_point(
        [0, 1], [0.2, 0.3], Criterion("threshold", 1.0), folds=[0, 0], n_resamples=100
    )
    assert missed.confusion.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("kind", ["sensitivity", "specificity"])
@pytest.mark.parametrize("target", [0.01, 0.5, 1.0])
def test_thresholds_at_the_ends_of_the_range(kind, target):
    targets = np.tile([0, 1], 8)
    probabilities = np.tile([1.0, 0.3, 0.0, 0.8, 0.5, 0.7, 0.9, 0.2], 2)
    criterion = Criterion(kind, target)
    point = operating_point(
        targets, probabilities, criterion, folds=np.arange(16) // 8, n_resamples=100
    )
    assert point.thresholds.tolist() == [criterion.choose(targets[:8], probabilities[:8])] * 2


def test_a_resample_without_a_class_has_no_threshold():
    rows = np.arange(4)
    part = operating_points._Part(
        *(np.array([1, 0, 1, 0]), np.array([0.3, 0.2, 0.6, 0.9]), Criterion("sensitivity", 0.5)),
        *(rows, rows),
    )
    weights = np.array([[0, 2, 0, 2], [1, 2, 0, 1], [0.0, 2, 1, 1]])
    thresholds = part.thresholds(weights)
    np.testing.assert_array_equal(thresholds, [np.nan, 0.3, 0.6])
    expected = [[np.nan] * 4, [2, 1, 0, 1], [2, 1, 0, 1]]
    np.testing.assert_array_equal(part.cells(weights, thresholds), expected)


def test_the_hull_of_an_undefined_interval_is_the_other_one():
    undefined, defined = Interval(np.nan, np.nan, reason="x"), Interval(0.2, 0.4, method="wilson")
    assert operating_points._hull(undefined, defined) is defined
    assert operating_points._hull(defined, undefined) is defined
    assert operating_points._hull(undefined, undefined) is undefined


@pytest.mark.parametrize(("count", "enough"), [(18, True), (16, False)])
def test_groups_of_a_validation_part_are_counted_too(count, enough):
    """Ten groups are enough for a bootstrap: those of a validation part have names of their own."""
    targets, probabilities = np.tile([0, 1], 10), np.tile([0.3, 0.4, 0.6, 0.2, 0.7], 4)
    folds, pairs = np.zeros(20), np.arange(20) // 2
    point = operating_point(
        targets,
        probabilities,
        Criterion("specificity", 0.5),
        folds=folds,
        groups=np.zeros(20),
        fitted_on=(targets[:count], probabilities[:count], folds[:count], pairs[:count]),
        n_resamples=100,
    )
    few = point.intervals["ppv"].reason == "there are fewer than 10 {unit}s"
    assert few is not enough


def test_two_groups_are_enough_for_wilsons_interval():
    targets, probabilities = np.array([0, 1, 0, 1]), np.array([0.2, 0.7, 0.6, 0.4])
    for count in (2, 1):
        point = operating_point(
            *(targets, probabilities, Criterion("threshold", 0.5)),
            folds=np.zeros(4),
            groups=np.arange(4) % count,
            prevalences=[0.3],
            n_resamples=100,
        )
        (at,) = point.at_prevalence
        for interval in (*point.intervals.values(), *at.intervals.values()):
            assert np.isnan(interval.low) == (count == 1)
            assert interval.method == ("wilson" if count == 2 else "")


def test_predictive_values_of_arrays_and_of_impossible_results():
    found = predictive_values(np.array([0.9, 0.0]), np.array([0.8, 1.0]), 0.1)
    np.testing.assert_allclose(found["ppv"], [1 / 3, np.nan])
    np.testing.assert_allclose(found["npv"], [0.72 / 0.73, 0.9])
    np.testing.assert_allclose(found["negative_likelihood_ratio"], [0.125, 1])
    np.testing.assert_allclose(predictive_values(np.array([0.9]), 0.8, 0.1)["ppv"], [1 / 3])
    np.testing.assert_allclose(predictive_values(0.9, np.array([0.8]), 0.1)["ppv"], [1 / 3])
    assert predictive_values(0.5, 0.0, 0.1)["negative_likelihood_ratio"] == np.inf
    assert type(predictive_values(0.9, 0.8, 0.1)["ppv"]) is float


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


@pytest.fixture
def point():
    """Operating point with values that are easily read."""
    return OperatingPoint(
        Criterion("sensitivity", 0.9),
        np.array([0, 1]),
        np.array([0.25, 0.75]),
        np.array([[60, 20], [2, 18]]),
        {"sensitivity": 0.9, "specificity": 0.75, "ppv": 18 / 38, "npv": 60 / 62},
        {
            "sensitivity": Interval(0.8, 0.95, method="bootstrap"),
            "specificity": Interval(0.6, 0.85, method="bootstrap"),
            "ppv": Interval(0.4, 0.6, method="wilson"),
            "npv": Interval(np.nan, np.nan, reason="there is only one {unit}"),
        },
    )


@pytest.fixture
def rare(point):
    ratios = {
        "positive_likelihood_ratio": 3.6,
        "negative_likelihood_ratio": np.nan,
    }
    ends = {
        "ppv": Interval(0.05, 0.1),
        "npv": Interval(0.98, 1.0),
        "positive_likelihood_ratio": Interval(2, np.inf),
        "negative_likelihood_ratio": Interval(np.nan, np.nan),
    }
    at = PredictiveValues(0.02, {"ppv": 0.07, "npv": 0.99} | ratios, ends)
    undefined = PredictiveValues(0.5, {"ppv": np.nan, "npv": 0.99} | ratios, ends)
    return replace(point, at_prevalence=(at, undefined))


def test_numbers_of_points_as_json_and_as_a_frame(point, rare):
    assert point.text("specificity") == "75.0 (60.0 to 85.0)"
    assert point.text("npv") == "96.8 (–)"
    points = OperatingPoints((point, rare), "slice", "patient", 60, "the other folds")
    assert (points[1], len(points)) == (rare, 2)
    content = points.to_dict()
    assert (content["unit"], content["fitted_on"]) == ("slice", "the other folds")
    assert content["points"][0] == {
        "criterion": "sensitivity",
        "target": 0.9,
        "thresholds": [0.25, 0.75],
        "confusion": [[60, 20], [2, 18]],
        "values": dict(point.values),
        "intervals_95": {
            "sensitivity": [0.8, 0.95],
            "specificity": [0.6, 0.85],
            "ppv": [0.4, 0.6],
            "npv": [None, None],
        },
        "at_prevalence": [],
    }
    at, undefined = content["points"][1]["at_prevalence"]
    assert (at["prevalence"], at["values"]["ppv"]) == (0.02, 0.07)
    assert at["intervals_95"]["positive_likelihood_ratio"] == [2, None]
    assert undefined["values"]["ppv"] is None
    frame = points.to_frame()
    assert list(frame["prevalence"].fillna(-1)) == [-1, 0.02, 0.5]
    alone = OperatingPoints((point,), "slice", "patient", 60, "the other folds").to_frame()
    assert alone["prevalence"].dtype == np.float64
    assert (frame["threshold"] == 0.5).all()
    assert (frame["criterion"] == "sensitivity").all()
    assert (frame["target"] == 0.9).all()
    assert frame.loc[0, ["sensitivity", "sensitivity_low", "sensitivity_high"]].tolist() == [
        *(0.9, 0.8, 0.95)
    ]
    assert frame.loc[1, ["ppv", "ppv_low", "ppv_high"]].tolist() == [0.07, 0.05, 0.1]


def test_tables_of_points(point, rare):
    equal = replace(point, thresholds=np.array([0.5, 0.5]), criterion=Criterion("threshold", 0.5))
    table = OperatingPoints((point, equal), "slice", "patient", 51, "the other folds").table()
    assert table.caption == "Operating points per slice; thresholds chosen on the other folds"
    assert table.header == (
        *("target", "thresholds", "sensitivity, %", "specificity, %", "PPV, %", "NPV, %"),
    )
    shares = ("90.0 (80.0 to 95.0)", "75.0 (60.0 to 85.0)", "47.4 (40.0 to 60.0)", "96.8 (–)")
    assert table.rows == (
        ("sensitivity 90 %", "0.250 to 0.750", *shares),
        ("threshold 0.5", "0.500", *shares),
    )
    where, wilson, undefined = table.notes
    assert where == (
        "In brackets: 95 % interval. PPV and NPV: share of positive and of negative results that "
        "are right, where 20.0 % of slices are COVID-19, as here; they change with this share."
    )
    assert wilson.startswith("Wilson's interval (PPV): fewer than 10 patients")
    assert undefined == "No interval (NPV): there is only one patient."
    few = OperatingPoints((equal, point), "slice", "patient", 50, "the other folds").table().notes
    assert few[-1] == (
        "Small sample (50 patients): in simulations of 40 patients, thresholds for a target of "
        "90 % reached 87 to 89 % on other patients, and nominal 95 % intervals covered the true "
        "values in 94 to 100 % of the runs."
    )
    fixed = OperatingPoints((equal,), "slice", "patient", 50, "the other folds").table().notes
    assert len(fixed) == 3
    table = OperatingPoints((point, rare), "scan", "patient", 51, "the validation part").table()
    assert table.caption == "Predictive values per scan; thresholds chosen on the validation part"
    assert table.header == ("target", "prevalence, %", "PPV, %", "NPV, %", "LR+", "LR−")
    assert table.rows[0] == (
        *("sensitivity 90 %", "2.0", "7.0 (5.0 to 10.0)", "99.0 (98.0 to 100.0)"),
        *("3.60 (2.00 to ∞)", "– (–)"),
    )
    assert len(table.rows) == 2
    assert table.notes[0].startswith("In brackets: 95 % interval. LR: factor by which a positive")
    plain = replace(equal, intervals=dict.fromkeys(equal.values, Interval(0.2, 0.9)))
    some = OperatingPoints((point, equal, plain), "slice", "patient", 51, "x").table()
    assert some.notes[1].startswith("Sensitivity 90 % and threshold 0.5: Wilson's interval (PPV)")


def test_ratios_are_shown_with_three_digits():
    shown = [operating_points._number(v) for v in (0.01234, 3.6, 123.4, np.inf, np.nan)]
    assert shown == ["0.0123", "3.60", "123", "∞", "–"]


def test_sentences_round_to_whole_patients(point, rare):
    without = replace(point, intervals=dict.fromkeys(point.values, Interval(np.nan, np.nan)))
    undefined = replace(point, values=point.values | {"specificity": np.nan})
    points = OperatingPoints((point, without, undefined, rare), "patient", "patient", 60, "x")
    found, plain, results = points.sentences()
    assert found == (
        "At a target sensitivity of 90 %: of 100 patients with COVID-19, about 90 (80 to 95) are "
        "recognized; of 100 patients without, about 25 (15 to 40) are wrongly called COVID-19."
    )
    assert "about 90 are recognized; of 100 patients without, about 25 are wrongly" in plain
    assert results == (
        "Where 2 % of patients have COVID-19, at a target sensitivity of 90 %: of 100 patients "
        "called COVID-19, about 7 (5 to 10) have it; of 100 called non-COVID, about 99 (98 to 100) "
        "do not have it."
    )
    assert str(points) == "\n".join([str(points.table()), found, plain, results])
    assert "about 90 (80 to 95)" in OperatingPoints(points[:1], *["x"] * 2, 60, "x")._repr_html_()


def test_wrong_calls():
    with pytest.raises(ValueError, match="for fold 1: there are no predictions of non-COVID"):
        operating_point(
            [0, 1, 1, 1], [0.1, 0.9, 0.2, 0.3], Criterion("specificity", 0.9), folds=[1, 1, 2, 2]
        )
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

"""Decisions by the predictions of a run: the same numbers as from arrays put together by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from covidct.evaluation.calibration import cross_fit
from covidct.evaluation.decision_curve import net_benefit
from covidct.evaluation.decision_rule import Criterion, fit_rule, probability_logit
from covidct.evaluation.operating_points import operating_point
from covidct.runs.decisions import Decisions
from covidct.runs.protocol import Protocol
from covidct.runs.splits import Fold

SLICES = 96
PATIENTS = np.arange(SLICES) // 2
TARGETS = (PATIENTS % 3 == 0).astype(int)
NAMES = np.array([f"p{i:02}" for i in PATIENTS])


def shuffled(seed: int) -> list[np.ndarray]:
    """Slices of three folds of whole patients."""
    fold_of = np.random.default_rng(seed).permutation(48) % 3
    return [np.flatnonzero(fold_of[PATIENTS] == k) for k in range(3)]


class Validated(Decisions):
    """Predictions of a run with a validation part."""

    def validation_predictions(self) -> pd.DataFrame:
        # Other slices of the same number, with other probabilities and more patients with COVID-19.
        p = self.predictions["probability"].to_numpy() ** 0.7
        target = (self.predictions["index"].to_numpy() // 2 % 2 == 0).astype(int)
        return self.predictions.assign(probability=p * (0.6 + 0.4 * target), target=target)


def decisions(groups=NAMES, repeats=1, cls=Decisions):
    tests = [test for repeat in range(repeats) for test in shuffled(repeat)]
    index = np.concatenate(tests)
    noise = np.random.default_rng(9).normal(0, 1.2, len(index))
    rows = pd.DataFrame(
        {
            "index": index,
            "target": TARGETS[index],
            "group": "" if groups is None else groups[index],
            "fold": np.repeat(range(len(tests)), [len(test) for test in tests]),
            "probability": 1 / (1 + np.exp(-(2 * TARGETS[index] - 1 + noise))),
        }
    )
    folds = tuple(Fold(np.setdiff1d(range(SLICES), t), t, np.empty(0, np.int64)) for t in tests)
    kind = None if groups is None else "patient"
    return cls("m", "d", "", ("no", "yes"), Protocol.paper(), folds, rows, group_kind=kind)


def arrays(result: Decisions, rows: pd.DataFrame, per: str) -> tuple[np.ndarray, ...]:
    """Targets, probabilities, folds and units of slices or patients, by loops."""
    slices = (rows["target"], rows["probability"], rows["fold"], rows["index"])
    target, probability, fold, index = (values.to_numpy() for values in slices)
    if per == "slice":
        return target, probability, fold, index
    cases = sorted({(f, PATIENTS[i]) for f, i in zip(fold, index, strict=True)})
    parts = [(fold == f) & (PATIENTS[index] == p) for f, p in cases]
    targets = np.array([target[part].max() for part in parts])
    probabilities = np.array([probability[part].mean() for part in parts])
    return targets, probabilities, *np.array(cases).T


def patients(units: np.ndarray, per: str) -> np.ndarray:
    return NAMES[units if per == "slice" else 2 * units]


def same(point, expected):
    np.testing.assert_allclose(point.thresholds, expected.thresholds)
    np.testing.assert_array_equal(point.confusion, expected.confusion)
    for name, interval in expected.intervals.items():
        assert tuple(point.intervals[name]) == pytest.approx(tuple(interval)), name
    for found, other in zip(point.at_prevalence, expected.at_prevalence, strict=True):
        assert found.prevalence == other.prevalence
        assert found.values == pytest.approx(other.values)


@pytest.mark.parametrize("per", ["slice", "patient"])
@pytest.mark.parametrize("cls", [Decisions, Validated])
def test_operating_points_of_slices_and_patients(per, cls):
    result = decisions(repeats=2, cls=cls)
    targets, probabilities, folds, units = arrays(result, result.predictions, per)
    fitted_on = None
    if cls is Validated:
        label, value, fold, unit = arrays(result, result.validation_predictions(), per)
        fitted_on = label, value, fold, patients(unit, per)
    points = result.predictive_values(0.1, specificity=0.8, per=per)
    assert (points.unit, points.group, points.n_groups) == (per, "patient", 48)
    assert points.fitted_on == ("the validation part" if fitted_on else "the other folds")
    expected = operating_point(
        targets,
        probabilities,
        Criterion("specificity", 0.8),
        folds=folds,
        groups=patients(units, per),
        units=units,
        fitted_on=fitted_on,
        prevalences=[0.1],
    )
    (point,) = points
    same(point, expected)


def test_without_patients_slices_are_resampled():
    result = decisions(None)
    targets, probabilities, folds, units = arrays(result, result.predictions, "slice")
    points = result.operating_points(threshold=0.5)
    assert (points.group, points.n_groups) == ("slice", SLICES)
    criterion = Criterion("threshold", 0.5)
    (point,) = points
    same(point, operating_point(targets, probabilities, criterion, folds=folds, groups=units))
    with pytest.raises(ValueError, match="needs the patient of every slice"):
        result.operating_points(per="patient")
    with pytest.raises(ValueError, match="per must be 'slice' or 'patient', got 'scan'"):
        result.operating_points(per="scan")


@pytest.mark.parametrize(
    ("options", "criteria"),
    [
        ({}, [("sensitivity", 0.95), ("specificity", 0.95)]),
        ({"sensitivity": 0.9}, [("sensitivity", 0.9)]),
        ({"sensitivity": [0.9, 0.8]}, [("sensitivity", 0.9), ("sensitivity", 0.8)]),
        (
            {"threshold": np.array([0.3, 0.7]), "specificity": (0.75,)},
            [("specificity", 0.75), ("threshold", 0.3), ("threshold", 0.7)],
        ),
    ],
)
def test_criteria(options, criteria):
    result = decisions()
    expected = [Criterion(*criterion) for criterion in criteria]
    assert [point.criterion for point in result.operating_points(**options)] == expected
    points = result.predictive_values([0.1, 0.3], **options)
    assert [point.criterion for point in points] == expected
    for point in points:
        assert [found.prevalence for found in point.at_prevalence] == [0.1, 0.3]


@pytest.mark.parametrize("per", ["slice", "patient"])
@pytest.mark.parametrize("method", ["platt", "temperature", None])
@pytest.mark.parametrize("cls", [Decisions, Validated])
def test_net_benefit_of_slices_and_patients(per, method, cls):
    result = decisions(repeats=2, cls=cls)
    targets, probabilities, folds, units = arrays(result, result.predictions, per)
    if method is not None:
        fitted_on = None
        if cls is Validated:
            label, value, fold, _ = arrays(result, result.validation_predictions(), per)
            fitted_on = probability_logit(value), label, fold
        probabilities = cross_fit(
            probability_logit(probabilities),
            targets,
            folds=folds,
            slices=units,
            method=method,
            fitted_on=fitted_on,
        ).probabilities
    groups = patients(units, per)
    expected = net_benefit(targets, probabilities, thresholds=[0.2, 0.6], groups=groups)
    found = result.net_benefit([0.2, 0.6], per=per, calibrate=method)
    assert found.unit == per
    np.testing.assert_allclose(found.model, expected.model)
    np.testing.assert_allclose(found.treat_all, expected.treat_all)
    np.testing.assert_allclose(found.low, expected.low)
    if method == "platt" and cls is Decisions:
        assert result.net_benefit([0.2, 0.6], per=per).model == pytest.approx(found.model)
        np.testing.assert_allclose(result.net_benefit(per=per).thresholds, np.arange(1, 100) / 100)


@pytest.mark.parametrize("calibrate", [None, "platt"])
def test_net_benefit_at_another_prevalence(calibrate):
    """The odds of each probability change by the ratio of the odds of the prevalences."""
    result = decisions()
    targets, probabilities, folds, units = arrays(result, result.predictions, "slice")
    if calibrate:
        logits = probability_logit(probabilities)
        options = {"folds": folds, "slices": units, "method": calibrate}
        probabilities = cross_fit(logits, targets, **options).probabilities
    share = targets.mean()
    odds = probabilities / (1 - probabilities) * (0.1 / 0.9) / (share / (1 - share))
    expected = net_benefit(
        targets, odds / (1 + odds), thresholds=[0.05, 0.2], groups=NAMES[units], prevalence=0.1
    )
    found = result.net_benefit([0.05, 0.2], calibrate=calibrate, prevalence=0.1)
    np.testing.assert_allclose(found.model, expected.model)
    np.testing.assert_allclose(found.treat_all, expected.treat_all)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sensitivity": 0.8},
        {"specificity": 0.8},
        {"threshold": 0.3},
        {"calibrate": "temperature", "specificity": 0.9, "prevalence": 0.05},
    ],
)
@pytest.mark.parametrize("per", ["slice", "patient"])
@pytest.mark.parametrize("cls", [Decisions, Validated])
def test_rules_are_fitted_on_the_mean_over_repeats(options, per, cls):
    result = decisions(repeats=2, cls=cls)
    validated = result.validation_predictions()
    rows = result.predictions if validated is None else validated
    targets, probabilities, _, units = arrays(result, rows, per)
    parts = [units == unit for unit in np.unique(units)]
    expected = fit_rule(
        [targets[part].max() for part in parts],
        [probabilities[part].mean() for part in parts],
        per=per,
        **options,
    )
    found = result.decision_rule(per=per, **options)
    assert found.per == per
    for name in ("slope", "intercept", "threshold", "prevalence"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name


def test_rules_are_for_patients_where_these_are_known():
    assert decisions().decision_rule().per == "patient"
    assert decisions(None).decision_rule().per == "slice"
    mean = fit_rule([0, 1], [0.5, 0.5], per="slice")
    assert decisions(None).decision_rule() == mean  # nothing is fitted unless it is asked for

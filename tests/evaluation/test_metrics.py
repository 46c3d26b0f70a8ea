"""The metrics are scikit-learn's where those are defined, and NaN where nothing is."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from covidct.errors import UnknownNameError
from covidct.evaluation import bootstrap, metrics

# Few distinct probabilities, so that ties are common.
PAIRS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])),
    min_size=1,
    max_size=40,
)
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.5, 0.8, 1.0])


def by_scikit_learn(targets: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict:
    called = (probabilities >= threshold).astype(int)
    both = len(set(targets)) == 2
    nan = float("nan")
    return {
        "accuracy": reference.accuracy_score(targets, called),
        "precision": reference.precision_score(targets, called, zero_division=np.nan),
        "recall": reference.recall_score(targets, called, zero_division=np.nan),
        "specificity": reference.recall_score(targets, called, pos_label=0, zero_division=np.nan),
        "f1": reference.f1_score(targets, called, zero_division=np.nan),
        "auc": reference.roc_auc_score(targets, probabilities) if both else nan,
        "average_precision": (
            reference.average_precision_score(targets, probabilities) if targets.any() else nan
        ),
        "balanced_accuracy": reference.balanced_accuracy_score(targets, called) if both else nan,
        "npv": reference.precision_score(targets, called, pos_label=0, zero_division=np.nan),
        "mcc": (
            reference.matthews_corrcoef(targets, called) if both and len(set(called)) == 2 else nan
        ),
        "brier": reference.brier_score_loss(targets, probabilities),
    }


@settings(deadline=None, max_examples=60)
@given(PAIRS, THRESHOLDS)
def test_scores_are_those_of_scikit_learn(pairs, threshold):
    targets, probabilities = map(np.array, zip(*pairs, strict=True))
    scores = metrics.score(targets, probabilities, threshold=threshold)
    expected = by_scikit_learn(targets, probabilities, threshold)
    assert list(scores) == list(metrics.METRICS) == list(expected)
    assert scores == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(PAIRS, st.randoms(use_true_random=False))
def test_weights_count_a_slice_as_often_as_it_was_drawn(pairs, random):
    targets, probabilities = map(np.array, zip(*pairs, strict=True))
    drawn = random.choices(range(len(pairs)), k=len(pairs))
    weights = np.bincount(drawn, minlength=len(pairs))[None]
    scores = metrics.weighted_scores(targets, probabilities, weights=weights)
    expected = metrics.score(targets[drawn], probabilities[drawn])
    assert {n: v[0] for n, v in scores.items()} == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(PAIRS)
def test_each_metric_by_itself_and_all_together_agree(pairs):
    targets, probabilities = zip(*pairs, strict=True)
    scores = metrics.score(targets, probabilities)
    for name, metric in metrics.METRICS.items():
        assert metric.name == name
        assert metric(targets, probabilities) == pytest.approx(scores[name], nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(PAIRS)
def test_every_nan_and_nothing_else_is_explained(pairs):
    targets, probabilities = zip(*pairs, strict=True)
    undefined = {n for n, v in metrics.score(targets, probabilities).items() if np.isnan(v)}
    reasons = metrics.describe_undefined(targets, probabilities, unit="patient")
    assert set(reasons) == undefined
    for name, reason in reasons.items():
        assert reason.startswith(f"{name} is undefined: ")
        assert "patient" in reason


@settings(deadline=None, max_examples=50)
@given(PAIRS)
def test_swapping_the_classes_swaps_recall_and_specificity(pairs):
    targets, probabilities = map(np.array, zip(*pairs, strict=True))
    probabilities[probabilities == 0.5] = 0.6  # a tie with the threshold is positive either way
    there = metrics.score(targets, probabilities)
    back = metrics.score(1 - targets, 1 - probabilities)
    mirrored = there | {"recall": there["specificity"], "specificity": there["recall"]}
    same = ("accuracy", "recall", "specificity", "auc", "balanced_accuracy", "mcc", "brier")
    expected = {name: mirrored[name] for name in same}
    assert {n: back[n] for n in same} == pytest.approx(expected, nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(PAIRS, THRESHOLDS)
def test_confusion_matrix_is_scikit_learns(pairs, threshold):
    targets, probabilities = map(np.array, zip(*pairs, strict=True))
    matrix = metrics.confusion_matrix(targets, probabilities, threshold=threshold)
    expected = reference.confusion_matrix(targets, probabilities >= threshold, labels=[0, 1])
    assert matrix.dtype.kind == "i"
    np.testing.assert_array_equal(matrix, expected)
    by_default = metrics.confusion_matrix(targets, probabilities)
    expected = reference.confusion_matrix(targets, probabilities >= 0.5, labels=[0, 1])
    np.testing.assert_array_equal(by_default, expected)


@pytest.mark.parametrize(
    ("targets", "probabilities", "undefined"),
    [
        ([0, 1], [0.1, 0.2], {"precision", "mcc"}),
        ([1, 1], [0.9, 0.2], {"specificity", "auc", "balanced_accuracy", "mcc"}),
        (
            [0, 0],
            [0.1, 0.2],
            set(metrics.METRICS) - {"accuracy", "specificity", "npv", "brier"},
        ),
        ([0, 1], [0.1, 0.9], set()),
    ],
)
def test_undefined_is_nan_without_a_warning(targets, probabilities, undefined):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = metrics.score(targets, probabilities)
    assert {name for name, value in scores.items() if np.isnan(value)} == undefined


def test_a_probability_at_the_threshold_is_positive():
    assert metrics.METRICS["recall"]([1], [0.5]) == 1
    assert metrics.METRICS["recall"]([1], [0.7], threshold=np.nextafter(0.7, 1)) == 0


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        ([0, 2], [0.1, 0.2], "targets must be 0 .* or 1 .*got .*2"),
        ([], [], "not empty"),
        ([[0, 1]], [[0.1, 0.2]], "one-dimensional"),
        ([0, 1], [0.1], "each of 2 targets"),
        ([0, 1], [0.1, np.nan], "finite, got nan at position 1"),
        ([0, 1], [3.5, 0.1], "got 3.5 at position 0; pass probabilities, not logits"),
        ([0, 1], [0.1, -1e-9], r"\[0, 1\]"),
    ],
)
@pytest.mark.parametrize("function", [metrics.score, metrics.confusion_matrix])
def test_bad_arrays_are_named(function, targets, probabilities, message):
    with pytest.raises(ValueError, match=message):
        function(targets, probabilities)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        metrics.score([0, 1], [0.1, 0.9], threshold=threshold)


@pytest.mark.parametrize("weights", [[1, 1], [[1, 1, 1]], [[1, -1]], [[1, np.nan]]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        metrics.weighted_scores([0, 1], [0.1, 0.9], weights=weights)


def test_folds_are_scored_apart_and_undefined_ones_left_out_of_the_mean():
    rng = np.random.default_rng(0)
    targets, probabilities = rng.integers(0, 2, 60), rng.random(60).round(1)
    folds = np.repeat(["b", "a", "c"], 20)
    targets[folds == "c"] = 0  # recall, the AUC and others are undefined in this fold
    scores = metrics.weighted_scores(
        targets, probabilities, weights=np.ones((2, 60)), folds=folds, threshold=0.3
    )
    of_folds = [
        by_scikit_learn(targets[folds == fold], probabilities[folds == fold], 0.3) for fold in "abc"
    ]
    assert list(scores) == list(metrics.METRICS)
    for name, values in scores.items():
        expected = np.nanmean([fold[name] for fold in of_folds])
        np.testing.assert_allclose(values, [expected, expected], rtol=1e-12)
    undefined = [name for name in scores if np.isnan(of_folds[2][name])]
    assert {"recall", "auc", "average_precision"} <= set(undefined)
    with pytest.raises(ValueError, match="folds must have one value for each of 60 targets"):
        metrics.weighted_scores(targets, probabilities, weights=np.ones((1, 60)), folds=folds[1:])


def test_boolean_weights_choose_slices():
    targets, probabilities = np.array([0, 1, 1, 1]), np.array([0.2, 0.7, 0.9, 0.3])
    chosen = np.array([[True, True, True, False], [False, True, False, True]])
    scores = metrics.weighted_scores(targets, probabilities, weights=chosen)
    for row, own in enumerate(chosen):
        expected = metrics.score(targets[own], probabilities[own])
        found = {name: values[row] for name, values in scores.items()}
        assert found == pytest.approx(expected, nan_ok=True)


def test_metrics_undefined_in_all_folds_are_nan():
    scores = metrics.weighted_scores(
        [0, 0, 0, 0], [0.1, 0.2, 0.7, 0.2], weights=np.ones((1, 4)), folds=[0, 0, 1, 1]
    )
    assert np.isnan(scores["recall"]).all()
    assert scores["specificity"] == pytest.approx([0.75])


@pytest.mark.parametrize("name", metrics.METRICS)
@pytest.mark.parametrize("threshold", [0, 0.25, 1])
def test_a_metric_by_itself_uses_the_threshold(name, threshold):
    targets, probabilities = np.array([0, 1, 1, 0, 1, 0]), np.array([0.0, 0.2, 0.3, 0.6, 1.0, 0.25])
    expected = by_scikit_learn(targets, probabilities, threshold)[name]
    found = metrics.METRICS[name](targets, probabilities, threshold=threshold)
    assert found == pytest.approx(expected, nan_ok=True)


def test_reasons_depend_on_the_threshold_and_name_the_unit():
    assert metrics.describe_undefined([0, 1], [0.1, 0.2], threshold=0.15) == {}
    assert metrics.describe_undefined([0, 1], [0.1, 0.2]) == {
        "precision": "precision is undefined: no slice was predicted as COVID-19",
        "mcc": "mcc is undefined: all slices are of one class, or all were predicted as one class",
    }


def test_unknown_metric_proposes_a_known_one():
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        metrics.score([0, 1], [0.1, 0.9], names=["acuracy"])


class TestSummarize:
    def test_mean_and_sample_deviation(self):
        values = [0.9, 0.8, 0.85, 0.95, 0.7]
        mean, sd = metrics.summarize([{"f1": v} for v in values])["f1"]
        assert mean == pytest.approx(np.mean(values))
        assert sd == pytest.approx(np.std(values, ddof=1))

    def test_undefined_folds_are_left_out_and_counted(self):
        folds = [{"auc": 0.5, "f1": 1.0}, {"auc": np.nan, "f1": 0.5}, {"auc": 1.0, "f1": 0.0}]
        assert metrics.summarize(folds)["auc"] == pytest.approx((0.75, np.std([0.5, 1], ddof=1)))
        assert metrics.count_undefined(folds) == {"auc": 1}

    def test_notes_count_the_folds_that_are_left_out(self):
        folds = [{"auc": 0.5, "f1": 1.0}, {"auc": np.nan, "f1": 0.5}, {"auc": np.nan, "f1": 0.0}]
        assert metrics.undefined_notes(folds) == [
            "AUC is undefined (–) in 2 of 3 folds; the mean leaves these out."
        ]
        assert metrics.undefined_notes(folds[:1]) == []

    def test_one_fold_has_no_deviation_and_none_no_mean(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            summary = metrics.summarize([{"auc": np.nan, "f1": 0.5}])
        assert summary["f1"][0] == 0.5
        assert np.isnan([summary["f1"][1], *summary["auc"]]).all()

    def test_nothing_and_unlike_folds_are_refused(self):
        with pytest.raises(ValueError, match="at least one fold"):
            metrics.summarize([])
        with pytest.raises(ValueError, match="fold 1 and fold 0 have different metrics: auc, f1"):
            metrics.summarize([{"f1": 1.0}, {"auc": 1.0}])


class TestPerGroup:
    def test_mean_of_each_groups_slices(self):
        targets, probabilities, names = metrics.per_group(
            [1, 0, 1, 0], [0.2, 0.1, 0.9, 0.3], np.array(["p2", "p1", "p2", "p10"], dtype=object)
        )
        assert names.tolist() == ["p1", "p10", "p2"]
        assert targets.tolist() == [0, 0, 1]
        assert targets.dtype == np.int64
        assert probabilities == pytest.approx([0.1, 0.3, 0.55])

    def test_group_with_any_positive_slice_is_positive(self):
        targets, _, _ = metrics.per_group([0, 1, 0], [0.1, 0.2, 0.3], ["p7", "p7", "p8"])
        assert targets.tolist() == [1, 0]

    @pytest.mark.parametrize("unknown", ["", None, float("nan")])
    def test_slice_without_a_group_is_refused(self, unknown):
        with pytest.raises(ValueError, match="1 of 2 slices have no group"):
            metrics.per_group([0, 1], [0.1, 0.2], ["p1", unknown])

    def test_groups_of_another_length_are_refused(self):
        with pytest.raises(ValueError, match="groups must have one value"):
            metrics.per_group([0, 1], [0.1, 0.2], ["p1"])


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_slices_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    one, other = (metrics.score(*zip(*rows, strict=True)) for rows in (pairs, shuffled))
    assert one == pytest.approx(other, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_score_as_arrays_do(dtype):
    probabilities = torch.tensor([0.25, 0.75, 0.5, 0.125], dtype=dtype, requires_grad=True)
    targets, groups = torch.tensor([0, 1, 1, 0]), torch.tensor([3, 3, 4, 4])
    expected = metrics.score([0, 1, 1, 0], [0.25, 0.75, 0.5, 0.125])
    assert metrics.score(targets, probabilities) == expected
    assert metrics.score(targets.bool(), probabilities) == expected
    ends = bootstrap(targets, probabilities, groups=groups)
    assert ends == bootstrap([0, 1, 1, 0], [0.25, 0.75, 0.5, 0.125], groups=[3, 3, 4, 4])


@pytest.mark.parametrize(
    "probabilities",
    [
        np.ma.masked_array([0.25, 0.75, 0.5], [False, True, False]),
        pd.Series([0.25, None, 0.5], dtype="Float64"),
    ],
    ids=["masked", "NA"],
)
def test_hidden_probabilities_do_not_count_in_silence(probabilities):
    with pytest.raises(ValueError, match="probabilities must be finite, got nan at position 1"):
        metrics.score([0, 1, 1], probabilities)


@pytest.mark.parametrize(
    "targets",
    [
        np.ma.masked_array([0, 1, 1], [False, False, True]),
        pd.Series([0, 1, None], dtype="Int64"),
    ],
    ids=["masked", "NA"],
)
def test_hidden_targets_do_not_count_in_silence(targets):
    with pytest.raises(ValueError, match=r"targets must be 0 .* or 1 .*, got None"):
        metrics.score(targets, [0.25, 0.75, 0.5])


@pytest.mark.parametrize("threshold", ["0.5", None])
def test_a_threshold_that_is_no_number(threshold):
    with pytest.raises(ValueError, match="threshold must be a number"):
        metrics.score([0, 1], [0.25, 0.75], threshold=threshold)

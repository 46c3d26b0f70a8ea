"""Differences between runs on the same slices, and what is no pair."""

from __future__ import annotations

import json
from itertools import count
from math import isnan

import numpy as np
import pytest
from scipy import special

import covidct
from covidct.errors import UnknownNameError
from covidct.evaluation import significance
from covidct.runs.cross_dataset import evaluate_across
from covidct.runs.paired_tests import compare_runs, same_folds
from covidct.runs.protocol import Protocol


def judging(seed, share):
    def judge(targets, index):
        rng = np.random.default_rng((seed, int(index[0])))
        wrong = rng.random(len(index)) < share
        return np.where(wrong, 1 - targets, targets) * 0.8 + 0.1

    return judge


PATIENTS = [f"p{i // 10}" for i in range(200)]


@pytest.fixture
def runs(made_up_run):
    return {
        name: made_up_run(judging(seed, share), slices=200, groups=PATIENTS)
        for seed, (name, share) in enumerate([("good", 0.02), ("bad", 0.35), ("worse", 0.4)])
    }


def test_each_number_is_that_of_the_evaluation(runs):
    tests = compare_runs(runs, metric="auc", n_permutations=499, seed=3)
    assert [(t.a, t.b) for t in tests.tests] == [
        ("good", "bad"),
        ("good", "worse"),
        ("bad", "worse"),
    ]
    first = tests.tests[0]
    good, bad = (runs[name].predictions for name in ("good", "bad"))
    pair = good["target"], good["probability"], bad["probability"]
    options = {"groups": PATIENTS, "folds": good["fold"], "metric": "auc", "seed": 3}
    swapped = significance.permutation_test(*pair, n_permutations=499, **options)
    assert (first.difference, first.p_permutation) == (swapped.difference, swapped.p_value)
    means = [runs[name].summary()["auc"][0] for name in ("good", "bad")]
    assert first.difference == pytest.approx(means[0] - means[1])
    assert first.interval == significance.difference_interval(*pair, **options)
    differences = [
        a["auc"] - b["auc"]
        for a, b in zip(runs["good"].fold_metrics, runs["bad"].fold_metrics, strict=True)
    ]
    over = significance.corrected_resampled_ttest(differences, n_train=160, n_test=40)
    assert (first.retraining, first.p_retraining) == (over.interval, over.p_value)
    for kind in ("p_permutation", "p_retraining"):
        expected = significance.holm([getattr(t, kind) for t in tests.tests])
        np.testing.assert_array_equal([getattr(t, f"{kind}_holm") for t in tests.tests], expected)


@pytest.mark.parametrize("repeats", [None, 3])
@pytest.mark.parametrize("metric", ["auc", "accuracy", "f1"])
def test_the_difference_is_that_of_the_tables(made_up_run, metric, repeats):
    """Networks of different folds are on scales of their own, and repeats vary."""

    def judge(seed, signal, offset):
        calls = count()

        def judge(targets, index):
            call = next(calls)
            rng = np.random.default_rng((seed, call))
            logits = signal * (2 * targets - 1) + rng.normal(0, 1, len(index))
            return special.expit(logits + offset * (call - 2))

        return judge

    options = {"slices": 500, "repeats": repeats, "groups": [f"p{i // 5}" for i in range(500)]}
    runs = {
        "a": made_up_run(judge(0, 1.1, 1.5), **options),
        "b": made_up_run(judge(1, 1.0, 0.0), **options),
    }
    (test,) = compare_runs(runs, metric=metric, n_permutations=199).tests
    means = [run.summary()[metric][0] for run in runs.values()]
    assert test.difference == pytest.approx(means[0] - means[1])
    assert test.interval.low < test.difference < test.interval.high


def test_text_and_json(runs):
    tests = compare_runs(runs, pairs=[("good", "bad")], n_permutations=199)
    assert "good minus bad" in str(tests)
    assert "whole groups" in str(tests)
    assert "Holm" not in str(tests)  # one test needs no correction
    several = compare_runs(runs, n_permutations=199)
    assert "p permutation (Holm)" in several.table().header
    assert f"for the number of tests, {len(several.tests)}" in str(several)
    given = json.loads(json.dumps(tests.to_dict(), allow_nan=False))
    assert given["tests"][0]["a"] == "good"
    assert given["metric"] == "accuracy"
    assert "| good minus bad |" in tests.table().render("markdown")


def test_repeats_of_one_split_are_crossed_with_patients(made_up_run):
    runs = {
        name: made_up_run(judging(seed, 0.2), slices=100, repeats=3, protocol=Protocol.official())
        for seed, name in enumerate("ab")
    }
    tests = compare_runs(runs, n_permutations=99)
    (test,) = tests.tests
    assert test.retraining.low < test.difference < test.retraining.high
    assert test.retraining.method == "crossed"
    assert 0 < test.p_retraining < 1
    assert 0 < test.p_permutation <= 1
    assert "with other seeds and splits" in str(tests)


def test_what_a_random_split_is_worth_to_retrained_networks(made_up_run):
    options = {"slices": 200, "groups": PATIENTS, "shuffles": 6}
    leaking = made_up_run(judging(2, 0.1), **options)
    grouped = made_up_run(
        judging(3, 0.3), **options, split_seed=9, protocol=Protocol.grouped("patient")
    )
    tests = compare_runs({"leaking": leaking, "grouped": grouped}, n_permutations=199)
    (test,) = tests.tests
    assert test.retraining.low < 0.2 < test.retraining.high
    assert test.retraining.low <= test.difference <= test.retraining.high
    assert test.p_retraining < 0.001
    assert "retrained" in tests.table().header


def test_runs_may_differ_in_their_split_alone(made_up_run):
    leaking = made_up_run(judging(0, 0.1), slices=200)
    grouped = made_up_run(
        judging(1, 0.3), slices=200, protocol=Protocol.grouped("patient"), groups=PATIENTS
    )
    tests = compare_runs({"leaking": leaking, "grouped": grouped}, n_permutations=199)
    (test,) = tests.tests
    pair = [run.predictions for run in (leaking, grouped)]
    expected = significance.difference_interval(
        pair[0]["target"],
        *(rows["probability"] for rows in pair),
        groups=PATIENTS,
        folds=[rows["fold"] for rows in pair],
    )
    assert test.interval == expected
    assert tests.unit == "group"
    assert isnan(test.p_retraining)
    assert test.retraining.reason == "there are no repeats"
    assert "Retrained networks are not compared (–): there are no repeats." in tests.table().notes


GROUPED = {"protocol": Protocol.grouped("patient")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "sars-cov-2-ct"}, "the other 'sars-cov-2-ct'.*more than the split: slices"),
        ({**GROUPED, "model": "resnet18"}, "of the other 'grouped by patient'.*split: network$"),
        ({**GROUPED, "recipe": covidct.Recipe().scaled(30)}, "split: epochs, milestones$"),
        ({**GROUPED, "repeats": 5}, "split: slices, folds, repeats$"),
        ({"folds": 4}, "their folds differ.*split: folds$"),
    ],
)
def test_what_is_no_pair_is_left_out_or_refused(made_up_run, changes, message):
    runs = {
        "a": made_up_run(judging(0, 0.1), slices=100),
        "b": made_up_run(judging(1, 0.1), slices=100, **changes),
    }
    assert not same_folds(runs["a"], runs["b"])
    nothing = compare_runs(runs)
    assert nothing.tests == ()
    assert str(nothing).startswith("no runs to compare")
    with pytest.raises(ValueError, match=message):
        compare_runs(runs, pairs=[("a", "b")])


def test_unknown_metric(runs):
    with pytest.raises(ValueError, match="did you mean 'auc'"):
        compare_runs(runs, metric="acu")


def test_runs_need_names(runs):
    with pytest.raises(TypeError, match=r"results must map names to .* ScoredFolds, .* got a list"):
        compare_runs(list(runs.values()))
    with pytest.raises(TypeError, match="got a str"):
        compare_runs({"a": "runs/a"})
    with pytest.raises(TypeError, match=r"datasets must map names to .* CTDataset, .* got a tuple"):
        evaluate_across(runs, ())
    with pytest.raises(UnknownNameError, match="unknown run 'god'; did you mean 'good'"):
        compare_runs(runs, pairs=[("god", "bad")])

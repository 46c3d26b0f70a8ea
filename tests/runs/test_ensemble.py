"""Averages of runs: the arithmetic, and what may not be averaged."""

from __future__ import annotations

import numpy as np
import pytest

import covidct
from covidct.evaluation import metrics
from covidct.runs.comparison_table import side_by_side
from covidct.runs.ensemble import Ensemble
from covidct.runs.protocol import Protocol


def judging(seed):
    def judge(targets, index):
        rng = np.random.default_rng((seed, int(index[0])))
        return np.clip(rng.normal(0.25 + 0.5 * targets, 0.3), 0, 1)

    return judge


@pytest.fixture
def members(made_up_run):
    return [made_up_run(judging(seed), slices=200, model=m) for seed, m in enumerate(["a", "b"])]


def test_probabilities_are_averaged_slice_by_slice(members):
    both = Ensemble(members)
    parts = [member.predictions for member in members]
    assert (both.predictions["index"] == parts[0]["index"]).all()
    mean = (parts[0]["probability"] + parts[1]["probability"]) / 2
    np.testing.assert_allclose(both.predictions["probability"], mean)
    logit = both.predictions["logit"]
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), mean, atol=1e-12)
    assert both.model_name == "a + b"
    assert len(both.folds) == 5
    assert both.fold_metrics[2] == metrics.score(
        *(both.fold_predictions(2)[field] for field in ("target", "probability"))
    )


def test_it_has_all_that_follows_from_predictions(members):
    both = Ensemble(members)
    mean, _ = both.summary()["accuracy"]
    assert mean > max(member.summary()["accuracy"][0] for member in members)
    low, high = both.intervals()["accuracy"]
    assert low < mean < high
    assert both.confusion_matrix().sum() == 40
    assert both.table().render("csv").count("\n") == 8
    assert "a + b on covid19-ct, protocol: paper" in str(both)
    assert both.to_dict()["model"] == "a + b"


@pytest.mark.parametrize(
    "changes",
    [{"name": "sars-cov-2-ct"}, {"protocol": Protocol.official()}, {"folds": 4}, {"slices": 199}],
)
def test_members_must_share_slices_protocol_and_folds(made_up_run, members, changes):
    other = made_up_run(judging(2), **{"slices": 200, **changes})
    with pytest.raises(ValueError, match="do not have the same folds"):
        Ensemble([*members, other])


def test_siblings_are_the_repeats_of_one_split(made_up_run):
    calls = iter(range(3))

    def judge(targets, index):
        return judging(next(calls))(targets, index)

    run = made_up_run(judge, slices=100, repeats=3, protocol=Protocol.official())
    merged = Ensemble([run], siblings=True)
    assert len(merged.folds) == 1
    assert len(merged.predictions) == 20
    # The table shows one network twice, and no options that an ensemble has not.
    assert "variant" not in side_by_side([run, merged]).header
    mean = np.mean([run.fold_predictions(k)["probability"] for k in range(3)], axis=0)
    np.testing.assert_allclose(merged.predictions["probability"], mean)
    np.testing.assert_allclose(
        merged.predictions["probability"], run.pooled_predictions()["probability"]
    )


def test_folds_of_a_cross_validation_are_no_siblings(members):
    with pytest.raises(ValueError, match="slices that they were trained on"):
        Ensemble(members, siblings=True)


@pytest.mark.parametrize("siblings", [False, True])
def test_nothing_to_average(members, siblings):
    with pytest.raises(ValueError, match="at least two runs, or one with siblings"):
        Ensemble([] if siblings else members[:1], siblings=siblings)


def test_on_another_source(tiny, phantoms, quick):
    options = {"cv": 2, "groups": "patient", "weights": None, "threads": 1, "device": "cpu"}
    members = [
        covidct.CrossValidator(tiny, recipe, **options).run(phantoms)
        for recipe in (quick.scaled(1), quick.scaled(1).replace(resize="stretch"))
    ]
    other = covidct.load_dataset("phantom", n=8, seed=1)
    found = Ensemble(members).evaluate(other)
    each = [member.evaluate(other).probabilities for member in members]
    np.testing.assert_allclose(found.probabilities, np.mean(each, axis=0))
    assert found.probabilities.shape == (2, 8)
    assert found.seen == ()
    backwards = phantoms.subset(range(len(phantoms))[::-1])
    assert Ensemble(members).evaluate(backwards).seen == backwards.names

"""A run beside the paper's: what is said to differ is what differs."""

from __future__ import annotations

import numpy as np
import pytest

import covidct
from covidct.errors import UnknownNameError


@pytest.fixture
def run(made_up_run):
    """Every tenth slice is wrong; options change the run."""

    def run(recipe=None, **changes):
        def judge(targets, index):
            return np.where(index % 10 == 0, 1 - targets, targets)

        return made_up_run(judge, recipe=recipe, **changes)

    return run


def test_the_papers_own_experiment_is_comparable(run):
    comparison = run().compare_published()
    assert comparison.comparable
    accuracy = comparison.rows[0]
    assert accuracy.theirs == (0.873, 0.032)
    assert accuracy.ours.mean == pytest.approx(0.9, abs=0.001)
    assert accuracy.in_their_sds == pytest.approx((accuracy.ours.mean - 0.873) / 0.032)


@pytest.mark.parametrize(
    ("recipe", "changes", "named"),
    [
        ({}, {"weights": None}, ["random weights instead of ImageNet's"]),
        ({"canvas": "default"}, {}, ["canvas default instead of custom"]),
        ({"resize": "stretch"}, {"folds": 2}, ["2 folds instead of 5", "resize stretch instead"]),
        ({}, {"slices": 700}, ["700 slices instead of 746"]),
        ({"learning_rate": 0.1}, {}, ["learning_rate 0.1 instead of 0.0003"]),
    ],
)
def test_each_departure_is_named(run, recipe, changes, named):
    comparison = run(covidct.Recipe().replace(**recipe), **changes).compare_published()
    assert not comparison.comparable
    assert len(comparison.departures) == len(named)
    for departure, start in zip(comparison.departures, named, strict=True):
        assert departure.startswith(start)


def test_a_shortened_schedule_is_one_departure(run):
    comparison = run(covidct.Recipe().scaled(30)).compare_published()
    assert comparison.departures == ("30 epochs instead of 100",)


def test_another_protocol_is_not_comparable(run):
    comparison = run(protocol="grouped by patient").compare_published()
    assert not comparison.comparable
    assert comparison.departures == ()


def test_weights_of_a_file_are_mentioned_and_not_judged(run):
    comparison = run(weights="squeezenet1_0.pth (sha256 ab)").compare_published()
    assert comparison.comparable
    assert "squeezenet1_0.pth" in comparison.caveats[-1]


@pytest.mark.parametrize("changes", [{"model": "efficientnet_lite0"}, {"model": "mine"}])
def test_what_the_paper_has_not_is_refused(run, changes):
    with pytest.raises(UnknownNameError, match="of the paper"):
        run(**changes).compare_published()


def test_a_dataset_of_ones_own_is_refused(run):
    own = {"name": "mine", "classes": ["a", "b"], "slices": 746, "content_hash": "", "skipped": []}
    with pytest.raises(UnknownNameError, match="dataset of the paper 'mine'"):
        run(dataset=own).compare_published()


@pytest.mark.parametrize(("protocol", "said"), [("paper", True), ("grouped by patient", False)])
def test_a_random_split_says_what_it_leaves_open(run, protocol, said):
    assert ("does not say what a grouped split gives" in str(run(protocol=protocol))) is said

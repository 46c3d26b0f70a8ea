"""Variance components against an independent computation and simulations of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from covidct.evaluation import variance


def test_components_are_unbiased_in_simulations():
    """Four splits with three trainings each; the truth is 1 for the training, 4 for the split."""
    rng = np.random.default_rng(0)
    splits = np.repeat(range(4), 3)
    found = np.mean(
        [
            variance.split_components(rng.normal(0, 2, 4)[splits] + rng.normal(0, 1, 12), splits)
            for _ in range(2000)
        ],
        axis=0,
    )
    assert found == pytest.approx([1, 4, 5], rel=0.1)


def test_influences_are_those_of_a_mean():
    """The jackknife variance of a mean is that of the textbook, and equal rows share all of it."""
    rng = np.random.default_rng(1)
    wrong = rng.random(60) < 0.3
    rows = variance.group_influences(
        np.zeros(120, int), np.tile(wrong, 2) * 1.0, replicates=np.repeat([0, 1], 60)
    )
    expected = wrong.var(ddof=1) / 60
    assert (rows**2).sum(axis=1) == pytest.approx([expected] * 2)
    assert variance.shared_variance(rows) == pytest.approx(expected)
    assert variance.shared_variance(rows[:1]) == pytest.approx(expected)


def test_shared_variance_leaves_out_the_errors_of_single_networks():
    """Patients of ease 0.6 or 0.9: their variance is 0.0225, that of a single call 0.1875."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(120):
        ease = rng.choice([0.6, 0.9], 100)
        right = rng.random((3, 100)) < ease
        rows = variance.group_influences(
            np.ones(300, int), right.ravel() * 1.0, replicates=np.repeat(range(3), 100)
        )
        found.append([variance.shared_variance(rows), (rows[0] ** 2).sum()])
    assert np.mean(found, axis=0) == pytest.approx([0.0225 / 100, 0.1875 / 100], rel=0.15)


@pytest.mark.parametrize("repeats", [3, 10])
def test_crossed_interval_covers_in_simulations(repeats):
    """Scores vary with the patients (sd 0.02) and with the training (sd 0.03)."""
    rng = np.random.default_rng(repeats)
    hits = p_values = 0
    for _ in range(1000):
        effects = rng.normal(0, 0.02 * np.sqrt(50), 50)
        scores = effects.mean() + rng.normal(0, 0.03, repeats)
        influences = np.tile((effects - effects.mean()) / np.sqrt(50 * 49), (repeats, 1))
        interval, p_value = variance.crossed_interval(scores, influences, n_groups=50)
        hits += interval.low <= 0 <= interval.high
        p_values += p_value <= 0.05
        assert (interval.low <= 0 <= interval.high) == (p_value > 0.05)
    assert 930 <= hits <= 985
    assert hits + p_values == 1000


@pytest.mark.parametrize(
    ("scores", "groups", "reason"),
    [([0.9], 50, "no repeats"), ([0.9, 0.8], 1, "one {unit}"), ([0.9, np.nan], 50, "undefined")],
)
def test_an_interval_that_is_not_defined_gives_the_reason(scores, groups, reason):
    interval, p_value = variance.crossed_interval(
        scores, np.full((len(scores), 4), 0.1), n_groups=groups
    )
    assert np.isnan([*interval, p_value]).all()
    assert reason in interval.reason


def test_each_replicate_needs_all_groups():
    with pytest.raises(ValueError, match="slices of all groups"):
        variance.group_influences(
            [0, 1, 0], [0.1, 0.9, 0.2], replicates=[0, 0, 1], groups=["a", "b", "a"]
        )


def test_an_undefined_contribution_has_no_shared_variance():
    influences = np.array([[0.1, np.nan], [0.1, -0.1]])
    assert np.isnan(variance.shared_variance(influences))

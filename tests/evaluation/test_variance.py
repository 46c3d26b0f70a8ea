"""Variance components against an independent computation and simulations of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from covidct.evaluation import metrics, variance


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


def test_components_of_unequal_splits_by_hand():
    # Sum of squares within: 10 with 3 degrees of freedom; between: 250 / 3 with 2.
    found = variance.split_components([1, 3, 4, 8, 10, 12], ["a", "a", "b", "c", "c", "c"])
    training, per_split = 10 / 3, (6 - (4 + 1 + 9) / 6) / 2
    split = (125 / 3 - training) / per_split
    assert found == pytest.approx((training, split, training + split))


def test_components_that_a_design_cannot_estimate():
    nan = np.nan
    one_split = variance.split_components([0.1, 0.3, 0.5], ["a"] * 3)
    assert one_split == pytest.approx((0.04, nan, nan), nan_ok=True)
    one_each = variance.split_components([0.1, 0.3, 0.5], ["a", "b", "c"])
    assert one_each == pytest.approx((nan, nan, 0.04), nan_ok=True)
    assert np.isnan(variance.split_components([0.1], ["a"])).all()
    # Means of the splits are closer than chance lets them be: the estimate is negative.
    alike = variance.split_components([0.1, 0.5, 0.2, 0.4], ["a", "a", "b", "b"])
    assert alike == pytest.approx((0.05, 0, 0.05))


@pytest.mark.parametrize("metric", ["recall", "auc"])
def test_influences_leave_out_one_group_at_a_time(metric):
    rng = np.random.default_rng(3)
    groups = np.tile(np.repeat(["p1", "p2", "p3", "p4", "p5"], [2, 4, 2, 6, 2]), 2)
    replicates, folds = np.repeat(["x", "y"], 16), np.tile([0, 0, 1, 1], 8)
    targets, probabilities = np.tile([0, 1], 16), rng.random(32).round(1)
    found = variance.group_influences(
        targets,
        probabilities,
        replicates=replicates,
        groups=groups,
        folds=folds,
        metric=metric,
        threshold=0.3,
    )
    assert found.shape == (2, 5)
    for row, replicate in zip(found, ("x", "y"), strict=True):
        without = []
        for group in np.unique(groups):
            of_folds = [
                (replicates == replicate) & (groups != group) & (folds == k) for k in (0, 1)
            ]
            without.append(
                np.mean(
                    [
                        metrics.METRICS[metric](targets[own], probabilities[own], threshold=0.3)
                        for own in of_folds
                    ]
                )
            )
        expected = np.sqrt(4 / 5) * (np.mean(without) - np.array(without))
        # The order of the blocks is that of a permutation, the same in both rows.
        order = np.random.default_rng(0).permutation(5)
        np.testing.assert_allclose(row[order], expected, atol=1e-12)
    plain = {"replicates": replicates, "metric": metric}
    alone = variance.group_influences(targets, probabilities, **plain)
    of_positions = variance.group_influences(
        targets, probabilities, groups=np.tile(np.arange(16), 2), **plain
    )
    np.testing.assert_array_equal(alone, of_positions)


def test_blocks_of_many_groups_are_those_of_every_replicate():
    rng = np.random.default_rng(4)
    wrong = np.tile(rng.random(700) < 0.3, 2) * 1.0
    rows = variance.group_influences(np.zeros(1400, int), wrong, replicates=np.repeat([0, 1], 700))
    assert rows.shape == (2, 500)
    np.testing.assert_array_equal(rows[0], rows[1])


def test_shared_variance_is_the_mean_covariance_of_pairs():
    rows = np.random.default_rng(5).normal(size=(3, 20)) + np.linspace(-1, 1, 20)
    pairs = [rows[0] @ rows[1], rows[0] @ rows[2], rows[1] @ rows[2]]
    assert variance.shared_variance(rows) == pytest.approx(np.mean(pairs))
    assert variance.shared_variance(np.stack([rows[0], -rows[0]])) == 0


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


def test_crossed_interval_by_hand():
    influences = np.array([[0.1, -0.1, 0.2, -0.2]] + [[0.1, -0.1, 0.1, -0.1]] * 2)
    interval, p_value = variance.crossed_interval(
        [0.3, 0.4, 0.5], influences, n_groups=7, level=0.8
    )
    patients, networks = (0.06 + 0.06 + 0.04) / 3, 0.01 / 3
    error = np.sqrt(patients + networks)
    freedom = error**4 / (patients**2 / 6 + networks**2 / 2)
    half = stats.t.ppf(0.9, freedom) * error
    assert interval == pytest.approx((0.4 - half, 0.4 + half))
    assert interval.method == "crossed"
    assert p_value == pytest.approx(2 * stats.t.sf(0.4 / error, freedom))
    mirrored, same = variance.crossed_interval([-0.3, -0.4, -0.5], influences, n_groups=7)
    assert same == pytest.approx(p_value)
    assert mirrored.low < -0.4 < mirrored.high
    two, _ = variance.crossed_interval([0.3, 0.4, 0.5], influences, n_groups=2)
    assert two.low < interval.low


@pytest.mark.parametrize("score", [0.25, 0.1, 0.0])
def test_scores_without_variation_have_no_interval(score):
    interval, p_value = variance.crossed_interval([score] * 3, np.zeros((3, 4)), n_groups=4)
    assert np.isnan(interval).all()
    assert interval.reason == "neither the repeats nor the {unit}s differ"
    assert p_value == 1 if score == 0 else np.isnan(p_value)


@pytest.mark.parametrize(
    ("scores", "groups", "reason"),
    [
        ([0.9], 50, "there are no repeats"),
        ([0.9, 0.8], 1, "there is only one {unit}"),
        ([0.9, np.nan], 50, "the metric is undefined"),
    ],
)
def test_an_interval_that_is_not_defined_gives_the_reason(scores, groups, reason):
    interval, p_value = variance.crossed_interval(
        scores, np.full((len(scores), 4), 0.1), n_groups=groups
    )
    assert np.isnan([*interval, p_value]).all()
    assert interval.reason == reason


def test_each_replicate_needs_all_groups():
    with pytest.raises(ValueError, match="slices of all groups"):
        variance.group_influences(
            [0, 1, 0], [0.1, 0.9, 0.2], replicates=[0, 0, 1], groups=["a", "b", "a"]
        )


def test_an_undefined_contribution_has_no_shared_variance():
    influences = np.array([[0.1, np.nan], [0.1, -0.1]])
    assert np.isnan(variance.shared_variance(influences))
    interval, _ = variance.crossed_interval([0.9, 0.8], influences, n_groups=50)
    assert interval.reason == "the metric is undefined"

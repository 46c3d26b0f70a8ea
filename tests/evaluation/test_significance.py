"""Tests of tests: against hand-computed values, scipy and statsmodels, and under no difference."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from scipy.special import expit
from statsmodels.stats.multitest import multipletests

from covidct.errors import UnknownNameError
from covidct.evaluation import metrics, significance
from covidct.evaluation.intervals import cluster_bootstrap


class TestCorrectedResampledTTest:
    def test_hand_computed(self):
        # mean 0.02, variance 5e-5; 5 folds of 20, 80 to train: (1/5 + 1/4) * 5e-5 = 2.25e-5.
        test = significance.corrected_resampled_ttest(
            [0.01, 0.03, 0.02, 0.015, 0.025], n_train=80, n_test=20
        )
        variance = (0.01**2 + 0.01**2 + 0 + 0.005**2 + 0.005**2) / 4
        error = np.sqrt((1 / 5 + 20 / 80) * variance)
        assert test.difference == pytest.approx(0.02)
        assert test.statistic == pytest.approx(0.02 / error)
        assert test.degrees_of_freedom == 4
        assert test.p_value == pytest.approx(2 * stats.t.sf(0.02 / error, 4))
        half = stats.t.ppf(0.975, 4) * error
        assert test.interval == pytest.approx((0.02 - half, 0.02 + half))

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=3, max_size=10))
    def test_without_a_test_part_it_is_the_plain_t_test(self, differences):
        if len(set(differences)) == 1:
            return
        test = significance.corrected_resampled_ttest(differences, n_train=1, n_test=1e-300)
        expected = stats.ttest_1samp(differences, 0)
        assert test.statistic == pytest.approx(expected.statistic, rel=1e-6, abs=1e-9)
        assert test.p_value == pytest.approx(expected.pvalue, rel=1e-6)
        plain = expected.confidence_interval(0.95)
        assert test.interval == pytest.approx((plain.low, plain.high), rel=1e-6, abs=1e-9)

    def test_level_is_that_of_the_interval(self):
        differences = [0.01, 0.03, -0.02, 0.04]
        test = significance.corrected_resampled_ttest(
            differences, n_train=1, n_test=1e-300, level=0.8
        )
        plain = stats.ttest_1samp(differences, 0).confidence_interval(0.8)
        assert test.interval == pytest.approx((plain.low, plain.high), rel=1e-6)

    def test_two_folds_are_enough(self):
        test = significance.corrected_resampled_ttest([0.1, 0.3], n_train=1, n_test=1e-300)
        assert test.p_value == pytest.approx(stats.ttest_1samp([0.1, 0.3], 0).pvalue)

    def test_correction_makes_it_harder_to_find_a_difference(self):
        differences = [0.01, 0.03, 0.02, 0.015, 0.025]
        corrected = significance.corrected_resampled_ttest(differences, n_train=80, n_test=20)
        assert corrected.p_value > stats.ttest_1samp(differences, 0).pvalue

    @pytest.mark.parametrize("difference", [0.0, -0.25, 0.1])
    def test_equal_differences_have_no_variance(self, difference):
        test = significance.corrected_resampled_ttest([difference] * 5, n_train=80, n_test=20)
        assert test.difference == pytest.approx(difference)
        assert np.isnan(test.interval).all()
        assert test.interval.reason == "all folds have the same value"
        assert test.p_value == 1 if difference == 0 else np.isnan(test.p_value)

    @pytest.mark.parametrize(
        ("differences", "sizes", "message"),
        [
            ([0.1], (80, 20), "at least two folds, got 1"),
            ([0.1, np.nan], (80, 20), "differences must be finite, got nan"),
            ([0.1, 0.2], (80, 0), "n_test must be positive"),
            ([0.1, 0.2], (0, 20), "n_test must be positive"),
        ],
    )
    def test_bad_arguments_are_refused(self, differences, sizes, message):
        with pytest.raises(ValueError, match=message):
            significance.corrected_resampled_ttest(differences, n_train=sizes[0], n_test=sizes[1])


def by_hand(targets, a, b, groups, metric):
    """Try every swap, one at a time; of ranks, if the metric has regard to nothing else."""
    if metric.ranking:
        a, b = (stats.rankdata(p) / len(p) for p in (a, b))
    names = sorted(set(groups))
    observed = abs(metric(targets, a) - metric(targets, b))
    extreme = 0
    for swaps in product([False, True], repeat=len(names)):
        swapped = np.array([swaps[names.index(g)] for g in groups])
        first, second = np.where(swapped, b, a), np.where(swapped, a, b)
        extreme += abs(metric(targets, first) - metric(targets, second)) >= observed - 1e-12
    return extreme / 2 ** len(names)


class TestPermutation:
    @pytest.mark.parametrize("metric", metrics.METRICS)
    def test_exact_is_every_swap_of_whole_patients(self, metric):
        rng = np.random.default_rng(7)
        groups = np.repeat(list("abcdefg"), 4)
        targets = np.repeat([0, 1, 0, 1, 1, 0, 1], 4)
        a = np.clip(rng.normal(0.3 + 0.4 * targets, 0.2), 0, 1).round(2)
        b = np.clip(rng.normal(0.4 + 0.2 * targets, 0.2), 0, 1).round(2)
        options = {"groups": groups, "metric": metric}
        test = significance.permutation_test(targets, a, b, **options)
        f = metrics.METRICS[metric]
        assert test.exact
        assert test.n_permutations == 2**7
        assert test.difference == pytest.approx(f(targets, a) - f(targets, b))
        assert test.p_value == by_hand(targets, a, b, groups, f)
        mirrored = significance.permutation_test(targets, b, a, **options)
        assert mirrored.p_value == test.p_value
        assert mirrored.difference == pytest.approx(-test.difference)

    def test_drawn_swaps_agree_with_all_of_them(self):
        rng = np.random.default_rng(8)
        targets = np.arange(12) % 2
        a = np.clip(rng.normal(0.2 + 0.6 * targets, 0.2), 0, 1)
        b = rng.random(12)
        every = significance.permutation_test(targets, a, b, metric="brier")
        drawn = significance.permutation_test(
            targets, a, b, metric="brier", n_permutations=2**12 - 1
        )
        assert (every.exact, drawn.exact) == (True, False)
        assert every.p_value < 0.2
        assert drawn.p_value == pytest.approx(every.p_value, abs=0.01)
        assert drawn == significance.permutation_test(
            targets, a, b, metric="brier", n_permutations=2**12 - 1
        )

    @pytest.mark.parametrize("allowed", [2**6, 60])
    def test_permutations_are_tried_in_batches(self, monkeypatch, allowed):
        rng = np.random.default_rng(22)
        targets, groups = np.arange(24) % 2, np.arange(24) // 4
        models = targets, rng.random(24), np.clip(rng.random(24) + 0.2 * targets, 0, 1)
        options = {"groups": groups, "metric": "brier", "n_permutations": allowed}
        whole = significance.permutation_test(*models, **options)
        one_by_one = np.concatenate(
            [
                part
                for size in (1, 7, 100)
                for part in significance._swaps(6, 64, exact=True, columns=10**6 // size, seed=0)
            ]
        )
        assert (np.bincount(one_by_one @ 2 ** np.arange(6), minlength=64) == 3).all()
        monkeypatch.setattr("covidct.evaluation._weighted_counts._CELLS_AT_ONCE", 48 * 7)
        again = significance.permutation_test(*models, **options)
        assert again.p_value == pytest.approx(whole.p_value, abs=0 if allowed == 64 else 0.2)
        assert whole.p_value > 0.2

    def test_half_of_the_groups_are_swapped(self):
        drawn = np.concatenate(list(significance._swaps(10, 3000, exact=False, columns=1, seed=0)))
        np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.04)
        np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(10), atol=0.08)

    def test_defaults(self):
        rng = np.random.default_rng(18)
        models = np.arange(30) % 2, rng.random(30), rng.random(30)
        options = {"metric": "accuracy", "threshold": 0.5, "seed": 0}
        test = significance.permutation_test(*models)
        assert test == significance.permutation_test(*models, n_permutations=10_000, **options)
        interval = significance.difference_interval(*models)
        assert interval == significance.difference_interval(
            *models, n_resamples=2000, level=0.95, **options
        )
        assert significance.difference_interval(
            *models, metric="brier"
        ) == significance.difference_interval(*models, metric="brier", n_resamples=2000)

    def test_p_is_never_zero_and_one_for_equal_predictions(self):
        targets = np.arange(40) % 2
        good, bad = 0.2 + 0.6 * targets, 0.8 - 0.6 * targets
        assert significance.permutation_test(targets, good, bad, n_permutations=99).p_value == 0.01
        assert significance.permutation_test(targets, good, good).p_value == 1

    def test_patients_with_many_slices_are_no_more_evidence(self):
        rng = np.random.default_rng(9)
        groups = np.repeat(np.arange(8), 30)
        targets = groups % 2
        ease = rng.normal(0, 1, 8)[groups]
        a, b = 1 / (1 + np.exp(-(2 * targets - 1) * (ease + 0.6))), np.full(len(groups), 0.5)
        by_patient = significance.permutation_test(targets, a, b, groups=groups)
        by_slice = significance.permutation_test(targets, a, b, n_permutations=999)
        assert by_patient.p_value > 0.1 > 0.01 > by_slice.p_value

    def test_without_a_difference_p_is_below_0_1_in_a_tenth(self):
        rng = np.random.default_rng(10)
        groups = np.repeat(np.arange(20), 5)
        targets = groups % 2
        small = 0
        for run in range(200):
            a, b = (
                np.clip(0.2 + 0.6 * targets + rng.normal(0, 0.3, 20)[groups], 0, 1)
                for _ in range(2)
            )
            test = significance.permutation_test(
                targets, a, b, groups=groups, metric="brier", n_permutations=199, seed=run
            )
            small += test.p_value <= 0.1
        assert 0.04 <= small / 200 <= 0.17

    def test_undefined_difference(self):
        test = significance.permutation_test([0, 0, 0], [0.1] * 3, [0.2] * 3, metric="auc")
        assert np.isnan([test.difference, test.p_value]).all()
        assert (test.n_permutations, test.exact) == (8, True)

    def test_all_swaps_are_tried_if_they_are_not_more_than_allowed(self):
        models = [0, 1, 0, 1], [0.2, 0.7, 0.4, 0.6], [0.6, 0.7, 0.4, 0.3]
        for allowed, tried, exact in ((16, 16, True), (15, 15, False), (1, 1, False)):
            test = significance.permutation_test(*models, n_permutations=allowed)
            assert (test.n_permutations, test.exact) == (tried, exact)
            assert 0 < test.p_value <= 1
        many = np.arange(20_000) % 2
        assert not significance.permutation_test(many, many, 1 - many, n_permutations=3).exact

    @pytest.mark.parametrize("metric", ["recall", "mcc"])
    def test_the_threshold_decides(self, metric):
        rng = np.random.default_rng(13)
        targets = np.arange(60) % 2
        a, b = (np.clip(rng.normal(0.1 + 0.3 * targets, s), 0, 1).round(1) for s in (0.15, 0.3))
        called_a, called_b = (p >= 0.3 for p in (a, b))
        found, plain = (
            [
                significance.permutation_test(
                    targets, p, q, metric=metric, n_permutations=99, threshold=threshold
                ),
                significance.difference_interval(
                    targets, p, q, metric=metric, n_resamples=100, threshold=threshold
                ),
            ]
            for p, q, threshold in ((a, b, 0.3), (called_a * 1.0, called_b * 1.0, 0.5))
        )
        assert found == plain
        assert found[0].difference != 0

    def test_folds_of_two_splits_by_hand(self):
        """Every swap of AUCs averaged over folds, where the two models have other folds."""
        rng = np.random.default_rng(16)
        groups, targets = np.repeat(np.arange(6), 4), np.tile([0, 1], 12)
        folds = np.stack([groups // 4, (groups > 0).astype(int)])
        probabilities = rng.random((2, 24)).round(1) * [[1], [0.5]]
        ranks = np.empty((2, 24))
        for model, k in product(range(2), range(2)):
            part = folds[model] == k
            ranks[model, part] = (stats.rankdata(probabilities[model, part]) - 0.5) / part.sum()

        def mean(chosen):
            of, p, y = folds[chosen], ranks[chosen], np.stack([targets] * 2)[chosen]
            return np.mean([metrics.METRICS["auc"](y[of == k], p[of == k]) for k in range(2)])

        def apart(swapped):
            return mean(np.stack([~swapped, swapped])) - mean(np.stack([swapped, ~swapped]))

        observed = abs(apart(np.zeros(24, bool)))
        extreme = [
            abs(apart(np.array(swaps)[groups])) >= observed - 1e-12
            for swaps in product([False, True], repeat=6)
        ]
        test = significance.permutation_test(
            targets, *probabilities, groups=groups, folds=folds, metric="auc"
        )
        assert test.p_value == np.mean(extreme)
        assert 0.1 < test.p_value < 0.9

    def test_a_swap_that_leaves_the_metric_undefined_counts_as_extreme(self):
        # Precision of a is 1 and of b 0.5; swapping the first slice leaves a with no call.
        targets, a, b = [1, 0], [0.9, 0.1], [0.1, 0.9]
        assert significance.permutation_test(targets, a, b, metric="precision").p_value == 1

    def test_bad_arguments_are_refused(self):
        with pytest.raises(ValueError, match="probabilities_b must be in"):
            significance.permutation_test([0, 1], [0.1, 0.9], [0.1, 1.9])
        with pytest.raises(ValueError, match="probabilities_a must be in"):
            significance.permutation_test([0, 1], [0.1, 1.9], [0.1, 0.9])
        with pytest.raises(ValueError, match=r"folds must have shape \(2,\) or \(2, 2\)"):
            significance.permutation_test([0, 1], [0.1, 0.9], [0.1, 0.9], folds=np.zeros((3, 2)))
        with pytest.raises(ValueError, match="n_permutations"):
            significance.permutation_test([0, 1], [0.1, 0.9], [0.1, 0.9], n_permutations=0)
        with pytest.raises(UnknownNameError, match="did you mean 'auc'"):
            significance.permutation_test([0, 1], [0.1, 0.9], [0.1, 0.9], metric="acu")


def delong(targets, a, b):
    """P-value of DeLong, DeLong and Clarke-Pearson (1988), from their definitions."""
    positive, negative = targets == 1, targets == 0
    wins = [
        (p[positive][:, None] > p[negative]) + (p[positive][:, None] == p[negative]) / 2
        for p in (a, b)
    ]
    apart = wins[0] - wins[1]
    variance = (
        apart.mean(axis=1).var(ddof=1) / positive.sum()
        + apart.mean(axis=0).var(ddof=1) / negative.sum()
    )
    return 2 * stats.norm.sf(abs(apart.mean()) / np.sqrt(variance))


def rated(rng, n_groups, *, slices=1, signals=(1.0, 1.0), offset=0.0):
    """Two models of known quality; the second gives other probabilities throughout."""
    groups = np.repeat(np.arange(n_groups), slices)
    targets = groups % 2
    shared = rng.normal(0, 0.7, n_groups)[groups]
    a, b = (
        expit(
            signal * (2 * targets - 1)
            + shared
            + rng.normal(0, 0.7, n_groups)[groups]
            + rng.normal(0, 0.5, len(groups))
            + shift
        )
        for signal, shift in zip(signals, (0.0, offset), strict=True)
    )
    return targets, a, b, groups


class TestAgainstKnownTruth:
    @pytest.mark.parametrize("slices", [1, 4])
    @pytest.mark.parametrize("offset", [0.0, 2.0])
    def test_equal_aucs_are_told_apart_at_the_nominal_rate(self, slices, offset):
        rng = np.random.default_rng((1, slices))
        p_values = []
        for run in range(300):
            targets, a, b, groups = rated(rng, 40, slices=slices, offset=offset)
            p_values.append(
                significance.permutation_test(
                    targets, a, b, groups=groups, metric="auc", n_permutations=199, seed=run
                ).p_value
            )
        # Three standard errors of a share of 0.05 in 300 runs are 0.038.
        assert 0.015 <= np.mean(np.array(p_values) <= 0.05) <= 0.088

    def test_a_real_difference_is_found_in_spite_of_another_scale(self):
        rng = np.random.default_rng(2)
        found = 0
        for run in range(100):
            targets, a, b, groups = rated(rng, 80, slices=2, signals=(1.4, 0.4), offset=2.0)
            test = significance.permutation_test(
                targets, a, b, groups=groups, metric="auc", n_permutations=199, seed=run
            )
            found += test.difference > 0 and test.p_value <= 0.05
        assert found >= 80

    def test_single_slices_give_the_p_value_of_delong(self):
        rng = np.random.default_rng(3)
        for run in range(10):
            targets, a, b, _ = rated(rng, 120, signals=(1.0, 0.7), offset=1.0)
            test = significance.permutation_test(
                targets, a, b, metric="auc", n_permutations=1999, seed=run
            )
            assert test.p_value == pytest.approx(delong(targets, a, b), abs=0.05)

    def test_networks_of_other_folds_on_other_scales_are_not_ranked_together(self):
        """Model a is better in each fold, but its folds differ in the scale of their logits."""
        targets, a, b, groups = rated(np.random.default_rng(6), 300, slices=2, signals=(1.25, 1.1))
        folds = groups * 5 // 300
        a = expit(special.logit(a) + 1.5 * (folds - 2))
        auc = metrics.METRICS["auc"]
        of_folds = [[auc(targets[folds == k], p[folds == k]) for k in range(5)] for p in (a, b)]
        mean = np.mean(of_folds[0]) - np.mean(of_folds[1])
        options = {"groups": groups, "metric": "auc", "seed": 0}
        pooled = significance.permutation_test(targets, a, b, n_permutations=199, **options)
        assert pooled.difference < -0.1
        assert pooled.p_value < 0.01
        test = significance.permutation_test(
            targets, a, b, folds=folds, n_permutations=199, **options
        )
        assert test.difference == pytest.approx(mean)
        assert 0 < test.difference < 0.05
        low, high = significance.difference_interval(
            targets, a, b, folds=folds, n_resamples=200, **options
        )
        assert low < mean < high

    def test_repeats_are_averaged_and_are_no_more_evidence(self):
        rng = np.random.default_rng(7)
        repeats = [rated(rng, 60, signals=(1.5, 0.5)) for _ in range(3)]
        targets = repeats[0][0]
        a, b = (np.concatenate([r[i] for r in repeats]) for i in (1, 2))
        options = {
            "groups": np.tile(np.arange(60), 3),
            "folds": np.repeat(range(3), 60),
            "metric": "brier",
        }
        test = significance.permutation_test(
            np.tile(targets, 3), a, b, n_permutations=99, **options
        )
        brier = metrics.METRICS["brier"]
        expected = np.mean([brier(y, p) - brier(y, q) for y, p, q, _ in repeats])
        assert test.difference == pytest.approx(expected)
        once = {"n_permutations": 999, "metric": "brier"}
        first = repeats[0][:3]
        thrice = [np.tile(values, 3) for values in first]
        again = significance.permutation_test(*thrice, **options | once)
        assert again.p_value == significance.permutation_test(*first, **once).p_value

    def test_models_of_different_splits_have_folds_of_their_own(self):
        targets, a, b, groups = rated(np.random.default_rng(8), 80)
        folds = np.stack([groups // 2 % 2, groups // 40])
        means = [
            np.mean([metrics.METRICS["auc"](targets[of == k], p[of == k]) for k in (0, 1)])
            for p, of in zip((a, b), folds, strict=True)
        ]
        options = {"folds": folds, "metric": "auc"}
        test = significance.permutation_test(targets, a, b, n_permutations=99, **options)
        assert test.difference == pytest.approx(means[0] - means[1])
        with pytest.raises(ValueError, match=r"folds must have shape \(80,\) or \(2, 80\)"):
            significance.permutation_test(targets, a, b, folds=folds.T)


class TestDifferenceInterval:
    def test_what_is_hard_for_both_cancels(self):
        rng = np.random.default_rng(11)
        groups = np.repeat(np.arange(60), 5)
        targets = groups % 2
        hard = rng.normal(0, 0.35, 60)[groups]
        a = np.clip(0.75 + hard, 0, 1)
        b = np.clip(0.70 + hard, 0, 1)
        a, b = (np.where(targets == 1, p, 1 - p) for p in (a, b))
        low, high = significance.difference_interval(
            targets, a, b, groups=groups, metric="brier", n_resamples=500
        )
        point = metrics.METRICS["brier"](targets, a) - metrics.METRICS["brier"](targets, b)
        assert low < point < high < 0
        # Taken for two samples the same scores would say nothing.
        apart = metrics.METRICS["brier"](targets, b) * 0.5
        assert high - low < apart

    def test_it_is_the_bootstrap_of_the_difference(self):
        rng = np.random.default_rng(15)
        targets, groups = np.arange(60) % 2, np.arange(60) // 4
        a, b = rng.random(60), rng.random(60)
        folds = np.stack([groups % 2, groups // 8])
        options = {"level": 0.8, "n_resamples": 150, "seed": 4}

        def statistic(weights):
            means = [
                metrics.weighted_scores(targets, p, weights=weights, folds=of)["brier"]
                for p, of in ((a, folds[0]), (b, folds[1]))
            ]
            return {"": means[0] - means[1]}

        expected = cluster_bootstrap(statistic, groups, **options)[""]
        names = np.char.zfill(groups.astype(str), 2)
        found = significance.difference_interval(
            targets, a, b, groups=names, folds=folds, metric="brier", **options
        )
        assert found == pytest.approx(expected)

    def test_models_that_never_differ_have_no_interval(self):
        rng = np.random.default_rng(12)
        targets, p = rng.integers(0, 2, 50), rng.random(50)
        interval = significance.difference_interval(targets, p, p, n_resamples=100)
        assert np.isnan(interval).all()
        assert interval.reason == "every resample gives the same value"


@settings(deadline=None, max_examples=15)  # statsmodels takes a tenth of a second
@given(st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_holm_is_that_of_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(significance.holm(p_values), expected, rtol=1e-12)


def test_holm_does_not_count_what_was_not_tested():
    corrected = significance.holm([0.01, np.nan, 0.03])
    np.testing.assert_allclose(corrected, [0.02, np.nan, 0.03])
    assert significance.holm([0, 1]).tolist() == [0, 1]
    np.testing.assert_allclose(significance.holm([0.01, None, 0.03]), corrected)


@pytest.mark.parametrize("p_values", [[0.1, 1.2], [-0.1], [[0.1, 0.2]]])
def test_holm_refuses_what_is_no_p_value(p_values):
    with pytest.raises(ValueError, match="p_values"):
        significance.holm(p_values)

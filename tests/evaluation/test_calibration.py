"""Calibration recovers what was put in, and never looks at the fold it is judged on."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from covidct.evaluation import calibration, metrics


def drawn(rng: np.random.Generator, n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too large by ``temperature``, with targets from the right ones."""
    right = rng.normal(0, 2, n)
    return right * temperature, (rng.random(n) < expit(right)).astype(int)


class TestReliability:
    @pytest.mark.parametrize("strategy", ["uniform", "quantile"])
    def test_filled_bins_are_those_of_scikit_learn(self, strategy):
        rng = np.random.default_rng(0)
        logits, targets = drawn(rng, 500, 1.5)
        probabilities = expit(logits)
        curve = calibration.reliability_curve(targets, probabilities, n_bins=7, strategy=strategy)
        observed, mean = calibration_curve(targets, probabilities, n_bins=7, strategy=strategy)
        filled = curve.counts > 0
        np.testing.assert_allclose(curve.observed[filled], observed)
        np.testing.assert_allclose(curve.probability[filled], mean)
        assert curve.counts.sum() == 500
        assert len(curve.edges) == 8

    def test_empty_bins_are_nan_and_the_ends_belong_to_it(self):
        curve = calibration.reliability_curve([0, 1], [0.0, 1.0], n_bins=3)
        assert curve.counts.tolist() == [1, 0, 1]
        np.testing.assert_array_equal(curve.observed, [0, np.nan, 1])

    def test_tied_probabilities_share_a_bin(self):
        curve = calibration.reliability_curve(
            [0, 1, 1, 1], [0.4, 0.4, 0.4, 0.9], n_bins=4, strategy="quantile"
        )
        assert curve.counts.sum() == 4
        assert (np.diff(curve.edges) > 0).all()

    def test_equal_counts_leave_no_empty_bin_at_the_ends(self):
        curve = calibration.reliability_curve(
            [0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0.5, 1, 1, 1], n_bins=4, strategy="quantile"
        )
        np.testing.assert_array_equal(curve.edges, [0, 0.5, 1])
        assert curve.counts.tolist() == [3, 4]

    def test_empty_bins_above_all_probabilities_count(self):
        curve = calibration.reliability_curve([0, 1], [0.1, 0.2], n_bins=4)
        assert curve.counts.tolist() == [2, 0, 0, 0]
        assert len(curve.observed) == len(curve.probability) == 4
        assert len(calibration.reliability_curve([0, 1], [0.1, 0.2]).counts) == 10

    @settings(deadline=None, max_examples=50)
    @given(
        st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=30),
        st.sampled_from(["uniform", "quantile"]),
    )
    def test_error_is_a_fraction_and_one_bin_gives_the_bias(self, pairs, strategy):
        targets, probabilities = map(np.array, zip(*pairs, strict=True))
        error = calibration.expected_calibration_error(targets, probabilities, strategy=strategy)
        assert 0 <= error <= 1
        one = calibration.expected_calibration_error(targets, probabilities, n_bins=1)
        assert one == pytest.approx(abs(targets.mean() - probabilities.mean()))
        assert error >= one - 1e-12

    def test_hand_computed_error(self):
        # Bin 0: mean 0.1, none positive; bin 9: mean 0.95, one of two positive.
        error = calibration.expected_calibration_error([0, 1, 0], [0.05, 0.9, 1.0])
        assert error == pytest.approx((0.05 + 2 * 0.45) / 3)

        # Two bins of equal counts: means 0.475 and 0.975, one of two positive in both.
        error = calibration.expected_calibration_error(
            [0, 1, 1, 0], [0.05, 0.9, 0.95, 1.0], n_bins=2, strategy="quantile"
        )
        assert error == pytest.approx((2 * 0.025 + 2 * 0.475) / 4)

    def test_bad_options_are_refused(self):
        with pytest.raises(ValueError, match="n_bins"):
            calibration.reliability_curve([0, 1], [0.1, 0.9], n_bins=0)
        with pytest.raises(ValueError, match="'uniform' or 'quantile', got 'equal'"):
            calibration.reliability_curve([0, 1], [0.1, 0.9], strategy="equal")


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
    def test_it_is_recovered(self, temperature):
        logits, targets = drawn(np.random.default_rng(1), 20_000, temperature)
        assert calibration.fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.05)

    def test_it_minimizes_the_log_loss(self):
        logits, targets = drawn(np.random.default_rng(2), 300, 2.0)
        best = calibration.fit_temperature(logits, targets)
        losses = [log_loss(targets, expit(logits / t)) for t in (best * 0.99, best, best * 1.01)]
        assert losses[1] == min(losses)

    def test_bounds_hold_where_there_is_no_minimum(self):
        low, high = calibration.TEMPERATURE_BOUNDS
        targets = [0, 0, 1, 1]
        assert calibration.fit_temperature([-2, -1, 1, 3], targets) == pytest.approx(low)
        assert calibration.fit_temperature([2, 1, -1, -3], targets) == pytest.approx(high)
        assert calibration.fit_temperature([0, 0, 0, 0], targets) == 1

    def test_one_class_is_refused(self):
        with pytest.raises(ValueError, match="both classes, got class 1 only"):
            calibration.fit_temperature([0.1, 0.2], [1, 1])


class TestThreshold:
    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.tuples(st.integers(0, 1), st.sampled_from(np.linspace(0, 1, 9).tolist())),
            min_size=1,
            max_size=30,
        ).filter(lambda pairs: any(target for target, _ in pairs)),
        st.floats(0.01, 1),
    )
    def test_it_is_the_highest_that_suffices(self, pairs, sensitivity):
        targets, probabilities = zip(*pairs, strict=True)
        recall = metrics.METRICS["recall"]
        threshold = calibration.threshold_for_sensitivity(targets, probabilities, sensitivity)
        assert recall(targets, probabilities, threshold=threshold) >= sensitivity - 1e-9
        above = np.nextafter(threshold, 2)
        if above <= 1:
            assert recall(targets, probabilities, threshold=above) < sensitivity

    def test_rounding_asks_for_no_positive_more(self):
        probabilities = np.arange(1, 11) / 10
        found = calibration.threshold_for_sensitivity(np.ones(10), probabilities, 1 - 0.3)
        assert found == probabilities[3]

    @pytest.mark.parametrize("sensitivity", [0, 1.01, float("nan")])
    def test_impossible_sensitivity_is_refused(self, sensitivity):
        with pytest.raises(ValueError, match="sensitivity must be in"):
            calibration.threshold_for_sensitivity([0, 1], [0.1, 0.9], sensitivity)

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(st.integers(0, 1), st.sampled_from(np.linspace(0, 1, 9).tolist())),
            min_size=1,
            max_size=30,
        ).filter(lambda pairs: not all(target for target, _ in pairs)),
        st.floats(1e-12, 1),
    )
    def test_for_a_specificity_it_is_the_lowest_that_suffices(self, pairs, specificity):
        targets, probabilities = zip(*pairs, strict=True)
        reached = metrics.METRICS["specificity"]
        threshold = calibration.threshold_for_specificity(targets, probabilities, specificity)
        assert 0 < threshold <= 1
        if threshold < 1:
            found = reached(targets, probabilities, threshold=threshold)
            assert found >= specificity - 1e-9
        below = np.nextafter(threshold, 0)
        assert reached(targets, probabilities, threshold=below) < specificity

    def test_rounding_asks_for_no_negative_more(self):
        probabilities = np.arange(1, 11) / 20
        found = calibration.threshold_for_specificity(np.zeros(10), probabilities, 1 - 0.3)
        assert found == np.nextafter(probabilities[6], 1)
        all_of_them = calibration.threshold_for_specificity(np.zeros(10), probabilities, 1)
        assert all_of_them == np.nextafter(probabilities[9], 1)

    def test_the_smallest_share_needs_one_slice(self):
        probabilities = [0.2, 0.4, 0.6]
        found = calibration.threshold_for_sensitivity([1, 1, 1], probabilities, 1e-12)
        assert found == 0.6
        found = calibration.threshold_for_specificity([0, 0, 0], probabilities, 1e-12)
        assert found == np.nextafter(0.2, 1)

    def test_a_negative_of_probability_one_cannot_be_excluded(self):
        assert calibration.threshold_for_specificity([0, 0], [0.2, 1.0], 1) == 1

    @pytest.mark.parametrize("specificity", [0, 1.01, float("nan")])
    def test_impossible_specificity_is_refused(self, specificity):
        with pytest.raises(ValueError, match="specificity must be in"):
            calibration.threshold_for_specificity([0, 1], [0.1, 0.9], specificity)

    def test_no_positive_is_refused(self):
        with pytest.raises(ValueError, match="needs at least one positive slice"):
            calibration.threshold_for_sensitivity([0, 0], [0.1, 0.9], 0.9)


class TestCrossFit:
    def test_each_fold_is_fitted_by_the_others(self):
        rng = np.random.default_rng(3)
        logits, targets = drawn(rng, 3000, 2.5)
        folds = rng.permutation(np.arange(3000) % 5)
        fit = calibration.cross_fit(logits, targets, folds=folds, sensitivity=0.9)
        assert fit.folds.tolist() == [0, 1, 2, 3, 4]
        for k in range(5):
            other, held = folds != k, folds == k
            temperature = calibration.fit_temperature(logits[other], targets[other])
            assert fit.temperatures[k] == pytest.approx(temperature)
            np.testing.assert_allclose(fit.probabilities[held], expit(logits[held] / temperature))
            scores = metrics.score(
                targets[held], fit.probabilities[held], threshold=fit.thresholds[k]
            )
            assert fit.sensitivities[k] == scores["recall"] == pytest.approx(0.9, abs=0.06)
            assert fit.specificities[k] == scores["specificity"]
            np.testing.assert_array_equal(
                fit.predicted[held], fit.probabilities[held] >= fit.thresholds[k]
            )
        before = calibration.expected_calibration_error(targets, expit(logits))
        after = calibration.expected_calibration_error(targets, fit.probabilities)
        assert after < before / 2

    @pytest.mark.parametrize("method", ["temperature", "platt"])
    def test_folds_are_recalibrated_by_the_chosen_method(self, method):
        rng = np.random.default_rng(7)
        logits, targets = drawn(rng, 400, 2.0)
        logits = logits.round() + 1  # too high, and many of them equal to a threshold
        folds = np.arange(400) % 2
        fit = calibration.cross_fit(logits, targets, folds=folds, sensitivity=0.8, method=method)
        for k in range(2):
            held = folds == k
            line = calibration.fit_recalibration(logits[~held], targets[~held], method=method)
            assert (fit.slopes[k], fit.intercepts[k]) == line
            expected = expit(line[0] * logits[held] + line[1])
            np.testing.assert_array_equal(fit.probabilities[held], expected)
            np.testing.assert_array_equal(fit.predicted[held], expected >= fit.thresholds[k])
            assert (expected == fit.thresholds[k]).any()
            calibrated = expit(line[0] * logits[~held] + line[1])
            chosen = calibration.threshold_for_sensitivity(targets[~held], calibrated, 0.8)
            assert fit.thresholds[k] == chosen
        assert fit.predicted.dtype == bool

    def test_a_folds_labels_do_not_reach_its_fit(self):
        rng = np.random.default_rng(4)
        logits, targets = drawn(rng, 200, 2.0)
        folds = np.arange(200) % 4
        lied = np.where(folds == 2, 1 - targets, targets)
        honest, fooled = (
            calibration.cross_fit(logits, labels, folds=folds) for labels in (targets, lied)
        )
        assert honest.temperatures[2] == fooled.temperatures[2]
        assert honest.thresholds[2] == fooled.thresholds[2]
        assert (honest.temperatures != fooled.temperatures).sum() == 3

    def test_slices_that_recur_are_kept_out(self):
        # Repeated cross-validation: folds 0, 1 and folds 2, 3 each hold every slice once.
        rng = np.random.default_rng(5)
        logits, targets = drawn(rng, 100, 2.0)
        first, second = rng.permutation(np.arange(100) % 2), 2 + rng.permutation(np.arange(100) % 2)
        fit = calibration.cross_fit(
            np.tile(logits, 2),
            np.tile(targets, 2),
            folds=np.concatenate([first, second]),
            slices=np.tile(np.arange(100), 2),
        )
        others = first == 1
        assert fit.temperatures[0] == pytest.approx(
            calibration.fit_temperature(np.tile(logits[others], 2), np.tile(targets[others], 2)),
            rel=1e-6,
        )

    def test_fold_of_one_class_has_no_specificity(self):
        logits, targets = [2.0, -1.0, 1.0, 0.5, 3.0], [1, 0, 1, 0, 1]
        fit = calibration.cross_fit(logits, targets, folds=[0, 0, 1, 1, 2])
        assert np.isnan(fit.specificities).tolist() == [False, False, True]

    def test_a_validation_part_fits_the_fold_of_its_number(self):
        rng = np.random.default_rng(6)
        logits, targets = drawn(rng, 200, 2.0)
        other_logits, other_targets = drawn(rng, 120, 3.0)
        folds, other_folds = np.arange(200) // 100, np.arange(120) % 2
        fit = calibration.cross_fit(
            logits, targets, folds=folds, fitted_on=(other_logits, other_targets, other_folds)
        )
        for k in range(2):
            part = other_logits[other_folds == k], other_targets[other_folds == k]
            assert fit.temperatures[k] == pytest.approx(calibration.fit_temperature(*part))
            assert fit.thresholds[k] == calibration.threshold_for_sensitivity(
                part[1], expit(part[0] * fit.slopes[k]), 0.95
            )
        lied = calibration.cross_fit(
            logits, 1 - targets, folds=folds, fitted_on=(other_logits, other_targets, other_folds)
        )
        np.testing.assert_array_equal(lied.thresholds, fit.thresholds)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"folds": [0, 0, 0]},
                "fold 0 cannot be calibrated: there are no predictions of both classes",
            ),
            ({"folds": [0, 1]}, "folds must have one value"),
            ({"folds": [0, 1, 1], "slices": [1, 2]}, "slices must have one value"),
            ({"folds": [0, 0, 1]}, "both classes"),
            ({"folds": [0, 1, 1], "slices": [7, 7, 7]}, "fold 0 cannot be calibrated"),
            ({"folds": [0, 1, 1], "fitted_on": ([1.0], [1], [0])}, "a validation part"),
            ({"folds": [0, 1, 1], "fitted_on": ([1.0], [1, 0], [0, 0])}, "logits must have one"),
        ],
    )
    def test_bad_arguments_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            calibration.cross_fit([1.0, -1.0, 2.0], [1, 0, 1], **options)


class TestLogisticCalibration:
    def test_slope_and_intercept_are_those_of_statsmodels(self):
        rng = np.random.default_rng(10)
        groups = np.repeat(np.arange(80), rng.integers(1, 6, 80))
        effects = rng.normal(0, 1, 80)[groups]
        logits = rng.normal(0, 2, len(groups)) + effects
        targets = (rng.random(len(groups)) < expit(0.6 * logits - 0.4 + effects)).astype(int)
        found = calibration.logistic_calibration(targets, logits, groups=groups)
        robust = {
            "cov_type": "cluster",
            "cov_kwds": {"groups": groups, "df_correction": True},
            "use_t": True,
            "disp": False,
        }
        line = sm.Logit(targets, sm.add_constant(logits)).fit(**robust)
        assert found.slope == pytest.approx(line.params[1], rel=1e-6)
        assert tuple(found.slope_interval) == pytest.approx(tuple(line.conf_int()[1]), rel=1e-5)
        large = sm.GLM(
            targets, np.ones(len(groups)), family=sm.families.Binomial(), offset=logits
        ).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
        assert found.intercept == pytest.approx(large.params[0], rel=1e-6)
        assert tuple(found.intercept_interval) == pytest.approx(
            tuple(large.conf_int()[0]), rel=1e-5
        )

    def test_platt_is_the_regression_of_statsmodels(self):
        rng = np.random.default_rng(11)
        logits = rng.normal(0.5, 2, 500)
        targets = (rng.random(500) < expit(0.7 * logits - 0.8)).astype(int)
        slope, intercept = calibration.fit_recalibration(logits, targets, method="platt")
        line = sm.Logit(targets, sm.add_constant(logits)).fit(disp=False)
        assert (intercept, slope) == pytest.approx(tuple(line.params), rel=1e-7)

    def test_misleading_logits_have_the_least_slope(self):
        logits, targets = np.array([-2.0, -1, 1, 2, 3] * 4), np.array([1, 1, 0, 0, 0] * 4)
        slope, intercept = calibration.fit_recalibration(logits, targets, method="platt")
        assert slope == pytest.approx(1 / 20)
        assert expit(slope * logits + intercept).mean() == pytest.approx(0.4)

    @pytest.mark.parametrize("scale", [0.01, 1, 30])
    @pytest.mark.parametrize("shift", [-2, 0, 5])
    def test_recalibrated_probabilities_are_right_on_average(self, scale, shift):
        """The scores of both regressions are zero: of the constant, and of the logit."""
        logits, targets = drawn(np.random.default_rng(13), 300, 1.0)
        logits = scale * (logits + shift)
        found = calibration.logistic_calibration(targets, logits)
        assert expit(logits + found.intercept).mean() == pytest.approx(targets.mean(), abs=1e-9)
        slope, intercept = calibration.fit_recalibration(logits / scale, targets, method="platt")
        assert found.slope * scale == pytest.approx(slope, rel=1e-6)
        residuals = expit(slope * logits / scale + intercept) - targets
        assert residuals @ logits / scale == pytest.approx(0, abs=1e-3)
        assert (found.slope_interval.low < found.slope) & (
            found.intercept < found.intercept_interval.high
        )

    def test_separated_classes_have_a_bounded_fit_and_no_slope(self):
        logits, targets = np.array([-2.0, -1, 1, 2] * 5), np.array([0, 0, 1, 1] * 5)
        slope, intercept = calibration.fit_recalibration(logits, targets, method="platt")
        assert slope == pytest.approx(20)
        assert np.isfinite(intercept)
        assert np.isnan(calibration.logistic_calibration(targets, logits).slope)
        assert str(calibration.logistic_calibration(targets, logits)).startswith("slope –")
        assert np.isnan(calibration.logistic_calibration(np.ones(20), logits).intercept)
        slope, _ = calibration.fit_recalibration(logits / 20, targets, method="platt")
        assert slope == pytest.approx(20)
        near = np.array([-1.01, -1, 1, 1.01] * 5)
        assert np.isnan(calibration.logistic_calibration(targets, near).slope)

    def test_temperature_is_the_default(self):
        logits, targets = drawn(np.random.default_rng(15), 100, 2.0)
        found = calibration.fit_recalibration(logits, targets)
        assert found == (1 / calibration.fit_temperature(logits, targets), 0)

    def test_intervals_cover_the_truth(self):
        """95 % intervals of slope and intercept, with slices that are alike within patients."""
        covered = np.zeros(2)
        for seed in range(100):
            rng = np.random.default_rng(seed)
            groups = np.repeat(np.arange(60), 6)
            logits = rng.normal(0, 1.5, 60)[groups] + rng.normal(0, 0.5, 360)
            # Slices of a patient share the uniform number, so that they are drawn together.
            shared = rng.random(60)[groups]
            own = np.where(rng.random(360) < 0.5, shared, rng.random(360))
            targets = (own < expit(logits)).astype(int)
            found = calibration.logistic_calibration(targets, logits, groups=groups)
            covered += [
                found.slope_interval.low <= 1 <= found.slope_interval.high,
                found.intercept_interval.low <= 0 <= found.intercept_interval.high,
            ]
        assert covered.min() >= 88  # 95 % of 100; fewer than 88 have p = 0.001

    def test_few_groups_have_no_interval(self):
        logits, targets = np.array([-1.0, 1, 2, -2] * 5), np.array([0, 1, 0, 1] * 5)
        found = calibration.logistic_calibration(targets, logits, groups=np.arange(20) % 9)
        assert np.isfinite(found.slope)
        assert np.isnan(found.slope_interval).all()
        assert found.slope_interval.reason == "there are fewer than 10 {unit}s"
        assert found.slope_text == f"{found.slope:.2f} (–)"
        ten = calibration.logistic_calibration(targets, logits, groups=np.arange(20) % 10)
        low, high = ten.slope_interval
        assert low < ten.slope < high
        assert ten.slope_interval.method == "sandwich"
        assert str(ten).startswith(f"slope {ten.slope:.2f} ({low:.2f} to {high:.2f}), intercept ")

    def test_equal_logits_have_no_slope(self):
        targets = np.array([0, 1, 1, 1] * 5)
        found = calibration.logistic_calibration(targets, np.full(20, 0.5))
        assert np.isnan([found.slope, *found.slope_interval]).all()
        assert found.slope_interval.reason == "the regression has no finite solution"
        assert found.intercept == pytest.approx(np.log(3) - 0.5)
        assert found.slope_text == "–"

    def test_level_is_that_of_the_interval(self):
        logits, targets = drawn(np.random.default_rng(14), 200, 1.5)
        groups = np.arange(200) // 2
        found = calibration.logistic_calibration(targets, logits, groups=groups, level=0.8)
        line = sm.Logit(targets, sm.add_constant(logits)).fit(
            cov_type="cluster",
            cov_kwds={"groups": groups, "df_correction": True},
            use_t=True,
            disp=False,
        )
        ends = tuple(line.conf_int(alpha=0.2)[1])
        assert tuple(found.slope_interval) == pytest.approx(ends, rel=1e-5)


def test_threshold_for_specificity_is_the_lowest_that_reaches_it():
    rng = np.random.default_rng(12)
    targets, probabilities = rng.integers(2, size=200), rng.random(200).round(2)
    for specificity in (0.5, 0.9, 0.99):
        threshold = calibration.threshold_for_specificity(targets, probabilities, specificity)
        reached = metrics.score(targets, probabilities, threshold=threshold)["specificity"]
        lower = metrics.score(targets, probabilities, threshold=np.nextafter(threshold, 0))
        assert reached >= specificity > lower["specificity"]
    with pytest.raises(ValueError, match="at least one negative"):
        calibration.threshold_for_specificity([1, 1], [0.1, 0.2], 0.9)


@pytest.mark.parametrize("n_bins", [0, 2.5, "10"])
def test_a_number_of_bins_that_is_not_whole(n_bins):
    with pytest.raises(ValueError, match="n_bins must be an integer of at least 1"):
        calibration.reliability_curve([0, 1], [0.2, 0.7], n_bins=n_bins)

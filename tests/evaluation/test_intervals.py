"""Intervals cover what they promise, and whole patients are drawn."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit
from statsmodels.stats.proportion import proportion_confint

from covidct.evaluation import intervals, metrics


def clustered(rng: np.random.Generator, n_groups: int) -> tuple[np.ndarray, ...]:
    """Patients with 2 to 15 slices, some of them hard; slices of a patient err together."""
    groups = np.repeat(np.arange(n_groups), rng.integers(2, 16, n_groups))
    targets = rng.integers(0, 2, n_groups)[groups]
    ease = 1.0 + rng.normal(0, 1.2, n_groups)[groups] + rng.normal(0, 0.8, len(groups))
    return targets, expit((2 * targets - 1) * ease), groups


def test_drawing_patients_covers_what_drawing_slices_does_not():
    names = ("accuracy", "auc")
    rng = np.random.default_rng(5)
    truth = metrics.score(*clustered(np.random.default_rng(6), 50_000)[:2], names=names)
    runs = 200
    covered = {by: dict.fromkeys(names, 0) for by in ("patient", "slice")}
    for run in range(runs):
        targets, probabilities, groups = clustered(rng, 60)
        for by, units in (("patient", groups), ("slice", None)):
            found = intervals.bootstrap(
                targets, probabilities, groups=units, n_resamples=300, seed=run, names=names
            )
            for name in names:
                covered[by][name] += found[name].low <= truth[name] <= found[name].high
    for name in names:
        # Three standard errors of a share of 0.95 in 200 runs are 0.046.
        assert 0.904 <= covered["patient"][name] / runs <= 0.996
        assert covered["slice"][name] / runs < 0.8


def test_every_metric_lies_in_its_interval_and_the_seed_decides():
    targets, probabilities, groups = clustered(np.random.default_rng(0), 40)
    scores = metrics.score(targets, probabilities)
    options = {"groups": groups, "n_resamples": 500}
    found = intervals.bootstrap(targets, probabilities, **options)
    assert list(found) == list(metrics.METRICS)
    for name, (low, high) in found.items():
        assert low < scores[name] < high
    assert intervals.bootstrap(targets, probabilities, **options) == found
    assert intervals.bootstrap(targets, probabilities, **options, seed=1) != found


def test_global_random_state_is_left_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the global state is what is watched
    intervals.bootstrap([0, 1] * 20, [0.2, 0.7] * 20, n_resamples=100, names=["brier"])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002  # the global state is what is watched


def test_without_groups_it_is_scipys_bca():
    rng = np.random.default_rng(2)
    right = rng.random(400) < 0.85
    low, high = intervals.bootstrap(
        np.ones(400, dtype=int), np.where(right, 0.9, 0.1), names=["accuracy"], n_resamples=5000
    )["accuracy"]
    expected = stats.bootstrap((right,), np.mean, n_resamples=5000, rng=rng).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_a_skewed_mean_has_scipys_bca_at_the_level_of_the_t_quantile():
    values = np.random.default_rng(1).exponential(size=40)
    found = intervals.cluster_bootstrap(
        lambda weights: {"mean": weights @ values / weights.sum(axis=1)},
        np.arange(40),
        level=0.9,
        n_resamples=20_000,
    )["mean"]
    z = np.sqrt(40 / 39) * stats.t.ppf(0.95, 39)
    level = 1 - 2 * stats.norm.sf(z)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=level, rng=0
    ).confidence_interval
    # The acceleration alone moves the ends by 0.16 standard errors.
    error = values.std() / np.sqrt(40)
    assert found.method == "bootstrap"
    assert found == pytest.approx((expected.low, expected.high), abs=0.06 * error)


@pytest.mark.parametrize("seed", range(3))
def test_bca_follows_efrons_equations(seed):
    rng = np.random.default_rng(seed)
    drawn = rng.gamma(2, size=500)
    drawn[::2] = drawn[::2].round(1)  # with ties
    left_out = rng.gamma(1, size=30)
    point, z = float(np.quantile(drawn, 0.4)), 1.7
    below = (drawn < point).sum() + 0.5 * (drawn == point).sum()
    bias = stats.norm.ppf((below + 0.5) / 501)
    distance = left_out.mean() - left_out
    acceleration = (distance**3).sum() / (6 * (distance**2).sum() ** 1.5)
    levels = [
        stats.norm.cdf(bias + (bias + end) / (1 - acceleration * (bias + end))) for end in (-z, z)
    ]
    mixed = rng.permutation(np.r_[drawn, [np.nan] * 20])  # undefined resamples are left out
    found = intervals._bca(point, mixed, left_out=np.r_[left_out, np.nan], z=z)
    assert found == pytest.approx(tuple(np.quantile(drawn, levels)), abs=1e-12)
    plain = [stats.norm.cdf(2 * bias + end) for end in (-z, z)]
    for still in (np.full(30, 0.5), np.array([0.5, np.nan]), np.array([np.nan])):
        found = intervals._bca(point, drawn, left_out=still, z=z)
        assert found == pytest.approx(tuple(np.quantile(drawn, plain)), abs=1e-12)


def test_whole_groups_are_drawn_and_left_out():
    codes = np.array([0, 1, 1, 2, 2, 2, 3])
    rng = np.random.default_rng(0)
    drawn = np.concatenate(list(intervals._draws(codes, 4, 2000, rng)))
    assert drawn.shape == (2000, 7)
    of_group = drawn[:, [0, 1, 3, 6]]
    np.testing.assert_array_equal(of_group[:, codes], drawn)
    assert (of_group.sum(axis=1) == 4).all()
    # Multinomial counts of four draws: mean 1, variance 4 * 1/4 * 3/4.
    np.testing.assert_allclose(of_group.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(of_group.var(axis=0), 0.75, atol=0.1)
    left = np.concatenate(list(intervals.leave_one_out(codes, 4, rng)))
    expected = {tuple((codes != k).astype(float)) for k in range(4)}
    assert {tuple(row) for row in left} == expected
    assert len(left) == 4


def test_wilson_of_groups_counts_as_many_as_weigh_alike():
    """The effective number of groups is Kish's, (sum of sizes)^2 / (sum of squared sizes)."""
    sizes = np.array([5, 1, 1, 3, 2])
    codes = np.repeat(np.arange(5), sizes)
    right = codes != 1
    n = sizes.sum() ** 2 / (sizes**2).sum()
    found = intervals.robust_share(intervals.Interval(0, 1), right, codes, level=0.9)
    assert found == pytest.approx(intervals.wilson(n * 11 / 12, n, level=0.9), abs=1e-12)
    assert found.method == "wilson"
    # Two folds weigh alike, whatever their number of slices: 2 of 2 and 9 of 10 slices right.
    folds = np.where(codes == 4, "b", "a")
    share = np.bincount(codes, weights=np.where(codes == 4, 1 / 4, 1 / 20))
    n = 1 / (share**2).sum()
    found = intervals.robust_share(intervals.Interval(0, 1), right, codes, folds=folds)
    assert found == pytest.approx(intervals.wilson(n * 0.95, n), abs=1e-12)


@pytest.mark.parametrize(("wrong", "kept"), [(9, False), (10, True), (20, True), (21, False)])
def test_ten_groups_with_an_error_and_ten_without_one_are_enough(wrong, kept):
    codes = np.repeat(np.arange(30), 2)
    given = intervals.Interval(0.1, 0.2, method="bootstrap")
    found = intervals.robust_share(given, codes >= wrong, codes)
    assert (found is given) is kept


def test_defaults_are_those_of_the_documentation():
    values = np.random.default_rng(0).random(30)

    def mean(weights):
        return {"": weights @ values / weights.sum(axis=1)}

    options = {"level": 0.95, "n_resamples": 2000, "seed": 0}
    codes = np.arange(30)
    found = intervals.cluster_bootstrap(mean, codes)
    assert found == intervals.cluster_bootstrap(mean, codes, **options)
    predictions = codes % 2, values
    assert intervals.bootstrap(*predictions) == intervals.bootstrap(
        *predictions, threshold=0.5, **options
    )


def test_a_statistic_that_is_undefined_has_no_interval():
    def undefined_without_repetition(weights):
        return {"": np.where((weights == 1).all(axis=1), np.nan, weights[:, 0])}

    found = intervals.cluster_bootstrap(undefined_without_repetition, np.arange(20))[""]
    assert np.isnan(found).all()
    assert found.reason == "the metric is undefined"


def test_batches_and_blocks_do_not_change_what_is_found(monkeypatch):
    targets, probabilities, groups = clustered(np.random.default_rng(3), 30)
    options = {"groups": groups, "n_resamples": 200, "names": ["auc", "mcc"]}
    whole = intervals.bootstrap(targets, probabilities, **options)
    monkeypatch.setattr("covidct.evaluation._weighted_counts._CELLS_AT_ONCE", 1000)
    for name, interval in intervals.bootstrap(targets, probabilities, **options).items():
        assert interval == pytest.approx(whole[name], abs=1e-12)
    monkeypatch.setattr(intervals, "_MAX_BLOCKS", 15)
    for name, interval in intervals.bootstrap(targets, probabilities, **options).items():
        assert interval == pytest.approx(whole[name], abs=0.05)


def test_with_folds_it_is_the_interval_of_their_mean():
    # Fold 1 ranks as well as fold 0, on another scale: together they rank worse than either.
    targets, probabilities, groups = clustered(np.random.default_rng(7), 200)
    folds = groups % 2
    probabilities = np.where(folds == 1, 0.2 * probabilities, probabilities)
    options = {"groups": groups, "n_resamples": 500, "names": ["auc", "accuracy"]}
    mean = np.mean(
        [metrics.score(targets[folds == k], probabilities[folds == k])["auc"] for k in (0, 1)]
    )
    pooled = metrics.score(targets, probabilities)["auc"]
    inside = intervals.bootstrap(targets, probabilities, folds=folds, **options)["auc"]
    assert inside.low < mean < inside.high
    across = intervals.bootstrap(targets, probabilities, **options)["auc"]
    assert across.low < pooled < across.high < mean
    one = intervals.bootstrap(targets, probabilities, folds=np.zeros(len(groups)), **options)
    assert one["auc"] == across


def test_repeats_are_no_more_evidence():
    targets, probabilities, groups = clustered(np.random.default_rng(8), 40)
    options = {"n_resamples": 300, "names": ["accuracy", "brier"]}
    once = intervals.bootstrap(targets, probabilities, groups=groups, **options)
    repeated = intervals.bootstrap(
        np.tile(targets, 3),
        np.tile(probabilities, 3),
        groups=np.tile(groups, 3),
        folds=np.repeat([0, 1, 2], len(groups)),
        **options,
    )
    for name, interval in once.items():
        assert repeated[name] == pytest.approx(interval, abs=1e-12)


def test_a_fold_that_leaves_a_metric_undefined_is_left_out_of_the_mean():
    targets, probabilities = [0, 1] * 10 + [0] * 5, [0.2, 0.9, 0.6, 0.7] * 5 + [0.1] * 5
    options = {"n_resamples": 200, "names": ["recall"]}
    both = intervals.bootstrap(targets, probabilities, folds=[0] * 20 + [1] * 5, **options)
    once = intervals.bootstrap(targets[:20], probabilities[:20], **options)
    assert both["recall"] == once["recall"] == pytest.approx(intervals.wilson(10, 10))


def test_unknown_patients_stand_alone():
    targets, probabilities, groups = clustered(np.random.default_rng(4), 20)
    options = {"n_resamples": 200, "names": ["accuracy"]}
    alone = intervals.bootstrap(targets, probabilities, **options)
    nobody = np.full(len(groups), "", dtype=object)
    assert intervals.bootstrap(targets, probabilities, groups=nobody, **options) == alone
    known = intervals.bootstrap(targets, probabilities, groups=groups, **options)["accuracy"]
    assert known.high - known.low > alone["accuracy"].high - alone["accuracy"].low


@pytest.mark.parametrize("rare", [0, 1])
def test_five_groups_of_each_class_are_enough(rare):
    targets = np.repeat([rare] * 5 + [1 - rare] * 15, 2)
    probabilities = np.random.default_rng(0).random(40)
    groups = np.arange(40) // 2
    options = {"n_resamples": 100, "names": ["auc", "f1"]}
    found = intervals.bootstrap(targets, probabilities, groups=groups, **options)
    assert all(low < high for low, high in found.values())
    four = groups > 0
    found = intervals.bootstrap(targets[four], probabilities[four], groups=groups[four], **options)
    assert {interval.reason for interval in found.values()} == {
        "a class occurs in fewer than 5 {unit}s"
    }
    assert np.isnan(list(found.values())).all()
    one = np.full(40, rare)
    found = intervals.bootstrap(one, probabilities, groups=groups, **options | {"names": ["auc"]})
    assert found["auc"].reason == "the metric is undefined"
    assert np.isnan(found["auc"]).all()


@pytest.mark.parametrize("spread", [0.05, 0.5])  # Wilson's intervals, and those of the bootstrap
def test_threshold_and_level_reach_every_interval(spread):
    rng = np.random.default_rng(3)
    targets = np.arange(80) % 2
    probabilities = np.clip(0.3 + 0.2 * (2 * targets - 1) + rng.normal(0, spread, 80), 0, 1)
    probabilities[:2] = 0.3, 0.3  # at the threshold
    options = {"n_resamples": 200, "names": ["accuracy", "precision", "recall", "npv", "f1"]}
    found = intervals.bootstrap(targets, probabilities, threshold=0.3, level=0.8, **options)
    called = (probabilities >= 0.3).astype(float)
    assert found == intervals.bootstrap(targets, called, level=0.8, **options)
    wide = intervals.bootstrap(targets, called, level=0.99, **options)
    for name, (low, high) in found.items():
        assert wide[name].low < low < high <= wide[name].high
    assert {found[name].method for name in ("accuracy", "recall")} == {
        "wilson" if spread == 0.05 else "bootstrap"
    }


def test_folds_weigh_alike_in_wilsons_intervals():
    # Fold "a" tests 10 positives and 30 negatives, fold "b" 15 and 5; one positive is missed.
    targets = np.repeat([1, 0, 1, 0], [10, 30, 15, 5])
    folds = np.repeat(["a", "b"], [40, 20])
    probabilities = np.where(np.arange(60) == 0, 0.2, 0.1 + 0.8 * targets)
    found = intervals.bootstrap(
        targets, probabilities, folds=folds, n_resamples=100, names=["recall", "npv"]
    )
    n = 1 / (10 / (2 * 10) ** 2 + 15 / (2 * 15) ** 2)
    assert found["recall"] == pytest.approx(intervals.wilson(n * (0.9 + 1) / 2, n))
    n = 1 / (31 / (2 * 31) ** 2 + 5 / (2 * 5) ** 2)
    assert found["npv"] == pytest.approx(intervals.wilson(n * (30 / 31 + 1) / 2, n))


def test_few_groups_widen_the_interval(monkeypatch):
    """The level is that of Student's t with G - 1 degrees of freedom, times sqrt(G / (G - 1))."""

    def level(point, drawn, *, left_out, z):
        return intervals.Interval(-z, z)

    monkeypatch.setattr(intervals, "_bca", level)
    found = intervals.bootstrap([0, 1] * 5, np.arange(10) / 10, level=0.9, names=["brier"])
    z = np.sqrt(10 / 9) * stats.t.ppf(0.95, 9)
    assert found["brier"] == pytest.approx((-z, z), rel=1e-12)


def test_undefined_metric_and_rare_class_have_no_interval():
    found = intervals.bootstrap([0] * 30, np.linspace(0, 0.4, 30), n_resamples=100)
    assert np.isnan(found["recall"]).all()
    assert found["recall"].reason == "the metric is undefined"
    assert found["specificity"] == pytest.approx(intervals.wilson(30, 30))
    rare = intervals.bootstrap([1, 1] + [0] * 30, np.arange(32)[::-1] % 7 / 7, names=["auc"])
    assert rare["auc"].reason == "a class occurs in fewer than 5 {unit}s"


def test_without_an_error_no_interval_has_width_zero():
    groups = np.repeat(np.arange(40), 3)
    targets = groups % 2
    found = intervals.bootstrap(targets, 0.1 + 0.8 * targets, groups=groups, n_resamples=200)
    for name, (low, high) in found.items():
        assert np.isnan(low) or low < high, name
    assert found["accuracy"] == pytest.approx(intervals.wilson(40, 40))
    assert found["recall"] == pytest.approx(intervals.wilson(20, 20)) == found["precision"]
    assert found["auc"].reason == "every resample gives the same value"
    assert np.isnan(found["auc"]).all()
    notes = intervals.describe_intervals(found, unit="patient", count=40)
    assert notes[0].startswith(
        "Wilson's interval (accuracy, precision, recall, specificity, NPV): fewer"
    )
    assert (
        "No interval (F1, AUC, average precision, balanced accuracy, MCC, brier score)" in notes[1]
    )
    assert notes[2].startswith("Small sample (40 patients): in simulations of 20, nominal 95 %")


def test_few_patients_have_intervals_of_proportions_alone():
    targets, probabilities, groups = clustered(np.random.default_rng(1), 9)
    found = intervals.bootstrap(targets, probabilities, groups=groups)
    assert {name for name, interval in found.items() if not np.isnan(interval.low)} == {
        "accuracy",
        "precision",
        "recall",
        "specificity",
        "npv",
    }
    assert {interval.method for interval in found.values()} == {"wilson", ""}
    assert found["auc"].reason == "there are fewer than 10 {unit}s"
    (note,) = intervals.describe_intervals({"auc": found["auc"]}, unit="scan", count=90)
    assert note == "No interval (AUC): there are fewer than 10 scans."


def test_few_errors_are_covered():
    """Of 20 patients, few are wrong; resampling alone covers this accuracy in 79 to 84 %."""
    rng = np.random.default_rng(9)

    def draw(n):
        groups = np.repeat(np.arange(n), rng.integers(2, 16, n))
        targets = rng.integers(0, 2, n)[groups]
        ease = 2.52 + rng.normal(0, 1.2, n)[groups] + rng.normal(0, 0.8, len(groups))
        return targets, expit((2 * targets - 1) * ease), groups

    truth = metrics.METRICS["accuracy"](*draw(100_000)[:2])
    assert truth == pytest.approx(0.96, abs=0.002)
    covered = 0
    for run in range(300):
        targets, probabilities, groups = draw(20)
        low, high = intervals.bootstrap(
            targets, probabilities, groups=groups, n_resamples=100, seed=run, names=["accuracy"]
        )["accuracy"]
        covered += low <= truth <= high
    assert covered / 300 >= 0.93


def test_an_interval_is_a_tuple_of_its_ends():
    interval = intervals.Interval(0.2, 0.4, method="wilson")
    low, high = interval
    assert interval == (low, high) == (interval.low, interval.high) == (0.2, 0.4)
    copy = pickle.loads(pickle.dumps(interval))
    assert (copy, copy.method, copy.reason) == (interval, "wilson", "")
    assert json.dumps(interval) == "[0.2, 0.4]"


def test_one_group_alone_has_no_interval():
    found = intervals.bootstrap([0, 1], [0.2, 0.7], groups=["a", "a"])
    assert np.isnan(list(found.values())).all()
    assert {interval.reason for interval in found.values()} == {"there is only one {unit}"}
    undefined = intervals.bootstrap([1, 1], [0.2, 0.7], groups=["a", "a"], names=["auc"])["auc"]
    assert undefined.reason == "the metric is undefined"
    assert np.isnan(undefined).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "level"),
        ({"level": 95}, "level"),
        ({"n_resamples": 99}, "n_resamples"),
        ({"groups": ["a"]}, "groups must have one value"),
        ({"folds": [0]}, "folds must have one value"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        intervals.bootstrap([0, 1], [0.2, 0.7], **options)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (0, 7), (7, 7), (3, 10), (182, 203), (1, 2481)]
)
def test_wilson_is_that_of_statsmodels(successes, n, level):
    expected = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    found = intervals.wilson(successes, n, level=level)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found.method == "wilson"


def test_wilson_of_all_or_no_cases_ends_at_one_or_zero():
    for n in range(1, 200):
        assert intervals.wilson(n, n).high == 1
        assert intervals.wilson(0, n).low == 0
        everything_right = intervals.robust_share(
            intervals.Interval(0, 1), np.ones(n, bool), np.arange(n), folds=np.arange(n) % 7
        )
        assert everything_right.high == pytest.approx(1, abs=1e-12)
        assert {type(end) for end in everything_right} == {float}


def test_wilson_of_a_mean_lies_between_those_of_whole_numbers():
    ends = np.array([intervals.wilson(k, 40) for k in (30, 30.5, 31)])
    assert (np.diff(ends, axis=0) > 0).all()


def test_wilson_of_no_case_is_undefined_and_of_more_than_all_refused():
    assert np.isnan(intervals.wilson(0, 0)).all()
    with pytest.raises(ValueError, match="between 0 and n = 3, got 4"):
        intervals.wilson(4, 3)


def test_two_groups_of_one_class_each_give_an_interval_or_nan_without_a_warning():
    ends = intervals.bootstrap([0, 0, 1, 1], [0.1, 0.2, 0.9, 0.8], groups=["a", "a", "b", "b"])
    assert np.isnan(ends["auc"]).all() or ends["auc"][0] <= ends["auc"][1]
    assert ends["accuracy"] == pytest.approx(intervals.wilson(2, 2))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_names_of_groups_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 30, 90)
    targets = (groups + rng.integers(0, 2, 90)) % 2
    probabilities = np.clip(0.4 * targets + rng.uniform(0, 0.6, 90), 0, 1)
    # The resamples draw groups by the rank of their names, which stays here.
    groups, renamed = (np.char.add(prefix, np.char.zfill(groups.astype(str), 4)) for prefix in "ab")
    names = ("accuracy", "auc")
    one, other = (
        intervals.bootstrap(targets, probabilities, groups=g, names=names, n_resamples=200)
        for g in (groups, renamed)
    )
    assert one == other
    assert one["auc"].low < one["auc"].high


def test_notes_of_intervals():
    wilson, reason = intervals.Interval(0.5, 0.9, method="wilson"), "there are too few {unit}s"
    undefined = intervals.Interval(np.nan, np.nan, reason=reason)
    known = intervals.Interval(0.2, 0.4, method="bootstrap")
    ends = {"recall": wilson, "npv": wilson, "f1": undefined, "own score": undefined, "auc": known}
    by_wilson, without = intervals.describe_intervals(ends, unit="patient")
    assert by_wilson == (
        "Wilson's interval (recall, NPV): fewer than 10 patients have errors, or fewer than 10 "
        "correct predictions."
    )
    assert without == "No interval (F1, own score): there are too few patients."
    assert intervals.describe_intervals({"recall": wilson}, unit="slice")[0].endswith(
        "fewer than 10 slices are wrong, or fewer than 10 are right."
    )
    assert intervals.describe_intervals({"auc": known}, unit="patient", count=51) == []
    assert intervals.describe_intervals({"auc": known}, unit="patient", count=1) == []
    (note,) = intervals.describe_intervals({"auc": known}, unit="patient", count=50)
    assert note == (
        "Small sample (50 patients): in simulations of 50, nominal 95 % intervals covered "
        "accuracies of 76 to 99 % in 94 to 99 % of the runs (by resampling alone: 86 to 97 %), "
        "and the AUC in 86 to 95 %."
    )
    (note,) = intervals.describe_intervals({"auc": known}, unit="patient", count=2)
    assert "(2 patients): in simulations of 10," in note
    assert " in 99 % of the runs" in note
    (note,) = intervals.describe_intervals({"auc": known}, unit="patient", count=20)
    assert "in simulations of 20," in note


@pytest.mark.parametrize(
    ("unit", "count", "phrase"),
    [
        ("patient", 2, "by resampling whole patients"),
        ("slice", 746, "by resampling slices"),
        ("patient", 1, "none, since there is only one patient"),
    ],
)
def test_the_legend_names_the_unit(unit, count, phrase):
    assert intervals.describe_resampling(unit, count) == phrase

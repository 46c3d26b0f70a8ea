"""Weighted counts are those of scikit-learn with sample weights."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from covidct.evaluation import _weighted_counts
from covidct.evaluation._weighted_counts import WeightedCounts, batches, ratio


@pytest.fixture(params=range(4))
def drawn(request):
    """Targets, probabilities with ties, and three rows of whole and broken weights."""
    rng = np.random.default_rng(request.param)
    targets = rng.permutation([0, 1] * 12 + [1] * 6)
    probabilities = rng.integers(0, 8, 30) / 8
    weights = rng.integers(0, 3, (3, 30)) * rng.choice([1.0, 0.5, 0.25], (3, 30))
    weights[:, :2] = 1
    return targets, probabilities, weights


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.51, 1.0])
def test_cells(drawn, threshold):
    targets, probabilities, weights = drawn
    counts = WeightedCounts(targets, probabilities, weights, threshold)
    assert counts.cells.shape == (3, 4)
    for row, w in enumerate(weights):
        matrix = reference.confusion_matrix(
            targets, probabilities >= threshold, labels=[0, 1], sample_weight=w
        )
        cells = (counts.tn, counts.fp, counts.fn, counts.tp)
        assert [cell[row] for cell in cells] == pytest.approx(matrix.ravel())
        assert counts.negatives[row] == pytest.approx(w[targets == 0].sum())
        assert counts.positives[row] == pytest.approx(w[targets == 1].sum())
        assert counts.total[row] == pytest.approx(w.sum())


def test_rankings_and_squared_errors(drawn):
    targets, probabilities, weights = drawn
    counts = WeightedCounts(targets, probabilities, weights, 0.5)
    expected = {
        "auc": [reference.roc_auc_score(targets, probabilities, sample_weight=w) for w in weights],
        "ap": [
            reference.average_precision_score(targets, probabilities, sample_weight=w)
            for w in weights
        ],
        "brier": [
            reference.brier_score_loss(targets, probabilities, sample_weight=w) for w in weights
        ],
    }
    pairs = counts.positives * counts.negatives
    assert counts.concordance / pairs == pytest.approx(expected["auc"])
    assert counts.summed_precision / counts.positives == pytest.approx(expected["ap"])
    assert counts.squared_error / counts.total == pytest.approx(expected["brier"])


def test_pairs_are_counted_one_by_one(drawn):
    targets, probabilities, weights = drawn
    counts = WeightedCounts(targets, probabilities, weights, 0.5)
    for row, w in enumerate(weights):
        found = sum(
            w[p] * w[n] * (1 + np.sign(probabilities[p] - probabilities[n])) / 2
            for p in np.flatnonzero(targets == 1)
            for n in np.flatnonzero(targets == 0)
        )
        assert counts.concordance[row] == pytest.approx(found)


def test_slices_of_weight_zero_do_not_count(drawn):
    targets, probabilities, weights = drawn
    kept = weights[0] > 0
    assert not kept.all()
    some = WeightedCounts(targets[kept], probabilities[kept], weights[:1, kept], 0.5)
    all_of_them = WeightedCounts(targets, probabilities, weights[:1], 0.5)
    for sums in ("cells", "concordance", "summed_precision", "squared_error"):
        np.testing.assert_allclose(getattr(all_of_them, sums), getattr(some, sums), rtol=1e-12)


def test_without_a_weight_above_a_slice_its_precision_is_zero():
    counts = WeightedCounts(np.array([1, 0, 1]), np.array([0.9, 0.5, 0.1]), np.eye(3)[:2], 0.5)
    assert counts.summed_precision.tolist() == [1, 0]
    assert WeightedCounts(
        np.array([1, 0]), np.array([0.9, 0.5]), np.zeros((1, 2)), 0.5
    ).summed_precision.tolist() == [0]


def test_batches_take_each_row_once_and_stay_small(monkeypatch):
    monkeypatch.setattr(_weighted_counts, "_CELLS_AT_ONCE", 100)
    assert list(batches(7, 33)) == [range(3), range(3, 6), range(6, 7)]
    assert list(batches(4, 50)) == [range(2), range(2, 4)]
    assert list(batches(2, 51)) == list(batches(2, 1000)) == [range(1), range(1, 2)]
    assert list(batches(0, 5)) == []


def test_ratio_of_nothing():
    numerator, denominator = np.array([[1.0], [0.0]]), np.array([2.0, 0.0, 4.0])
    np.testing.assert_array_equal(
        ratio(numerator, denominator), [[0.5, np.nan, 0.25], [0, np.nan, 0]]
    )
    np.testing.assert_array_equal(
        ratio(numerator, denominator, undefined=7.0), [[0.5, 7, 0.25], [0, 7, 0]]
    )
    np.testing.assert_array_equal(ratio(np.array([3.0]), np.array([-1.0])), [-3])

import numpy as np
import pytest
from sklearn import metrics

from covidct.evaluation import LabelScores

NAMES = ("CAP", "COVID", "normal")


def scored(n=300, n_patients=60, seed=0):
    rng = np.random.default_rng(seed)
    patients = rng.integers(n_patients, size=n)
    labels = np.array(NAMES)[patients % 3]
    chances = rng.dirichlet(np.ones(3), n) + 0.3 * (labels[:, None] == np.array(NAMES))
    return LabelScores.of(
        labels,
        dict(zip(NAMES, chances.T, strict=True)),
        folds=patients % 2,
        groups=patients,
        unit="patient",
    )


def test_every_fold_agrees_with_scikit_learn():
    scores = scored()
    per_fold = []
    for fold in (0, 1):
        chosen = scores.folds == fold
        true, called = scores.codes[chosen], scores.calls[chosen]
        expected = metrics.confusion_matrix(true, called, labels=range(3))
        np.testing.assert_array_equal(scores.confusion_matrix(fold), expected)
        shares = metrics.confusion_matrix(true, called, labels=range(3), normalize="true")
        np.testing.assert_allclose(scores.confusion_matrix(fold, normalize=True), shares)
        per_fold.append(metrics.precision_recall_fscore_support(true, called)[:3])
    precision, recall, f1 = np.mean(per_fold, axis=0)
    frame = scores.to_frame()
    np.testing.assert_allclose(frame["precision"], precision)
    np.testing.assert_allclose(frame["recall"], recall)
    np.testing.assert_allclose(frame["f1"], f1)
    np.testing.assert_allclose(scores.macro_f1, f1.mean())
    assert frame["groups"].tolist() == [
        len(set(scores.groups[scores.codes == k])) for k in range(3)
    ]


def test_intervals_resample_patients():
    scores = scored()
    low, high = scores.macro_f1_interval
    assert low < scores.macro_f1 < high
    alone = LabelScores(
        classes=NAMES,
        codes=scores.codes,
        calls=scores.calls,
        folds=scores.folds,
        groups=np.arange(len(scores.codes)),
    )
    assert np.ptp(alone.macro_f1_interval) > 0
    assert scores.macro_f1_interval != alone.macro_f1_interval
    for row in scores.to_frame().itertuples():
        assert row.recall_low < row.recall < row.recall_high


def test_too_few_patients_of_a_label_give_no_interval():
    few = scored(n=40, n_patients=12)
    assert np.isnan(few.macro_f1_interval.low)
    assert "fewer than 5 {unit}s" in few.macro_f1_interval.reason


def test_table():
    text = str(scored().table())
    assert "as COVID" in text
    assert "macro F1" in text
    assert "whole patients" in text


def test_a_label_without_probabilities_is_an_error():
    with pytest.raises(ValueError, match="'flu' has no probabilities"):
        LabelScores.of(["flu"], {"CAP": [1.0]}, folds=[0], groups=[0])

import numpy as np
import pytest
from sklearn import metrics

from covidct.evaluation import LabelScores, bootstrap
from covidct.evaluation.intervals import cluster_bootstrap

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


def test_intervals_are_bootstraps_of_the_means_over_folds():
    """F1 of each label from weighted counts: 2 tp / (2 tp + fp + fn)."""
    scores = scored(n=120, n_patients=30)
    # Resamples draw groups by the rank of their names.
    units = np.unique(scores.groups.astype(str), return_inverse=True)[1]
    folds = [scores.folds == k for k in (0, 1)]

    def statistic(weights):
        found = []
        for code in range(3):
            true, called = scores.codes == code, scores.calls == code
            both, either = (true & called)[None], (true.astype(int) + called)[None]
            of_folds = [
                2 * (weights * both * fold).sum(axis=1) / (weights * either * fold).sum(axis=1)
                for fold in folds
            ]
            found.append(np.mean(of_folds, axis=0))
        return {"": np.mean(found, axis=0)}

    expected = cluster_bootstrap(statistic, units)[""]
    assert scores.macro_f1_interval == pytest.approx(expected)
    for code, name in enumerate(NAMES):
        expected = bootstrap(
            scores.codes == code,
            (scores.calls == code) * 1.0,
            groups=scores.groups,
            folds=scores.folds,
            names=("recall", "precision", "f1"),
        )
        assert scores.intervals[name] == expected


def test_counts_of_folds_are_averaged():
    scores = LabelScores.of(
        np.array(["a", "a", "a", "b", "b", "a"]),
        {"a": [0.5, 0.2, 0.9, 0.6, 0.1, 0.7], "b": [0.5, 0.8, 0.1, 0.4, 0.9, 0.3], "c": [0.0] * 6},
        folds=[3, 3, 3, 3, 5, 5],
        groups=list("pqrstu"),
    )
    assert scores.calls.tolist() == [0, 1, 0, 0, 1, 0]  # the first label of equal ones
    assert scores.codes.dtype == scores.calls.dtype == np.int64
    assert scores.confusion_matrix(5).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert scores.confusion_matrix().tolist() == [[1.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0]]
    shares = scores.confusion_matrix(normalize=True)
    np.testing.assert_array_equal(shares, [[0.75, 0.25, 0], [0.5, 0.5, 0], [np.nan] * 3])
    assert scores.means["a"] == pytest.approx(
        {"recall": (2 / 3 + 1) / 2, "precision": (2 / 3 + 1) / 2, "f1": (2 / 3 + 1) / 2}
    )
    assert np.isnan(scores.means["c"]["f1"])
    assert scores.macro_f1 == pytest.approx(np.mean([5 / 6, 1 / 2]))
    assert scores.unit == "slice"


def test_numbers_as_a_table_a_frame_and_json():
    scores = scored()
    frame, content, table = scores.to_frame(), scores.to_dict(), scores.table()
    assert content["confusion_matrix"] == scores.confusion_matrix().tolist()
    assert content["labels"] == list(frame.index) == list(NAMES)
    assert frame.index.name == "label"
    assert frame["slices"].tolist() == [np.sum(scores.codes == code) for code in range(3)]
    assert (content["macro_f1"], content["macro_f1_interval_95"]) == (
        scores.macro_f1,
        list(scores.macro_f1_interval),
    )
    assert table.header == (
        *("label", "as CAP", "as COVID", "as normal", "Recall", "Precision", "F1"),
    )
    shares = scores.confusion_matrix(normalize=True)
    for row, name in zip(table.rows, NAMES, strict=True):
        code = NAMES.index(name)
        assert row[:4] == (name, *(f"{100 * share:.1f}" for share in shares[code]))
        for cell, metric in zip(row[4:], ("recall", "precision", "f1"), strict=True):
            value, *ends = frame.loc[name, [metric, f"{metric}_low", f"{metric}_high"]]
            assert cell == "{:.1f} ({:.1f} to {:.1f})".format(*100 * np.array([value, *ends]))
            assert content["means"][name][metric] == value
            assert content["intervals_95"][name][metric] == ends
    low, high = scores.macro_f1_interval
    macro = f"{100 * scores.macro_f1:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    assert table.footer == (("macro F1", "", "", "", "", "", macro),)
    assert table.caption == "Labels, by the label with the highest probability, in percent"
    assert str(scores) == str(table)
    assert scores._repr_html_() == table.render("html")


def test_five_patients_of_each_label_are_enough():
    codes = np.repeat([0, 1, 2], [5, 10, 10])
    options = {"classes": NAMES, "folds": np.zeros(25), "groups": np.arange(25)}
    scores = LabelScores(codes=codes, calls=(codes + (np.arange(25) % 4 == 0)) % 3, **options)
    low, high = scores.macro_f1_interval
    assert low < scores.macro_f1 < high
    scores = LabelScores(codes=codes[1:], calls=codes[1:], **options | {"groups": np.arange(24)})
    assert np.isnan(scores.macro_f1_interval).all()
    assert scores.macro_f1_interval.reason == "a label occurs in fewer than 5 {unit}s"


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
    unknown = np.array(["CAP", np.nan], dtype=object)
    with pytest.raises(ValueError, match="'nan' has no probabilities; they are of 'CAP'"):
        LabelScores.of(unknown, {"CAP": [1.0, 1.0]}, folds=[0, 0], groups=[0, 1])

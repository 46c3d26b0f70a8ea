"""Runs with repeats and known answers: variance components and intervals of retrained networks."""

from __future__ import annotations

import numpy as np
import pytest

from covidct.evaluation.significance import corrected_resampled_ttest
from covidct.runs import variance_components
from covidct.runs.protocol import Protocol

PATIENTS = [f"p{i // 4}" for i in range(200)]


def judging(seed, share):
    """Judge at random, with a share of errors; every call is another training."""
    rng = np.random.default_rng(seed)
    return lambda targets, _: np.where(rng.random(len(targets)) < share, 1 - targets, targets)


@pytest.fixture
def repeated(made_up_run):
    def run(seed=0, share=0.2, **options):
        options = {"slices": 200, "folds": 5, "shuffles": 4, "groups": PATIENTS, **options}
        return made_up_run(judging(seed, share), **options, seed=seed)

    return run


def test_the_interval_is_that_of_nadeau_and_bengio(repeated):
    result = repeated()
    scores = [of_fold["accuracy"] for of_fold in result.fold_metrics]
    found = result.retraining_interval("accuracy")
    assert len(scores) == 20
    assert found == corrected_resampled_ttest(scores, n_train=160, n_test=40).interval
    assert found.method == "corrected"


def test_repeats_do_not_count_as_patients(repeated):
    """Copies of one repeat have the interval, and the patients' interval, of that repeat."""
    once = repeated(shuffles=1)
    copies = repeated(shuffles=1)
    rows = [copies.predictions.assign(fold=copies.predictions["fold"] + 5 * r) for r in range(4)]
    copies.predictions = type(rows[0])(np.vstack(rows), columns=rows[0].columns).infer_objects()
    copies.folds = copies.folds * 4
    assert copies.repeat_numbers == tuple(np.repeat(range(4), 5))
    assert copies.intervals()["accuracy"] == pytest.approx(once.intervals()["accuracy"])
    assert copies.patient_intervals()["recall"] == pytest.approx(once.patient_intervals()["recall"])
    patients = copies.patient_predictions()
    assert patients.groupby("repeat")["slices"].sum().tolist() == [200] * 4
    assert once.retraining_interval().method == "corrected"
    assert copies.retraining_interval().method == "crossed"  # not 20 independent folds


def test_table_of_many_folds_has_a_column_per_repeat(repeated):
    result = repeated()
    table = result.table()
    assert table.header == ("repeat", "0", "1", "2", "3", "mean ± sd", "95 % interval")
    means = result.to_frame()["accuracy"].to_numpy().reshape(4, 5).mean(axis=1)
    assert [float(cell) for cell in table.rows[0][1:5]] == pytest.approx(100 * means, abs=0.05)
    assert "over the 20 folds of 4 repeats" in table.notes[0]
    assert any("for retrained networks" in note for note in table.notes)


def test_components_that_the_design_can_tell(repeated, made_up_run):
    one = repeated(shuffles=1).variance_components()
    assert np.isnan([one.training, one.split, one.both]).all()
    assert one.patients > 0
    repeats = repeated().variance_components("auc")
    assert np.isnan(repeats.training)
    assert repeats.both > 0
    assert "not estimable" in str(repeats)
    runs = [repeated(seed, split_seed=0) for seed in range(3)]
    assert runs[0].folds == runs[1].folds
    all_three = variance_components(runs)
    assert (all_three.trainings, all_three.splits) == (12, 4)
    assert all_three.training > 0
    assert all_three.both == pytest.approx(all_three.training + all_three.split)
    official = made_up_run(
        judging(1, 0.2), slices=200, repeats=3, groups=PATIENTS, protocol=Protocol.official()
    ).variance_components()
    assert official.training > 0
    assert np.isnan(official.split)


def test_runs_that_differ_in_more_than_seeds_are_refused(repeated):
    with pytest.raises(ValueError, match="these differ in folds"):
        variance_components([repeated(), repeated(1, folds=4)])
    with pytest.raises(ValueError, match="at least one run"):
        variance_components([])


def test_the_interval_of_an_official_split_crosses_seeds_and_patients(made_up_run):
    result = made_up_run(judging(0, 0.2), slices=200, repeats=5, groups=PATIENTS)
    low, high = found = result.retraining_interval("accuracy")
    assert found.method == "crossed"
    assert low < result.summary()["accuracy"][0] < high
    alone = made_up_run(judging(0, 0.2), slices=200, repeats=1, groups=PATIENTS)
    assert alone.retraining_interval("accuracy").reason == "there are no repeats"
    assert "none, since there are no repeats" in str(alone.interval_table())


def test_questions(repeated):
    table = repeated().interval_table("auc")
    assert len(table.rows) == 4
    assert "Nadeau and Bengio, over folds" in str(table)
    assert table.header[1] == "AUC"

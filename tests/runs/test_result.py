"""Comparison of a run with the paper's: the named differences are the real ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

import covidct
from covidct.datasets.canvases import make_canvases
from covidct.errors import UnknownNameError
from covidct.evaluation import metrics
from covidct.evaluation.calibration import fit_temperature
from covidct.evaluation.intervals import wilson
from covidct.evaluation.tables import percent_range
from covidct.inference import infer
from covidct.runs.comparison_table import distinctions, side_by_side
from covidct.runs.protocol import Protocol
from covidct.runs.run_spec import DatasetSpec, WeightsSpec


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
    assert accuracy.published == (0.873, 0.032)
    assert accuracy.run.mean == pytest.approx(0.9, abs=0.001)
    assert accuracy.difference_in_sds == pytest.approx((accuracy.run.mean - 0.873) / 0.032)


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
def test_each_deviation_is_named(run, recipe, changes, named):
    comparison = run(covidct.Recipe().replace(**recipe), **changes).compare_published()
    assert not comparison.comparable
    assert len(comparison.deviations) == len(named)
    for deviation, start in zip(comparison.deviations, named, strict=True):
        assert deviation.startswith(start)


def test_a_shortened_schedule_is_one_deviation(run):
    comparison = run(covidct.Recipe().scaled(30)).compare_published()
    assert comparison.deviations == ("30 epochs instead of 100",)


def test_another_protocol_is_not_comparable(run):
    comparison = run(protocol=Protocol.grouped("patient")).compare_published()
    assert not comparison.comparable
    assert comparison.deviations == ("protocol 'grouped by patient'",)


def test_weights_of_a_file_are_mentioned_and_not_judged(run):
    comparison = run(weights=WeightsSpec("squeezenet1_0.pth", "ab")).compare_published()
    assert comparison.comparable
    assert "squeezenet1_0.pth" in comparison.caveats[-1]


@pytest.mark.parametrize("changes", [{"model": "efficientnet_lite0"}, {"model": "mine"}])
def test_what_the_paper_has_not_is_refused(run, changes):
    with pytest.raises(UnknownNameError, match="of the paper"):
        run(**changes).compare_published()


def test_a_dataset_of_ones_own_is_refused(run):
    own = DatasetSpec("mine", ("a", "b"), 746, "")
    with pytest.raises(UnknownNameError, match="dataset of the paper 'mine'"):
        run(dataset=own).compare_published()


@pytest.mark.parametrize(
    ("protocol", "said"), [(Protocol.paper(), True), (Protocol.grouped("patient"), False)]
)
def test_a_random_split_says_what_it_leaves_open(run, protocol, said):
    assert ("lices are split at random" in str(run(protocol=protocol))) is said


def test_intervals_are_of_the_means_that_they_stand_below(made_up_run):
    """Folds on different scales: each ranks well, all together badly."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.3, 200)

    def judge(targets, index):
        clear = np.clip(0.5 + 0.3 * (2 * targets - 1) + noise[index], 0, 1)
        return clear * (0.1 if index[0] < 100 else 1)

    result = made_up_run(judge, slices=200, folds=2)
    (mean, _), ends = result.summary()["auc"], result.intervals()["auc"]
    assert ends.low < mean < ends.high
    pooled = result.pooled_predictions()
    assert metrics.score(pooled["target"], pooled["probability"])["auc"] < ends.low
    header, *rows = (line.split(",") for line in result.table().render("csv").splitlines())
    (row,) = (row for row in rows if row[0] == "AUC")
    assert row[header.index("95 % interval")] == percent_range(*ends)
    assert "not a confidence interval" in str(result)


@pytest.fixture
def patients():
    """Two slices of one class for each of 100 patients, whose run ``made_up_run`` alternates."""
    return [f"p{i // 4}{'ab'[i % 2]}" for i in range(200)]


def test_patients_have_intervals_by_wilson(made_up_run, patients):
    result = made_up_run(
        lambda targets, index: targets, slices=200, groups=patients, group_kind="patient"
    )
    assert result.has_patients
    assert result.unit == "patient"
    ends = result.patient_intervals()
    assert [fold["accuracy"] for fold in result.patient_metrics] == [1] * 5
    # All are right, and still not all of those to come will be.
    assert ends["accuracy"] == wilson(100, 100)
    assert ends["recall"] == ends["specificity"] == wilson(50, 50)
    assert "Per patient, by the mean probability of its slices: accuracy 100.0 (96.3" in str(result)
    table = side_by_side([result])
    assert table.header[5:7] == ("accuracy per patient", "95 % interval")
    assert table.rows[0][5:7] == ("100.0 ± 0.0", "96.3 to 100.0")


def test_patients_with_slices_of_both_classes_are_positive(made_up_run):
    """Patients of 4 slices; of every other patient, all are negative."""
    names = [f"p{i // 4}" for i in range(200)]
    result = made_up_run(
        lambda targets, index: targets * 0.8 + 0.1,
        slices=200,
        groups=names,
        group_kind="patient",
    )
    result.predictions.loc[result.predictions["index"] // 4 % 2 == 0, "target"] = 0
    patients = result.patient_predictions()
    columns = ["fold", "repeat", "group", "target", "probability", "slices", "positive_slices"]
    assert list(patients) == columns
    assert len(patients) == 50
    assert patients["target"].sum() == 25
    assert set(patients["positive_slices"]) == {0, 2}
    assert patients["probability"].to_numpy() == pytest.approx(0.5)
    assert len(result.patient_metrics) == 5
    assert "25 of 50 patients have slices of both classes; a patient with any COVID" in str(result)
    # The label is that of the patient, also in a fold that tests the other slices.
    result.predictions["fold"] = result.predictions["index"] % 2
    rows = result.patient_predictions()
    assert rows.groupby("group")["target"].nunique().max() == 1


def test_near_duplicates_are_counted_and_are_no_patients(made_up_run, patients):
    result = made_up_run(
        lambda targets, index: targets,
        slices=200,
        groups=patients,
        group_kind="near-duplicate",
        protocol=Protocol.grouped("near-duplicate"),
    )
    assert not result.has_patients
    assert result.unit == "near-duplicate group"
    text = str(result)
    assert "100 groups of near-duplicates with 200 slices; the largest has 2 slices." in text
    assert "may still be in both parts" in text
    assert "Per " not in text
    table = side_by_side([result])
    assert "accuracy per patient" in table.header
    assert table.rows[0][5:7] == ("–", "–")


def test_runs_are_told_apart_by_the_options_in_which_they_differ(made_up_run):
    def right(targets, index):
        return targets

    recipe = covidct.Recipe()
    runs = [
        made_up_run(right, slices=40, recipe=recipe),
        made_up_run(right, slices=40, recipe=recipe.replace(resize="stretch"), weights=None),
        made_up_run(right, slices=40, recipe=recipe.scaled(30)),
        made_up_run(right, slices=40, protocol=Protocol.grouped("patient"), seed=3),
    ]
    assert distinctions(runs) == [
        "weights imagenet, epochs 100, resize pad",
        "weights none, epochs 100, resize stretch",
        "weights imagenet, epochs 30, resize pad",
        "",
    ]
    table = side_by_side(runs)
    assert table.header[:4] == ("network", "dataset", "variant", "protocol")
    assert [row[2] for row in table.rows] == distinctions(runs)
    assert "variant" not in side_by_side(runs[::3]).header
    fast = made_up_run(right, slices=40, recipe=recipe.replace(learning_rate=0.1))
    assert r"learning\_rate 0.1" in side_by_side([runs[0], fast]).render("latex")


def test_milestones_and_weights_tell_runs_apart_where_nothing_else_does(made_up_run):
    def run(recipe=None, **changes):
        return made_up_run(lambda targets, index: targets, slices=40, recipe=recipe, **changes)

    early = covidct.Recipe(milestones=((10, 1e-4),))
    assert distinctions([run(), run(covidct.Recipe().scaled(30)), run(early)])[2] == (
        "epochs 100, milestones ((10, 0.0001),)"
    )
    twins = [run(weights=WeightsSpec("w.pth", digit * 64)) for digit in "ab"]
    assert distinctions(twins) == ["weights w.pth (aaaaaaaa)", "weights w.pth (bbbbbbbb)"]


def test_calibration_is_fitted_on_other_folds(made_up_run):
    result = made_up_run(lambda targets, index: targets, slices=200)
    result.predictions["logit"] = np.where(np.arange(200) % 7 == 0, -3, 3) * (
        2 * result.predictions["target"] - 1
    )
    calibrated = result.calibrate(0.9)
    assert calibrated.fitted_on == "the other folds"
    lied = result.predictions["fold"] == 2
    result.predictions.loc[lied, "target"] = 1 - result.predictions["target"][lied]
    again = result.calibrate(0.9)
    assert again.fit.temperatures[2] == calibrated.fit.temperatures[2]
    assert again.fit.temperatures[1] != calibrated.fit.temperatures[1]
    before, after = calibrated.errors()["Brier score"]
    assert json.loads(json.dumps(calibrated.to_dict()))["errors"]["Brier score"] == {
        "uncalibrated": before,
        "calibrated": after,
    }
    assert str(calibrated).count("\n") == 11
    assert "at a bound of the search" not in str(calibrated)


def test_a_temperature_at_the_end_of_its_search_is_said_to_be(made_up_run):
    result = made_up_run(lambda targets, index: targets, slices=200)
    result.predictions["logit"] = np.where(np.arange(200) % 2, 9, -9)
    assert "at a bound of the search, 0.05 or 20" in str(result.calibrate())


def test_repeats_without_a_validation_part_cannot_be_calibrated(made_up_run):
    result = made_up_run(lambda targets, index: targets, repeats=3)
    with pytest.raises(ValueError, match=r"fold 0 cannot be calibrated: .* a validation part"):
        result.calibrate()


def test_the_validation_part_of_an_official_split_calibrates(tiny, phantoms, quick):
    dataset = phantoms.subset(range(len(phantoms)))
    dataset.official_split = np.resize(["train", "train", "train", "test", "val"], len(dataset))
    dataset.groups = None  # its patients do not follow these parts
    cv = covidct.CrossValidator(
        tiny, quick.scaled(1), cv="official", repeats=2, weights=None, threads=1, device="cpu"
    )
    result = cv.run(dataset)
    calibrated = result.calibrate(0.8)
    assert calibrated.fitted_on == "the validation part"
    index = np.flatnonzero(dataset.official_split == "val")
    canvases = make_canvases(dataset, result.fold_model(0).input_size)
    for k in range(2):
        logits = infer(result.fold_model(k), canvases, index=index).logits
        expected = fit_temperature(logits, dataset.targets[index])
        assert calibrated.fit.temperatures[k] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("plot", "label"),
    [
        ("plot_roc", "sensitivity"),
        ("plot_precision_recall", "precision"),
        ("plot_confusion_matrix", "true class"),
        ("plot_calibration", "share of COVID-19"),
        ("plot_learning_curves", "loss"),
        ("plot_net_benefit", "net benefit"),
    ],
)
def test_plots_draw_into_the_given_axes(run, plot, label):
    ax = Figure().subplots()
    assert getattr(run(), plot)(ax=ax) is ax
    assert ax.get_ylabel() == label


def test_plots_show_the_numbers_of_the_result(run):
    result = run()
    ax = result.plot_roc(ax=Figure().subplots())
    (label,) = (text.get_text() for text in ax.get_legend().get_texts())
    assert label == "squeezenet: AUC {:.3f} ± {:.3f}".format(*result.summary()["auc"])
    counts = result.plot_confusion_matrix(Figure().subplots(), fold=0).texts[::2]
    assert [int(c.get_text()) for c in counts] == result.confusion_matrix(0).ravel().tolist()

"""A run that was trained on three labels, and its twin that was trained on COVID-19 alone."""

import numpy as np
import pytest
import torch
from scipy import special

import covidct
from covidct.cli import main
from covidct.evaluation.calibration import fit_recalibration
from covidct.explain import GradCAM, figures
from covidct.explain.tested_slices import embed_fold
from covidct.models import LabelOutputs
from covidct.report import command_line
from covidct.runs import Ensemble, LeakageWarning, compare_runs
from covidct.runs.predictions import PatientPrediction, Prediction

RECIPE = covidct.Recipe.demo().scaled(1).replace(canvas=(64, 96))
NAMES = ("COVID", "normal", "other")


@pytest.fixture(scope="module")
def phantoms():
    return covidct.load_dataset("phantom", n=36, seed=0, labels=3)


def fitted(model, phantoms, folder, target):
    validator = covidct.CrossValidator(
        model,
        RECIPE,
        cv=2,
        groups="patient",
        weights=None,
        threads=1,
        device="cpu",
        run_dir=folder,
        target=target,
    )
    with pytest.warns(LeakageWarning, match="3 of 36 slices have near-duplicates"):
        return validator.run(phantoms)


@pytest.fixture(scope="module")
def run(tiny, phantoms, tmp_path_factory):
    return fitted(tiny, phantoms, tmp_path_factory.mktemp("label"), "label")


@pytest.fixture(scope="module")
def twin(tiny, phantoms, tmp_path_factory):
    return fitted(tiny, phantoms, tmp_path_factory.mktemp("covid"), "covid")


def test_probabilities_of_labels_give_that_of_covid(run):
    rows = run.predictions
    chances = rows[[f"p_{name}" for name in NAMES]].to_numpy()
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_allclose(rows["probability"], rows["p_COVID"], atol=1e-6)
    np.testing.assert_allclose(special.expit(rows["logit"]), rows["probability"])


def test_a_run_of_labels_survives_loading(run):
    loaded = covidct.CrossValidationResult.load(run.run_dir)
    assert (loaded.spec.target, loaded.fold_model(0).classes) == ("label", NAMES)
    assert loaded.predictions.equals(run.predictions)
    assert loaded.to_dict()["labels"]["labels"] == list(NAMES)
    assert "--target label" in command_line(loaded)
    assert "--option labels=3" in command_line(loaded)


def test_both_targets_have_the_same_folds_and_are_compared(run, twin):
    for a, b in zip(run.folds, twin.folds, strict=True):
        np.testing.assert_array_equal(a.test, b.test)
    (test,) = compare_runs({"label": run, "covid": twin}).tests
    assert np.isfinite(test.difference)
    assert twin.label_scores is None
    assert [c for c in twin.predictions if c.startswith("p_")] == []


def test_label_scores_are_those_of_the_predictions(run):
    rows = run.predictions
    called = np.array(NAMES)[rows[[f"p_{name}" for name in NAMES]].to_numpy().argmax(axis=1)]
    expected = [[np.sum((rows["label"] == a) & (called == b)) for b in NAMES] for a in NAMES]
    np.testing.assert_allclose(2 * run.label_scores.confusion_matrix(), expected)
    assert "Macro F1 of the 3 labels" in str(run)


def test_new_slices_have_a_probability_of_each_label(run, phantoms, tmp_path, capsys):
    for i in range(3):
        phantoms[i][0].save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    predictor = covidct.Predictor.from_run(run.run_dir)
    assert predictor.labels == NAMES
    predictions = predictor.predict(tmp_path, on_error="skip")
    table = predictions.to_frame().set_index("path").rename(index=lambda path: path[-5:])
    networks = [run.fold_model(k) for k in range(2)]
    for i in (0, 2):
        canvas = torch.tensor(predictor.canvas(phantoms[i][0]))[None, None]
        with torch.inference_mode():
            chances = [network.eval()(canvas).softmax(1)[0].numpy() for network in networks]
        expected = dict(zip(NAMES, np.mean(chances, axis=0), strict=True))
        assert dict(predictions[i].by_label) == pytest.approx(expected, abs=1e-6)
        for name in NAMES:
            assert table.loc[f"{i}.png", f"p_{name}"] == pytest.approx(expected[name], abs=1e-6)
    assert table.loc["1.png", [f"p_{name}" for name in NAMES]].isna().all()
    mean = predictions.by_patient()["p_other"].mean()
    assert mean == pytest.approx(table["p_other"].mean())
    assert main(["predict", str(run.run_dir), str(tmp_path / "1.png"), "--on-error", "skip"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("patient,p_COVID,p_normal,p_other")


def test_shared_networks_keep_the_labels(run, phantoms, tmp_path):
    phantoms[0][0].save(tmp_path / "new.png")
    (expected,) = covidct.Predictor.from_run(run.run_dir).predict(tmp_path / "new.png")
    run.export(tmp_path / "shared")
    (found,) = covidct.Predictor.load(tmp_path / "shared").predict(tmp_path / "new.png")
    assert found.by_label == expected.by_label
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    run.fold_model(0).export(tmp_path / "0.onnx")
    (found,) = covidct.Predictor.load(tmp_path / "0.onnx").predict(tmp_path / "new.png")
    (expected,) = covidct.Predictor([run.fold_model(0)]).predict(tmp_path / "new.png")
    assert found.by_label == pytest.approx(expected.by_label, abs=1e-4)


def test_networks_with_different_labels_have_no_mean(run, twin):
    with pytest.raises(ValueError, match="got COVID, normal, other and a single output"):
        covidct.Predictor([run.fold_model(0), twin.fold_model(0)])


def test_a_patient_has_the_mean_of_the_counted_slices():
    slices = [
        Prediction("", p, 0.0, (), (8, 8), lung=lung, by_label={"CAP": 1 - p, "COVID-19": p})
        for p, lung in ((0.1, False), (0.9, True), (0.3, True))
    ]
    assert PatientPrediction("a", tuple(slices)).by_label == pytest.approx(
        {"CAP": 0.4, "COVID-19": 0.6}
    )


def test_a_chosen_label_is_explained(run, phantoms):
    model = run.fold_model(0)
    canvases = covidct.datasets.canvases.make_canvases(phantoms, model.input_size)[:2]
    maps = {
        name: GradCAM(model, target=name, relu=False, normalize=False).over(canvases).maps
        for name in ("covid", "non-covid", *NAMES)
    }
    np.testing.assert_allclose(maps["covid"], maps["COVID"], atol=1e-6)
    np.testing.assert_allclose(maps["covid"], -maps["non-covid"], atol=1e-6)
    assert not np.allclose(maps["other"], maps["normal"])
    with pytest.raises(ValueError, match="'covid', 'non-covid', 'COVID', 'normal', 'other'"):
        GradCAM(model, target="flu")


def test_many_labels_are_embedded_as_two_classes(run, phantoms, monkeypatch):
    monkeypatch.setattr(figures, "MOST_CLASSES", 2)
    model = run.fold_model(0)
    canvases = covidct.datasets.canvases.make_canvases(phantoms, model.input_size)
    figure, _ = embed_fold(run, phantoms, model, canvases, fold=0)
    assert len(figure.legends[0].get_texts()) == 4


def test_an_ensemble_averages_the_labels_that_all_members_have(run, twin):
    both = Ensemble([run, run])
    np.testing.assert_allclose(both.predictions["p_other"], run.predictions["p_other"])
    assert both.label_scores is not None
    mixed = Ensemble([run, twin])
    assert mixed.label_scores is None
    assert "p_other" not in mixed.predictions


def test_a_fold_without_a_label_is_refused_before_the_training(tiny, phantoms, tmp_path):
    held_out = (phantoms.labels == "normal") | (phantoms.groups == phantoms.groups[0])
    folds = [(np.flatnonzero(~held_out), np.flatnonzero(held_out))]
    cv = covidct.CrossValidator(
        tiny, RECIPE, cv=folds, weights=None, run_dir=tmp_path / "run", target="label"
    )
    with pytest.raises(ValueError, match=r"fold 0: its training part has no slice of 'normal'"):
        cv.run(phantoms)
    assert not (tmp_path / "run").exists()


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="target must be one of 'covid', 'label', got 'lesion'"):
        covidct.CrossValidator("shufflenet", target="lesion")


def test_the_covid_probability_of_labels_is_calibrated():
    """Outputs whose COVID logit is twice the true one and shifted by 1 are brought back."""
    rng = np.random.default_rng(0)
    true = rng.dirichlet((1.5, 1.0, 1.0), 20_000)
    targets = (rng.random(len(true)) < true[:, 0]).astype(int)
    rest = np.log(true[:, 1:])
    covid = 2 * special.logit(true[:, 0]) + 1 + special.logsumexp(rest, axis=1)
    outputs = LabelOutputs(NAMES, positive=("COVID",))
    logits = outputs.covid_logit(torch.from_numpy(np.column_stack([covid, rest]))).numpy()
    slope, intercept = fit_recalibration(logits, targets, method="platt")
    assert slope == pytest.approx(0.5, abs=0.02)
    assert intercept == pytest.approx(-0.5, abs=0.05)


def test_folds_of_a_run_of_labels_are_calibrated_on_the_other_folds(run):
    rows = run.predictions
    fits = run.calibrate(method="platt").fit.probabilities
    for fold in (0, 1):
        mine, other = rows["fold"] == fold, rows["fold"] != fold
        slope, intercept = fit_recalibration(
            rows["logit"][other], rows["target"][other], method="platt"
        )
        expected = special.expit(slope * rows["logit"][mine] + intercept)
        np.testing.assert_allclose(np.asarray(fits)[mine], expected, atol=1e-6)

"""Exported folds score as the run does, and carry what the exporter chose."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

import covidct
from covidct import CrossValidator, Predictor, Recipe
from covidct.audit import Finding
from covidct.errors import InvalidFileError
from covidct.explain import mean_maps
from covidct.models import OnnxNetwork, read_card
from covidct.runs.exported import count_parts, read_export


@pytest.fixture(scope="module")
def result(tiny, phantoms, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("exported") / "run"
    options = {"groups": "patient", "weights": None, "threads": 1, "device": "cpu"}
    cv = CrossValidator(tiny, Recipe.demo().scaled(1), cv=2, run_dir=run_dir, **options)
    return cv.run(phantoms)


@pytest.fixture(scope="module")
def new(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    for i in range(4):
        phantoms[i][0].save(folder / f"{i}.png")
    return folder


@pytest.fixture
def changed_folds(result):
    """The run as if the second fold tested nothing, as a training part of an official split."""
    other = copy.copy(result)
    other.predictions = result.predictions[result.predictions["fold"] == 0]
    return other


@pytest.fixture
def shared(result, tmp_path):
    rule = result.decision_rule(calibrate=True, per="slice")
    result.export(tmp_path / "shared", rule=rule)
    return tmp_path / "shared"


def test_scores_are_those_of_the_run(result, shared, new):
    of_run = Predictor.from_run(result.run_dir, calibrate=True, per="slice").predict(new)
    of_export = Predictor.load(shared).predict(new)
    assert [p.by_fold for p in of_export] == [p.by_fold for p in of_run]
    assert of_export.to_frame().columns.tolist() == of_run.to_frame().columns.tolist()
    assert "calibrated_probability" in of_export.to_frame()


def test_the_rule_is_applied_by_all_networks_and_by_each(result, shared, new, tmp_path):
    rule = Predictor.load(shared).rule
    assert rule == result.decision_rule(calibrate=True, per="slice")
    alone = Predictor.load(shared / "fold-1")
    assert alone.rule == rule
    table = alone.predict(new).to_frame()
    expected = rule.calibrate(table["probability"])
    assert table["calibrated_probability"].tolist() == expected.tolist()
    result.export(tmp_path / "plain")
    assert Predictor.load(tmp_path / "plain").rule is None
    assert Predictor.load(tmp_path / "plain" / "fold-0").rule is None


def test_a_damaged_rule_is_refused(shared):
    path = shared / "fold-0" / "card.json"
    card = json.loads(path.read_text())
    card["rule"]["threshold"] = 2
    path.write_text(json.dumps(card))
    with pytest.raises(InvalidFileError, match="not a decision rule"):
        Predictor.load(shared / "fold-0")


def test_the_cards_have_the_evidence(result, phantoms, tmp_path):
    audit = covidct.audit_dataset(phantoms)
    shortcut = Finding("warning", "Format tells the class", "", {"rule": "shortcut"})
    note = Finding("note", "Size hardly does", "", {"rule": "shortcut"})
    other = Finding("warning", "Patients are mixed", "", {"rule": "patients in both classes"})
    audit = replace(audit, findings=(shortcut, note, other))
    card = result.export(tmp_path / "audited", audit=audit)
    assert card.shortcuts == ("Format tells the class",)
    written, *_ = read_export(tmp_path / "audited")
    assert written == card
    patients = len(set(phantoms.groups))
    assert card.patients == {"training": patients, "test": patients}
    assert card.prevalence["test"] == phantoms.targets.mean()
    assert tuple(card.intervals["accuracy"]) == tuple(result.intervals()["accuracy"])
    for k, fold in enumerate(result.folds):
        own = read_card(tmp_path / "audited" / f"fold-{k}")
        assert own.shortcuts == card.shortcuts
        groups, targets = np.asarray(phantoms.groups), phantoms.targets
        assert own.patients == {
            "training": len(set(groups[fold.train])),
            "test": len(set(groups[fold.test])),
        }
        assert own.prevalence["training"] == targets[fold.train].mean()
        low, high = own.intervals["accuracy"]
        assert low <= own.metrics["accuracy"] <= high


def test_patients_that_no_fold_tests_are_not_counted(result, changed_folds):
    assert set(count_parts(changed_folds, [0]).patients) == {"test"}
    assert set(count_parts(result, [0]).patients) == {"training", "test"}


def test_thumbnails_stay_at_home_unless_asked_for(result, shared, new, tmp_path):
    for reference in shared.glob("fold-*/reference.safetensors"):
        assert not any(name.startswith("layout") for name in load_file(reference))
    seen = "a network was trained on this slice"
    assert not any(seen in p.doubts for p in Predictor.load(shared).predict(new))
    result.export(tmp_path / "with", thumbnails=True)
    assert all(seen in p.doubts for p in Predictor.load(tmp_path / "with").predict(new))


def test_the_card_names_classes_and_files(result, shared):
    card = json.loads((shared / "card.json").read_text())
    assert card["classes"] == list(result.classes)
    assert card["networks"] == ["fold-0", "fold-1"]
    assert card["metrics"]["accuracy"]["mean"] == result.summary()["accuracy"][0]
    assert card["protocol"] == str(result.protocol)
    assert str(result.run_dir) not in (shared / "card.json").read_text()


def test_single_networks(result, new, tmp_path):
    with pytest.raises(ValueError, match="folds must name at least one fold"):
        result.export(tmp_path / "one", folds=[])
    result.export(tmp_path / "one", folds=[1])
    of_run = Predictor.from_run(result.run_dir).predict(new)
    expected = [p.by_fold[1] for p in of_run]
    assert [p.probability for p in Predictor.load(tmp_path / "one").predict(new)] == expected
    alone = Predictor.load(tmp_path / "one" / "fold-1").predict(new)
    assert [p.probability for p in alone] == expected
    assert not any(p.doubts for p in alone)


def test_an_onnx_file_scores_as_its_network(result, new, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    path = tmp_path / "model.onnx"
    result.fold_model(0).export(path, metadata={"resize": "stretch", "window": [40.0, 400.0]})
    predictor = Predictor.load(path)
    assert (predictor.resize, predictor.window) == ("stretch", (40.0, 400.0))
    predictor.resize = "pad"
    expected = [p.by_fold[0] for p in Predictor.from_run(result.run_dir).predict(new)]
    found = [p.probability for p in predictor.predict(new)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    network = OnnxNetwork(path)
    assert network.run(np.zeros((0, *network.input_size), np.uint8))[0].shape == (0,)
    with pytest.raises(ValueError, match="an ONNX file has no feature maps to explain"):
        mean_maps(predictor, np.zeros((1, *predictor.input_size), np.uint8))


@pytest.mark.parametrize("name", ["fold-1/reference.safetensors", "fold-0/model.safetensors"])
def test_a_changed_file_is_noticed(shared, name):
    content = bytearray((shared / name).read_bytes())
    content[-1] ^= 1
    (shared / name).write_bytes(content)
    with pytest.raises(InvalidFileError, match=r"not the file that card\.json describes"):
        Predictor.load(shared)


def test_other_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no run\.json and no card\.json"):
        Predictor.load(tmp_path)
    (tmp_path / "card.json").write_text('{"references": {}, "rule": null, "window": "lung"}')
    with pytest.raises(InvalidFileError, match="not the card of exported folds"):
        Predictor.load(tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"no")
    with pytest.raises(InvalidFileError, match=r"x\.onnx: cannot be read"):
        Predictor.load(tmp_path / "x.onnx")

"""Every run on every dataset: whose predictions stand where."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import covidct
from covidct.errors import InvalidFileError
from covidct.runs.cross_dataset import CrossDatasetMatrix, evaluate_across
from covidct.runs.external_test import ExternalEvaluation


@pytest.fixture
def external():
    probabilities = np.array([[0.1, 0.9, 0.9, 0.8], [0.2, 0.4, 0.1, 0.8]])
    return ExternalEvaluation("a", "b", probabilities, np.array([0, 1, 0, 1]), None)


def test_table_and_json(made_up_run, external):
    inside = made_up_run(lambda targets, index: targets, slices=100)
    matrix = CrossDatasetMatrix({("mine", "A"): inside, ("mine", "B"): external})
    header, row = matrix.table().render("csv").splitlines()
    assert header == "trained,on A,on B"
    assert row.startswith("mine,100.0 ± 0.0 (96.3 to 100.0)*,75.0 ± 0.0 (")
    assert not row.endswith("*")
    assert "AUC" in str(matrix)
    own, other = json.loads(json.dumps(matrix.to_dict(), allow_nan=False))
    assert (own["out_of_fold"], other["out_of_fold"]) == (True, False)
    assert other["summary"]["accuracy"]["mean"] == 0.75


def test_slices_of_a_patient_count_once(external):
    assert external.patients() is None
    assert "Per patient" not in str(external)
    grouped = replace(external, groups=np.array(["p", "q", "p", "q"]))
    patients = grouped.patients()
    np.testing.assert_allclose(patients.probabilities, [[0.5, 0.85], [0.15, 0.6]])
    assert patients.targets.tolist() == [0, 1]
    assert [scores["accuracy"] for scores in patients.fold_metrics] == [0.5, 1]
    assert grouped.to_dict()["patients"]["ensemble"]["accuracy"] == 1
    assert "Per slice (4)" in str(grouped)
    assert "Per patient (2)" in str(grouped)
    mixed = replace(external, groups=np.array(["p", "p", "q", "q"]), targets=np.array([0, 1, 0, 0]))
    assert mixed.patients().targets.tolist() == [1, 0]  # any COVID-19 slice


def test_near_duplicates_stand_in_for_unknown_patients(made_up_run, external):
    groups = np.array(["0", "0", "1", "2"])
    grouped = replace(external, groups=groups, group_kind="near-duplicate")
    assert grouped.patients() is None
    notes = grouped.table().notes
    assert any("they resample near-duplicate groups" in note for note in notes)
    assert any("they resample slices" in note for note in external.table().notes)
    known = replace(external, groups=groups)
    assert not any("too narrow" in note for note in known.table().notes)
    assert grouped.intervals() == known.intervals()


def test_intervals_of_folds_and_ensemble_are_of_what_they_stand_beside():
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    probabilities = np.clip(targets * 0.2 + 0.4 + rng.normal(0, 0.3, (5, 200)), 0, 1)
    found = ExternalEvaluation("a", "b", probabilities, targets, None)
    low, high = found.fold_intervals()["accuracy"]
    assert low < found.summary()["accuracy"][0] < high
    # Averaging five noisy networks is far better than one of them.
    ensemble = found.intervals()["accuracy"]
    assert ensemble.low < found.ensemble_metrics["accuracy"] < ensemble.high
    assert high < ensemble.low


def test_own_slices_are_scored_out_of_fold_and_others_by_fitted_folds(tiny, phantoms, quick):
    cv = covidct.CrossValidator(
        tiny, quick.scaled(1), cv=2, groups="patient", weights=None, threads=1, device="cpu"
    )
    result = cv.run(phantoms)
    other = covidct.load_dataset("phantom", n=8, seed=1)
    matrix = evaluate_across({"run": result}, {"own": phantoms, "other": other})
    assert matrix.cells["run", "own"] is result
    found = matrix.cells["run", "other"]
    assert (found.probabilities == result.evaluate(other).probabilities).all()
    with pytest.raises(ValueError, match=r"the same slices as the run"):
        result.evaluate(phantoms)


def test_training_slices_in_another_source_are_named(tiny, phantoms, quick, tmp_path, caplog):
    """Slices saved again under other names are recognized by their pixels."""
    cv = covidct.CrossValidator(
        tiny, quick.scaled(1), cv=2, groups="patient", weights=None, threads=1, device="cpu"
    )
    result = cv.run(phantoms)
    other = covidct.load_dataset("phantom", n=8, seed=1)
    mixed = [other[0], *(other[i] for i in range(8)), *(phantoms[i] for i in range(4))]
    for number, (image, _) in enumerate(mixed):
        image.save(tmp_path / f"{number:02}.jpg", quality=60)
    paths = sorted(tmp_path.glob("*.jpg"))
    collection = covidct.CTDataset(paths, [target for _, target in mixed])
    found = result.evaluate(collection)
    assert found.seen == collection.names[9:]
    assert found.group_kind == "near-duplicate"
    assert found.groups[0] == found.groups[1] != found.groups[5]
    (warning,) = caplog.messages
    assert warning.startswith("4 of 13 slices of custom were used for training")
    assert f"({', '.join(found.seen[:3])} and 1 more)" in warning
    assert str(found).endswith(warning)
    assert found.to_dict()["seen"] == list(found.seen)

    matrix = evaluate_across({"run": result}, {"clean": other, "mixed": collection})
    clean, marked = matrix.table().rows[0][1:]
    assert (clean[-1], marked[-1]) == (")", "†")
    assert f"† run on mixed: {warning}" in str(matrix)
    assert [len(cell["seen"]) for cell in matrix.to_dict()] == [0, 4]


def test_a_missing_reference_fails_before_anything_is_scored(tiny, phantoms, quick, tmp_path):
    result = covidct.CrossValidator(
        tiny,
        quick.scaled(1),
        cv=2,
        groups="patient",
        weights=None,
        threads=1,
        device="cpu",
        run_dir=tmp_path / "run",
    ).run(phantoms)
    (tmp_path / "run/folds/1/reference.safetensors").unlink()
    with pytest.raises(InvalidFileError, match=r"reference\.safetensors"):
        result.evaluate(covidct.load_dataset("phantom", n=8, seed=1))


def test_training_slices_count_for_slices_and_not_for_patients(external):
    found = replace(external, groups=np.array(["p", "q", "p", "q"]), seen=("1.png", "3.png"))
    assert str(found).count("2 of 4 slices of b were used for training") == 1
    assert found.patients().caveat == ""


def test_nothing_to_evaluate(made_up_run, phantoms):
    run = made_up_run(lambda targets, index: targets)
    for results, datasets in (({}, {"a": phantoms}), ({"a": run}, {})):
        with pytest.raises(ValueError, match="at least one run and one dataset"):
            evaluate_across(results, datasets)

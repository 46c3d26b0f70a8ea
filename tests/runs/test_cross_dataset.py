"""Every run on every dataset: whose predictions stand where."""

from __future__ import annotations

import json

import numpy as np
import pytest

import covidct
from covidct.runs.cross_dataset import CrossDatasetMatrix, evaluate_across
from covidct.runs.external import ExternalEvaluation


@pytest.fixture
def external():
    probabilities = np.array([[0.1, 0.9, 0.9, 0.8], [0.2, 0.4, 0.1, 0.8]])
    return ExternalEvaluation("a", "b", probabilities, np.array([0, 1, 0, 1]), None)


def test_table_and_json(made_up_run, external):
    inside = made_up_run(lambda targets, index: targets, slices=100)
    matrix = CrossDatasetMatrix({("mine", "A"): inside, ("mine", "B"): external})
    header, row = matrix.table("csv").splitlines()
    assert header == "trained,on A,on B"
    assert row.startswith("mine,100.0 ± 0.0 (100.0 to 100.0)*,75.0 ± 0.0 (")
    assert not row.endswith("*")
    assert "AUC" in str(matrix)
    own, other = json.loads(json.dumps(matrix.to_dict(), allow_nan=False))
    assert (own["out_of_fold"], other["out_of_fold"]) == (True, False)
    assert other["summary"]["accuracy"]["mean"] == 0.75


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


@pytest.mark.parametrize(("results", "datasets"), [({}, {"a": None}), ({"a": None}, {})])
def test_nothing_to_evaluate(results, datasets):
    with pytest.raises(ValueError, match="at least one run and one dataset"):
        evaluate_across(results, datasets)

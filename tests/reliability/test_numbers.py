"""Numbers that mean nothing are said to mean nothing."""

from __future__ import annotations

import math

import pytest
from sklearn.model_selection import PredefinedSplit

import covidct
from covidct.runs.run_directory import PREDICTION_FIELDS, RunDirectory


def test_constant_predictions_are_told(cross_validate, tmp_path):
    """A network that says "no" to every slice has no precision, and an AUC of chance."""
    result = cross_validate(tmp_path / "run")
    for k in range(2):
        rows = result.predictions[result.predictions["fold"] == k].copy()
        rows["probability"], rows["logit"] = 0.25, math.log(1 / 3)
        directory = RunDirectory(tmp_path / "run")
        directory.write_table(
            directory.fold(k) / "predictions.csv", PREDICTION_FIELDS.names, rows.tolist()
        )
    constant = covidct.CrossValidationResult.load(tmp_path / "run")
    for scores in constant.fold_metrics:
        assert math.isnan(scores["precision"])
        assert math.isnan(scores["mcc"])
        assert scores["auc"] == 0.5
        assert scores["recall"] == 0
    assert "In 2 of 2 folds precision is undefined (–) and left out." in str(constant)
    assert constant.to_dict()["folds"][0]["precision"] is None


def test_a_fold_without_positives_is_refused_before_any_training(tiny, phantoms, tmp_path):
    """Its sensitivity and AUC would be undefined, and their mean one over fewer folds."""
    folds = PredefinedSplit(phantoms.targets)  # fold 0 has all of class 0, fold 1 the others
    validator = covidct.CrossValidator(tiny, cv=folds, weights=None, run_dir=tmp_path / "run")
    with pytest.raises(ValueError, match="fold 0 has only class"):
        validator.run(phantoms)
    assert not (tmp_path / "run").exists()

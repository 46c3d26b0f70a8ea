"""Numbers that mean nothing are said to mean nothing."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from sklearn.model_selection import PredefinedSplit

import covidct
from covidct.errors import TrainingDivergedError
from covidct.runs import fold as fold_module
from covidct.runs.storage import RunDirectory


def test_constant_predictions_are_told(undisturbed_run, tmp_path):
    """A network that says "no" to every slice has no precision, and an AUC of chance."""
    shutil.copytree(undisturbed_run, tmp_path / "run")
    result = covidct.CrossValidationResult.load(tmp_path / "run")
    for k in range(2):
        rows = result.predictions[result.predictions["fold"] == k].copy()
        rows["probability"], rows["logit"] = 0.25, math.log(1 / 3)
        directory = RunDirectory(tmp_path / "run")
        directory.unseal()
        directory.write_table(directory.fold(k) / "predictions.csv", rows)
    constant = covidct.CrossValidationResult.load(tmp_path / "run")
    for scores in constant.fold_metrics:
        assert math.isnan(scores["precision"])
        assert math.isnan(scores["mcc"])
        assert scores["auc"] == 0.5
        assert scores["recall"] == 0
    assert "Precision is undefined (–) in 2 of 2 folds; the mean leaves these out." in str(constant)
    assert constant.to_dict()["folds"][0]["precision"] is None


def test_a_fold_without_positives_is_refused_before_any_training(tiny, phantoms, tmp_path):
    """Its sensitivity and AUC would be undefined, and their mean one over fewer folds."""
    folds = PredefinedSplit(phantoms.targets)  # fold 0 has all of class 0, fold 1 the others
    validator = covidct.CrossValidator(tiny, cv=folds, weights=None, run_dir=tmp_path / "run")
    with pytest.raises(ValueError, match="fold 0 has only class"):
        validator.run(phantoms)
    assert not (tmp_path / "run").exists()


def test_a_fitted_network_that_answers_no_number_stops_its_fold_alone(
    cross_validate, tmp_path, monkeypatch, undisturbed, same_bits
):
    """The last step of a training is judged by no loss; its answers are looked at instead."""
    infer, calls = fold_module.infer, []

    def broken(*args, **options):
        calls.append(args)
        scored = infer(*args, **options)
        return scored._replace(logits=scored.logits * np.nan) if len(calls) == 1 else scored

    with monkeypatch.context() as patch:
        patch.setattr(fold_module, "infer", broken)
        with pytest.raises(TrainingDivergedError, match=r"fold 0: .*returns NaN or infinity; try"):
            cross_validate(tmp_path / "run")
    assert (tmp_path / "run/folds/1/predictions.csv").exists()
    cross_validate(tmp_path / "run")
    same_bits(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("target", [0, 1])
def test_an_external_set_of_one_class_is_told(undisturbed_run, phantoms, target):
    result = covidct.CrossValidationResult.load(undisturbed_run)
    external = result.evaluate(phantoms.subset(phantoms.targets == target))
    assert "AUC is undefined (–) in 2 of 2 folds; the mean leaves these out." in str(external)
    assert external.to_dict()["ensemble"]["auc"] is None

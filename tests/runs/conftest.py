"""Runs that were never trained: their files, written with predictions of the test's choice."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

import covidct
from covidct.runs.storage import PREDICTION_FIELDS, RunDirectory, software_versions
from covidct.training.trainer import EpochRecord


@pytest.fixture
def made_up_run(tmp_path):
    """Write a finished run on COVID19-CT; ``judge(targets, index)`` gives its probabilities."""
    numbers = count()

    def run(
        judge,
        *,
        recipe=None,
        slices=746,
        folds=5,
        repeats=None,
        groups=None,
        name="covid19-ct",
        folder=None,
        seconds=1.0,
        **changes,
    ):
        targets = np.arange(slices) % 2
        tests = np.array_split(np.arange(slices), folds)
        tests = tests if repeats is None else tests[:1] * repeats
        recipe = recipe or covidct.Recipe()
        spec = {
            "model": "squeezenet",
            "weights": "imagenet",
            "recipe": recipe.to_dict(),
            "dataset": {
                "name": name,
                "classes": ["non-COVID", "COVID"],
                "slices": slices,
                "content_hash": name,
                "skipped": [],
            },
            "protocol": "paper",
            "folds": [
                {
                    "train": np.setdiff1d(np.arange(slices), test).tolist(),
                    "test": test.tolist(),
                    "validation": [],
                }
                for test in tests
            ],
            "seed": 0,
            "threads": 1,
            "precision": "float32",
            "versions": software_versions(),
            **changes,
        }
        directory = RunDirectory(folder or tmp_path / f"made-up-{next(numbers)}")
        directory.write_spec(spec)
        for k, test in enumerate(tests):
            probabilities = np.clip(judge(targets[test], test), 0, 1)
            rows = [
                [i, f"{i}.png", targets[i], k, p, 0.0, "" if groups is None else groups[i]]
                for i, p in zip(test, probabilities, strict=True)
            ]
            path = directory.fold(k)
            epoch = [0 if field == "epoch" else seconds for field in EpochRecord._fields]
            directory.write_table(path / "history.csv", EpochRecord._fields, [epoch])
            directory.write_table(path / "predictions.csv", PREDICTION_FIELDS.names, rows)
        return covidct.CrossValidationResult.load(directory.path)

    return run

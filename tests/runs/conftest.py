"""Runs that were never trained: their files, written with predictions of the test's choice."""

from __future__ import annotations

from itertools import count

import numpy as np
import pandas as pd
import pytest

import covidct
from covidct.runs.protocol import Protocol
from covidct.runs.run_spec import DatasetSpec, RunSpec, WeightsSpec, software_versions
from covidct.runs.splits import Fold
from covidct.runs.storage import RunDirectory
from covidct.training.trainer import EpochRecord


@pytest.fixture
def made_up_run(tmp_path):
    """Write a finished run on COVID19-CT; ``judge(targets, index)`` gives its probabilities.

    ``repeats`` tests the first part again and again; ``shuffles`` repeats a shuffled split.
    """
    numbers = count()

    def run(
        judge,
        *,
        recipe=None,
        slices=746,
        folds=5,
        repeats=None,
        shuffles=None,
        groups=None,
        name="covid19-ct",
        folder=None,
        seconds=1.0,
        **changes,
    ):
        targets = np.arange(slices) % 2
        tests = np.array_split(np.arange(slices), folds)
        tests = tests if repeats is None else tests[:1] * repeats
        if shuffles is not None:
            rng = np.random.default_rng(changes.get("split_seed", 0))
            orders = [rng.permutation(slices) for _ in range(shuffles)]
            tests = [np.sort(part) for order in orders for part in np.array_split(order, folds)]
        repeat = np.arange(len(tests)) if repeats else np.arange(len(tests)) // folds
        spec = {
            "model": "squeezenet",
            "weights": WeightsSpec("imagenet"),
            "recipe": recipe or covidct.Recipe(),
            "dataset": DatasetSpec(name, ("non-COVID", "COVID"), slices, name),
            "protocol": Protocol.paper(),
            "group_kind": None,
            "folds": tuple(
                Fold(np.setdiff1d(np.arange(slices), test), test, np.empty(0, np.int64))
                for test in tests
            ),
            "repeats": int(repeat[-1]) + 1,
            "seed": 0,
            "split_seed": changes.get("seed", 0),
            "threads": 1,
            "precision": "float32",
            "device": "cpu",
            "versions": software_versions(),
            **changes,
        }
        directory = RunDirectory(folder or tmp_path / f"made-up-{next(numbers)}")
        directory.write_spec(RunSpec(**spec))
        for k, test in enumerate(tests):
            table = pd.DataFrame(
                {
                    "index": test,
                    "path": [f"{i}.png" for i in test],
                    "frame": 0,
                    "target": targets[test],
                    "label": np.array(["non-COVID", "COVID"])[targets[test]],
                    "source": "phantom",
                    "group": "" if groups is None else [groups[i] for i in test],
                    "volume": "",
                    "fold": k,
                    "repeat": repeat[k],
                    "probability": np.clip(judge(targets[test], test), 0, 1).astype(float),
                    "logit": 0.0,
                }
            )
            path = directory.fold(k)
            epoch = [0 if field == "epoch" else seconds for field in EpochRecord._fields]
            history = pd.DataFrame([epoch], columns=EpochRecord._fields)
            directory.write_table(path / "history.csv", history)
            directory.write_table(path / "predictions.csv", table)
        return covidct.CrossValidationResult.load(directory.path)

    return run

"""Nested cross-validation: what the inner folds see, and what the outer folds score."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from covidct.runs import fold as fold_module
from covidct.runs.columns import PREDICTION_COLUMNS
from covidct.runs.storage import RunDirectory
from covidct.runs.sweep import PlannedRun, run_nested

OPTIONS = {"folds": 3, "inner_folds": 2, "threads": 1, "device": "cpu"}


@pytest.fixture
def candidates(tiny, quick):
    return [
        PlannedRun(dataset="phantom", model=tiny, variant=name, weights=None, protocol="grouped",
                   recipe=quick.scaled(1).replace(resize=name))
        for name in ("pad", "stretch")
    ]  # fmt: skip


@pytest.fixture
def instant(monkeypatch):
    """Score folds without training: stretched slices are classified better in the inner folds."""
    trained = []

    def fit_and_score(job, directory, profile):
        trained.append((directory.path, job.number))
        rng = np.random.default_rng(job.number)
        rows = job.slices.iloc[job.fold.test]
        share = {"stretch": 0.0, "pad": 0.5}[job.recipe.resize]
        if "outer" in directory.path.parts:
            share = 0.3
        wrong = rng.random(len(rows)) < share
        probability = np.abs(rows["target"].to_numpy() - wrong) * 0.8 + 0.1
        table = rows.assign(
            index=job.fold.test,
            fold=job.number,
            repeat=job.repeat,
            probability=probability,
            logit=np.log(probability / (1 - probability)),
        )
        folder = directory.fold(job.number)
        history = pd.DataFrame(columns=fold_module.EpochRecord._fields)
        directory.write_table(folder / "history.csv", history)
        directory.write_table(folder / "predictions.csv", table[list(PREDICTION_COLUMNS)])

    monkeypatch.setattr(fold_module, "_fit_and_score", fit_and_score)
    return trained


def test_inner_folds_choose_and_outer_folds_score(candidates, phantoms, tmp_path, instant):
    result = run_nested(candidates, tmp_path, datasets={"phantom": phantoms}, **OPTIONS)
    assert [run.variant for run in result.chosen] == ["stretch"] * 3
    assert (result.inner_scores.iloc[:, 1] == 1).all()
    assert sorted(result.predictions["index"]) == list(range(24))
    assert result.summary()["accuracy"][0] < 1  # the outer score, not the inner
    assert "grouped by patient" in str(result)
    assert "tiny/stretch" in str(result)
    inner = RunDirectory(tmp_path / "inner/tiny/pad").read_spec().folds
    assert len(inner) == 6
    for k, fold in enumerate(inner):
        outer = result.folds[k // 2]
        seen = np.concatenate([fold.train, fold.test])
        assert not set(phantoms.groups[outer.test]) & set(phantoms.groups[seen])
        assert not set(phantoms.groups[fold.train]) & set(phantoms.groups[fold.test])
        assert sorted(seen) == sorted(outer.train)


def test_the_lowest_loss_is_chosen(candidates, phantoms, tmp_path, instant):
    options = {"datasets": {"phantom": phantoms}, "metric": "brier", **OPTIONS}
    result = run_nested(candidates, tmp_path, **options)
    assert (result.inner_scores.iloc[:, 1] < result.inner_scores.iloc[:, 0]).all()
    assert [run.variant for run in result.chosen] == ["stretch"] * 3
    assert result.choices().rows[0][2] == "1.0"


def test_finished_folds_are_kept(candidates, phantoms, tmp_path, instant):
    options = {"datasets": {"phantom": phantoms}, **OPTIONS}
    first = run_nested(candidates, tmp_path, **options)
    number = len(instant)
    assert number == 2 * 6 + 3
    again = run_nested(candidates, tmp_path, **options)
    assert len(instant) == number
    pd.testing.assert_frame_equal(again.predictions, first.predictions)


def test_further_candidates_are_trained_alone(candidates, phantoms, tmp_path, instant):
    options = {"datasets": {"phantom": phantoms}, **OPTIONS}
    worse = PlannedRun(**{**vars(candidates[0]), "variant": "worse"})
    first = run_nested([candidates[0], worse], tmp_path, **options)
    assert [run.variant for run in first.chosen] == ["pad"] * 3
    number = len(instant)
    now = run_nested([candidates[0], worse, candidates[1]], tmp_path, **options)
    assert [run.variant for run in now.chosen] == ["stretch"] * 3
    assert {path.name for path, _ in instant[number:]} == {"stretch", "folds-0-1-2"}
    assert len(instant) == number + 6 + 3


def test_candidates_must_be_comparable(candidates, phantoms, tmp_path):
    options = {"datasets": {"phantom": phantoms}, **OPTIONS}
    other = PlannedRun(**{**vars(candidates[1]), "protocol": "paper"})
    official, source = (
        [PlannedRun(**{**vars(c), "protocol": name}) for c in candidates]
        for name in ("official", "source")
    )
    for wrong, message in (
        (candidates[:1], "at least two candidates"),
        ([candidates[0], candidates[0]], "with different names"),
        ([candidates[0], other], "one dataset and one protocol"),
        (official, "'official' has fixed folds"),
        (source, "'source' has fixed folds"),
    ):
        with pytest.raises(ValueError, match=message):
            run_nested(wrong, tmp_path, **options)

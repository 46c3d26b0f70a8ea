"""Tables of the page of results, compared with scikit-learn on the same predictions."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import covidct

FOLDER = Path(__file__).parents[2] / "docs" / "results"
FILES = sorted(FOLDER.glob("*.csv.gz"))
SCORES = {
    "Accuracy": metrics.accuracy_score,
    "Precision": partial(metrics.precision_score, zero_division=np.nan),
    "Recall": metrics.recall_score,
    "Specificity": lambda t, p: metrics.recall_score(t, p, pos_label=0),
    "F1": metrics.f1_score,
}


def percents(frame: pd.DataFrame) -> list[float]:
    targets, probabilities = frame["target"], frame["probability"]
    scores = [score(targets, probabilities >= 0.5) for score in SCORES.values()]
    return [100 * x for x in (*scores, metrics.roc_auc_score(targets, probabilities))]


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.replace("–", "nan")) for cell in cells]


def check(path: Path) -> None:
    """Assert that a table has the metrics of the predictions in ``path``, to a tenth."""
    table = json.loads(path.with_name(path.name.replace(".csv.gz", ".json")).read_text("utf-8"))
    assert table["predictions"] == path.name
    assert table["columns"][1:] == [*SCORES, "AUC"]
    rows = {label: cells for label, *cells in table["rows"]}
    predictions = pd.read_csv(path, keep_default_na=False)
    of_folds = np.array([percents(part) for _, part in predictions.groupby("fold")])
    for (_, *cells), expected in zip(table["rows"], of_folds, strict=False):
        np.testing.assert_allclose(numbers(cells), expected, atol=0.0501)
    means = [cell.partition(" ± ")[0] for cell in rows["mean ± sd"]]
    np.testing.assert_allclose(numbers(means), np.nanmean(of_folds, axis=0), atol=0.0501)
    for cell, values in zip(rows["mean ± sd"], of_folds.T, strict=True):
        if "±" in cell:
            sd = np.nanstd(values, ddof=1)
            assert float(cell.partition(" ± ")[2]) == pytest.approx(sd, abs=0.0501)
    if "mean of the networks" in rows:
        mean = predictions.groupby("index")[["target", "probability"]].mean()
        found = numbers(rows["mean of the networks"])
        np.testing.assert_allclose(found, percents(mean), atol=0.0501)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_table_follows_from_the_predictions(path):
    check(path)


def check_pair(path: Path) -> None:
    """Assert that the differences of a table are those of the tables of its runs."""
    table = json.loads(path.read_text("utf-8"))
    means = []
    for name in table["pair"]:
        of_run = json.loads(path.with_name(f"{name}.json").read_text("utf-8"))
        (mean,) = (row for row in of_run["rows"] if row[0] == "mean ± sd")
        means.append(dict(zip(of_run["columns"], mean, strict=True)))
    for metric, difference, *_ in table["rows"]:
        a, b = (float(mean[metric].partition(" ± ")[0]) for mean in means)
        assert float(difference) == pytest.approx(a - b, abs=0.151)  # of three rounded numbers


PAIRS = [path for path in sorted(FOLDER.glob("*.json")) if '"pair"' in path.read_text("utf-8")]


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.name)
def test_differences_follow_from_the_tables_of_the_runs(path):
    check_pair(path)


@pytest.fixture
def collect(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("collect", FOLDER / "collect.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return module


def test_a_run_is_collected(collect, grouped, tmp_path, capsys):
    collect.main(["run", str(grouped.run_dir), "--name", "run", "--note", "A note."])
    check(tmp_path / "run.csv.gz")
    table = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert table["notes"][-1] == "A note."
    assert table["command"].startswith("covidct train --dataset phantom --n 24")
    assert "mean ± sd" in capsys.readouterr().out


def test_an_external_test_is_collected(collect, grouped, tmp_path):
    other = covidct.load_dataset("phantom", n=16, seed=5)
    collect.write_external("other", grouped, other, [])
    check(tmp_path / "other.csv.gz")
    table = json.loads((tmp_path / "other.json").read_text("utf-8"))
    assert "mean of the networks" in [row[0] for row in table["rows"]]


def test_a_run_of_sources_is_collected(collect, tiny, tmp_path):
    parts = []
    for seed, name in enumerate(("covid-ct-md", "covid19-ct")):
        covidct.load_dataset("phantom", n=16, seed=seed).save(tmp_path / name)
        parts.append(covidct.load_dataset("folder", tmp_path / name, name=name))
    recipe = covidct.Recipe.demo().scaled(1).replace(canvas=(64, 96))
    cv = covidct.CrossValidator(
        tiny, recipe, cv="source", weights=None, threads=1, run_dir=tmp_path / "run"
    )
    cv.run(covidct.concat(parts))
    collect.main(["run", str(tmp_path / "run"), "--name", "sources"])
    check(tmp_path / "sources.csv.gz")
    table = json.loads((tmp_path / "sources.json").read_text("utf-8"))
    assert [row[0] for row in table["rows"]][:3] == ["covid-ct-md", "covid19-ct", "mean ± sd"]
    assert "on COVID-CT-MD, COVID19-CT, leave one source out" in table["title"]
    assert "--dataset folder@covid-ct-md=FOLDER folder@covid19-ct=FOLDER" in table["command"]
    assert "overview" not in table


def test_a_choice_is_collected(collect, grouped, tmp_path):
    collect.main(["choice", str(grouped.run_dir), str(grouped.run_dir), "--name", "choice"])
    table = json.loads((tmp_path / "choice.json").read_text("utf-8"))
    accuracy, auc, loss = (float(cell) for cell in table["rows"][1][3:6])
    targets, probabilities = grouped.predictions["target"], grouped.predictions["probability"]
    assert accuracy == pytest.approx(percents(grouped.predictions)[0], abs=0.0501)
    assert auc == pytest.approx(percents(grouped.predictions)[-1], abs=0.0501)
    assert loss == pytest.approx(metrics.log_loss(targets, probabilities), abs=0.0005)


def test_options_must_fit_the_kind(collect, capsys):
    with pytest.raises(SystemExit):
        collect.main(["audit", "--name", "a"])
    assert "--on is the dataset of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        collect.main(["run", "--name", "a"])
    assert "the folder of one run, got 0" in capsys.readouterr().err


def test_every_cell_of_the_overview_exists_once():
    seen = []
    for path in sorted(FOLDER.glob("*.json")):
        table = json.loads(path.read_text("utf-8"))
        for cell in table.get("overview", ()):
            seen.append((cell["network"], cell["dataset"], cell["column"]))
            for row, column in (cell["value"], cell["interval"]):
                assert table["rows"][row][table["columns"].index(column)][0].isdigit()
    assert len(set(seen)) == len(seen) > 0


def test_files_without_predictions_are_of_earlier_versions():
    for path in FOLDER.glob("*.json"):
        table = json.loads(path.read_text("utf-8"))
        if "overview" in table:
            assert ("version" in table) != ("predictions" in table), path.name


def test_a_pair_is_collected(collect, grouped, tmp_path, capsys):
    collect.main(["run", str(grouped.run_dir), "--name", grouped.run_dir.name, "--no-overview"])
    collect.main(["compare", *[str(grouped.run_dir)] * 2, "--name", "pair"])
    check_pair(tmp_path / "pair.json")
    run, pair = (
        json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        for name in (grouped.run_dir.name, "pair")
    )
    assert "overview" not in run
    assert pair["command"].endswith(f"covidct compare {' '.join(pair['pair'])} --metric auc")
    assert [row[:2] for row in pair["rows"]] == [["Accuracy", "+0.0"], ["AUC", "+0.0"]]

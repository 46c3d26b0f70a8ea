"""Files that ``covidct explain`` writes for a fold and for new slices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import special

import covidct
from covidct.explain import figures, new_slices
from covidct.explain.new_slices import explain_predictions
from covidct.explain.tested_slices import embed_fold, explain_fold


@pytest.fixture(scope="module")
def result(
    tiny: str, phantoms: covidct.CTDataset, tmp_path_factory: pytest.TempPathFactory
) -> covidct.CrossValidationResult:
    recipe = covidct.Recipe.demo().scaled(1)
    options = {"cv": 2, "groups": "patient", "weights": None, "device": "cpu", "threads": 1}
    run_dir = tmp_path_factory.mktemp("fold") / "run"
    return covidct.CrossValidator(tiny, recipe, run_dir=run_dir, **options).run(phantoms)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record the options of each page of maps."""
    pages: list[dict[str, Any]] = []

    def record(images: list[Any], maps: Any, **options: Any) -> Figure:
        pages.append({"n": len(images), **options})
        return Figure()

    monkeypatch.setattr(figures, "saliency_maps", record)
    return pages


def scored(result: covidct.CrossValidationResult, logits: Callable[[np.ndarray], np.ndarray]):
    """Replace the predictions of a run."""
    result.predictions = result.predictions.copy()
    result.predictions["logit"] = logits(result.predictions)
    result.predictions["probability"] = 1 / (1 + np.exp(-result.predictions["logit"]))
    return result


@pytest.mark.parametrize("recognized", [3, 0])
def test_the_slices_recognized_most_surely_are_shown(
    result: covidct.CrossValidationResult,
    phantoms: covidct.CTDataset,
    shown: list[dict[str, Any]],
    recognized: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(result, "predictions", result.predictions)  # put back afterwards
    rank = np.arange(len(result.predictions)) % len(result.folds[0].test)
    scored(
        result, lambda rows: np.where((rows["target"] == 1) & (rows["fold"] == 0), -1.0 - rank, 9.0)
    )
    covid = np.flatnonzero((result.predictions["target"] == 1) & (result.predictions["fold"] == 0))
    chosen = covid[:recognized]
    result.predictions.loc[chosen, "logit"] = special.logit([0.6, 0.9, 0.8][:recognized])
    explain_fold(result, phantoms, tmp_path, count=4)
    (page,) = shown
    if recognized:
        assert page["probabilities"] == pytest.approx([0.9, 0.8, 0.6])
    else:
        assert page["n"] == 4
        assert max(page["probabilities"]) < 0.5
    assert page["targets"] == [1] * page["n"]


def test_t_sne_is_in_the_table(
    result: covidct.CrossValidationResult, phantoms: covidct.CTDataset, tmp_path: Path
) -> None:
    table = explain_fold(result, phantoms, tmp_path, fold=1, palette="color-blind")
    row = table["t-SNE, accuracy of nearest neighbors"]
    assert set(row.references) == {"among the features", "larger class"}
    assert row.n == len(result.folds[1].test)
    written = json.loads((tmp_path / "faithfulness.json").read_text())
    assert written == table.to_dict()
    assert (tmp_path / "faithfulness.txt").read_text() == f"{table}\n"
    assert {p.name for p in tmp_path.iterdir()} > {"grad_cam.png", "tsne.png"}


def test_the_number_of_embedded_slices_is_limited(
    result: covidct.CrossValidationResult, phantoms: covidct.CTDataset
) -> None:
    model = result.fold_model(0)
    canvases = np.zeros((len(phantoms), *model.input_size), dtype=np.uint8)
    canvases += np.random.default_rng(0).integers(0, 256, canvases.shape, dtype=np.uint8)
    figure, separation = embed_fold(result, phantoms, model, canvases, fold=0, max_slices=10)
    assert sum(len(line.get_xdata()) for line in figure.axes[0].get_lines()) == 10
    assert separation is None  # the test fold has too few of the ten slices
    assert "training and" in figure.get_label()


def test_other_slices_are_refused(
    result: covidct.CrossValidationResult, phantoms: covidct.CTDataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="not the version of 'phantom'"):
        explain_fold(result, phantoms.subset([0, 1, 2]), tmp_path)


@pytest.fixture
def predicted(
    result: covidct.CrossValidationResult, phantoms: covidct.CTDataset, tmp_path: Path
) -> tuple[covidct.Predictor, list[Any]]:
    (tmp_path / "slices").mkdir()
    for i in range(5):
        phantoms[i][0].save(tmp_path / f"slices/{i}.png")
    predictor = covidct.Predictor.from_run(result.run_dir, device="cpu")
    return predictor, predictor.predict(tmp_path / "slices")


def test_new_slices_get_maps_and_a_table(
    predicted: tuple[covidct.Predictor, list[Any]], tmp_path: Path
) -> None:
    predictor, predictions = predicted
    called = [p._replace(probability=0.9) for p in predictions[:3]]
    others = [p._replace(probability=0.1) for p in predictions[3:]]
    table = explain_predictions(predictor, called + others, tmp_path, baseline="mean")
    assert table.settings["baseline"] == "mean"
    assert table is not None
    assert table.settings["networks"] == 2
    assert table["deletion"].n == 2 * 3
    files = {"grad_cam.png", "faithfulness.txt", "faithfulness.json"}
    assert files == {p.name for p in tmp_path.iterdir() if p.is_file()}


def test_without_two_slices_called_covid_there_is_no_table(
    predicted: tuple[covidct.Predictor, list[Any]], tmp_path: Path
) -> None:
    predictor, predictions = predicted
    called = [p._replace(probability=0.1 + 0.8 * (i == 0)) for i, p in enumerate(predictions)]
    assert explain_predictions(predictor, called, tmp_path) is None
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["grad_cam.png"]


def test_many_slices_are_drawn_on_several_pages(
    predicted: tuple[covidct.Predictor, list[Any]],
    shown: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predictor, predictions = predicted
    monkeypatch.setattr(new_slices, "_SLICES_PER_PAGE", 2)
    explain_predictions(predictor, [p._replace(probability=0.1) for p in predictions], tmp_path)
    assert [page["n"] for page in shown] == [2, 2, 1]
    assert {p.name for p in tmp_path.glob("*.png")} == {f"grad_cam-00{i}.png" for i in (1, 2, 3)}


def test_no_slice_could_be_read(
    predicted: tuple[covidct.Predictor, list[Any]], tmp_path: Path
) -> None:
    predictor, predictions = predicted
    broken = [p._replace(probability=float("nan")) for p in predictions]
    with pytest.raises(ValueError, match="no slice to explain"):
        explain_predictions(predictor, broken, tmp_path)

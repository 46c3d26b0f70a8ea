"""The paper's figures: their networks, numbers and slices."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import covidct
from covidct.errors import UnknownNameError
from covidct.explain import paper
from covidct.explain.paper import draw_paper_figures
from covidct.runs.sweep import PlannedRun, SweepResult


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw a sweep of runs that have only counts; return the titles and the recorded calls."""
    calls = []
    monkeypatch.setattr(
        paper,
        "explain_fold",
        lambda run, dataset, folder, **options: calls.append((run.name, dataset.name, folder)),
    )
    monkeypatch.setattr(
        paper,
        "_draw_external",
        lambda run, files, place: calls.append((run.name, list(files), place)) or place / "x.png",
    )

    def draw(cells, datasets=(), **options):
        results = {
            PlannedRun(dataset=dataset, model=model, variant=variant): SimpleNamespace(
                name=f"{dataset} {model}",
                classes=("no", "yes"),
                confusion_matrix=lambda: np.array([[7.5, 1], [2, 6]]),
            )
            for dataset, model, variant in cells
        }
        done = SweepResult(results)
        titles = draw_paper_figures(done, dict(datasets), tmp_path / "out", **options)
        return titles, calls

    return draw


@pytest.fixture
def sources(slice_folder):
    dataset = covidct.load_dataset("folder", slice_folder)
    dataset.name = "sars-cov-2-ct"
    other = covidct.load_dataset("folder", slice_folder)
    other.name = "covid19-ct"
    return {"sars-cov-2-ct": dataset, "covid19-ct": other}


def test_figures_of_the_paper_have_its_networks_and_numbers(drawn, sources, tmp_path):
    cells = [
        ("sars-cov-2-ct", "resnet18", "paper"),
        ("sars-cov-2-ct", "inception_v3", "paper"),
        ("sars-cov-2-ct", "inception_v3", "stretch"),
        ("covid19-ct", "densenet169", "paper"),
    ]
    titles, calls = drawn(cells, sources)
    assert list(titles) == [
        "Fig. 9: confusion matrices, sars-cov-2-ct",
        "Fig. 11: t-SNE, inception_v3 on sars-cov-2-ct",
        "Fig. 13: Grad-CAM, inception_v3 on sars-cov-2-ct",
        "Fig. 15: Grad-CAM, inception_v3 of sars-cov-2-ct on covid19-ct, 1",
        "Fig. 10: confusion matrices, covid19-ct",
        "Fig. 12: t-SNE, densenet169 on covid19-ct",
        "Fig. 14: Grad-CAM, densenet169 on covid19-ct",
        "Grad-CAM, densenet169 of covid19-ct on sars-cov-2-ct, 1",
    ]
    explained = [call for call in calls if isinstance(call[1], str)]
    assert [call[:2] for call in explained] == [
        ("sars-cov-2-ct inception_v3", "sars-cov-2-ct"),
        ("covid19-ct densenet169", "covid19-ct"),
    ]
    for title, path in titles.items():
        assert not title.startswith("Fig. 9") or path.stat().st_size > 1000


def test_external_slices_are_covid_and_spread_over_two_figures(drawn, sources, tmp_path):
    dataset = sources["covid19-ct"]
    files = paper._spread(paper._covid_slices(dataset))
    assert len(files) == 6
    assert all(Path(file).parent.name == "COVID" for file, _ in files)
    many = tmp_path / "many"
    many.mkdir()
    for i in range(20):
        (many / f"{i:02d}.png").touch()
    titles, calls = drawn(
        [("sars-cov-2-ct", "resnet18", "paper")],
        {"sars-cov-2-ct": sources["sars-cov-2-ct"]},
        images=[many],
    )
    shown = [[path.name for path, _ in call[1]] for call in calls[1:]]
    assert list(map(len, shown)) == [8, 8]
    assert (shown[0][0], shown[1][-1]) == ("00.png", "19.png")
    assert [title[:7] for title in titles][-2:] == ["Fig. 15", "Fig. 16"]


def test_without_slices_only_confusion_matrices(drawn):
    titles, calls = drawn([("mine", "resnet18", "grouped")], variant="grouped")
    assert list(titles) == ["confusion matrices, mine"]
    assert calls == []


def test_a_sweep_without_finished_runs(drawn):
    with pytest.raises(ValueError, match="no finished run to draw"):
        drawn([])


def test_an_unknown_variant(drawn):
    with pytest.raises(UnknownNameError, match="unknown finished variant 'paper'"):
        drawn([("mine", "resnet18", "grouped")])

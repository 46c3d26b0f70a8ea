"""What a shell and a notebook show of an object: short, well-formed, and true."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import covidct
from covidct.evaluation.decision_curve import net_benefit
from covidct.evaluation.metrics import METRICS
from covidct.runs.cross_dataset import CrossDatasetMatrix
from covidct.runs.external_test import ExternalEvaluation
from covidct.runs.paired_tests import compare_runs
from covidct.runs.predictions import Prediction, Predictions
from covidct.runs.protocol import Protocol
from covidct.runs.scores import ScoredFolds
from covidct.runs.splits import Fold
from covidct.runs.sweep import SweepResult

VOID = {"img", "br"}


class Page(HTMLParser):
    """Text and attributes of a page, whose tags must be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.alternatives: list[str | None] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.alternatives.append(dict(attrs)["alt"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def scored(name: str, seed: int) -> ScoredFolds:
    n = 400
    index, targets = np.arange(n), np.arange(n) % 2
    logits = np.random.default_rng(seed).normal(targets * 2 - 1, 1)
    rows = pd.DataFrame(
        {
            "index": index,
            "path": [f"{i}.png" for i in index],
            "target": targets,
            "fold": index // 2 % 4,  # slices of a patient in two folds
            "probability": 1 / (1 + np.exp(-logits)),
            "logit": logits,
            "group": [f"p{i // 4}" for i in index],
            "label": "",
            "source": "",
            "repeat": 0,
        }
    )
    parts = [index[index // 2 % 4 == k] for k in range(4)]
    folds = [Fold(np.setdiff1d(index, part), part, np.empty(0, int)) for part in parts]
    return ScoredFolds(
        name, "a <set>", "hash", ("no", "yes"), Protocol.paper(), tuple(folds), rows,
        group_kind="patient",
    )  # fmt: skip


def external() -> ExternalEvaluation:
    targets = np.arange(300) // 3 % 2
    probabilities = np.random.default_rng(0).beta(2 + targets, 3 - targets, (5, 300))
    return ExternalEvaluation(
        "ward-7", "a <site>", probabilities, targets, seen=("a.png",),
        groups=np.array([f"p{i // 3}" for i in range(300)]), group_kind="patient",
    )  # fmt: skip


OBJECTS = {
    "dataset": lambda: covidct.load_dataset("phantom", n=24),
    "audit": lambda: covidct.audit_dataset(covidct.load_dataset("phantom", n=24)),
    "result": lambda: scored("<b>", 0),
    "external": external,
    "matrix": lambda: CrossDatasetMatrix({("mine", "a <site>"): external()}),
    "operating points": lambda: scored("a", 0).operating_points(sensitivity=0.9),
    "decision curve": lambda: net_benefit([0, 1] * 50, np.linspace(0.1, 0.9, 100)),
    "comparison": lambda: compare_runs(
        {"a <1>": scored("a", 0), "b": scored("b", 1)}, n_permutations=99
    ),
    "sweep": lambda: SweepResult({}),
    "predictions": lambda: Predictions(
        [Prediction(f"<{i}>.png", 0.5, 0.1, ("odd",), (9, 9)) for i in range(5000)]
    ),
    "model": lambda: covidct.model_info("densenet201"),
    "set": lambda: covidct.dataset_info("covidx-ct"),
}


@pytest.fixture(scope="module", params=OBJECTS)
def shown(request):
    return OBJECTS[request.param]()


def test_repr_fits_on_a_screen(shown):
    lines = repr(shown).split("\n")
    assert len(lines) <= 35
    assert sum(map(len, lines)) <= 3500
    assert "array(" not in repr(shown)


def test_html_is_well_formed_and_escaped(shown):
    html = shown._repr_html_()
    page = Page(html)
    assert page.text.strip()
    for name in ("<b>", "<set>", "<site>", "<1>", "<0>.png"):
        assert name not in html


def test_slices_of_each_class_are_pictured(tmp_path):
    images = np.zeros((12, 40, 60), np.uint8)
    dataset = covidct.CTDataset.from_images(images, [0] * 6 + [1] * 6, folder=tmp_path)
    page = Page(dataset._repr_html_())
    assert page.alternatives[0] == "0: non-COVID"
    assert page.alternatives[-1] == "11: COVID"
    (tmp_path / "00000.png").write_bytes(b"\x89PNG")
    assert Page(dataset._repr_html_()).alternatives[0] == "0: non-COVID, cannot be read"


def test_a_result_shows_folds_intervals_protocol_and_warnings():
    page = Page(scored("net", 0)._repr_html_())
    for text in ("95 % interval", "protocol: paper", "net on a <set>", METRICS["accuracy"].title):
        assert text in page.text
    assert "same patient" in page.text  # the warning of the random split


def test_an_external_test_shows_its_caveat():
    assert "were used for training" in Page(external()._repr_html_()).text


def test_pictures_are_small():
    dataset = covidct.CTDataset.from_images([Image.new("L", (2000, 2000))] * 2, [0, 1])
    assert len(dataset._repr_html_()) < 20_000

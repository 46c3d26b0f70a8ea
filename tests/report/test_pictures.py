from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from covidct.datasets.canvases import make_canvases
from covidct.report.gallery import draw_gallery, select_examples
from covidct.report.pictures import overlay, slice_picture
from covidct.runs.protocol import Protocol


def opened(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2])))


def test_overlay_is_transparent_without_evidence():
    heat = np.zeros((40, 60), np.float32)
    heat[:, 30:] = 1
    pixels = np.asarray(opened(overlay(heat)).convert("RGBA"))
    assert pixels.shape == (40, 60, 4)
    assert (pixels[:, :25, 3] == 0).all()
    assert (pixels[:, 35:, 3] > 150).all()


def test_overlay_outlines_lesions():
    lesion = np.zeros((40, 60), bool)
    lesion[10:30, 10:30] = True
    pixels = np.asarray(
        opened(overlay(np.zeros((40, 60), np.float32), {"lesion": lesion})).convert("RGBA")
    )
    opaque = pixels[..., 3] == 255
    assert opaque[10, 10:30].all()
    assert not opaque[15:25, 15:25].any()
    assert not opaque[~lesion].any()


@pytest.mark.parametrize(
    ("size", "shrunk"), [((640, 320), (320, 160)), ((30, 900), (11, 320)), ((8, 9), (8, 9))]
)
def test_slices_are_shrunk_and_never_enlarged(size, shrunk):
    picture = slice_picture(Image.new("L", size), alt="a slice")
    assert (picture.width, picture.height) == shrunk
    assert opened(picture.source).size == shrunk


def test_examples_are_spread_over_their_confidence():
    rows = pd.DataFrame(
        {"index": range(8), "target": 1, "probability": 0.9, "logit": range(8, 0, -1)}
    )
    assert select_examples(rows, per_kind=3)["index"].tolist() == [0, 2, 5]


def test_select_examples_of_each_kind():
    logits = [3.0, 2.0, 5.0, -1.0, -4.0, -2.0, 0.0]
    targets = [1, 1, 0, 0, 0, 1, 1]
    rows = [
        (i, t, 1 / (1 + np.exp(-x)), x, 0)
        for i, t, x in zip(range(7), targets, logits, strict=True)
    ]
    rows.append((1, 1, 0.99, 4.6, 1))  # tested twice: the more confident prediction is shown
    columns = ["index", "target", "probability", "logit", "fold"]
    chosen = select_examples(pd.DataFrame(rows, columns=columns), per_kind=2)
    assert chosen["index"].tolist() == [5, 2, 1, 0, 4, 3]
    assert chosen["fold"].tolist() == [0, 0, 1, 0, 0, 0]


def test_each_slice_is_explained_by_the_network_that_tested_it(grouped, phantoms):
    canvases = make_canvases(phantoms, grouped.fold_model(0).input_size)
    shown = draw_gallery(grouped, phantoms, canvases=canvases, per_kind=3)
    assert [e.verdict for e in shown] == sorted((e.verdict for e in shown), reverse=True)
    index = {name: i for i, name in enumerate(phantoms.names)}
    for item in shown:
        i = index[item.name]
        assert i in grouped.folds[item.fold].test
        assert item.true == phantoms.targets[i]
        assert item.predicted == (item.probability >= 0.5)
        assert opened(item.overlay).size == (item.picture.width, item.picture.height)
        assert item.name in item.picture.alt
        assert item.group == phantoms.groups[i]


def test_near_duplicate_groups_are_named_with_their_number(grouped, phantoms, changed):
    alike = changed(
        grouped, protocol=Protocol.grouped("near-duplicate"), group_kind="near-duplicate"
    )
    canvases = make_canvases(phantoms, grouped.fold_model(0).input_size)
    shown = draw_gallery(alike, phantoms, canvases=canvases, per_kind=1)
    index = {name: i for i, name in enumerate(phantoms.names)}
    for item in shown:
        group = phantoms.groups[index[item.name]]
        assert item.group == f"near-duplicate group {group}"

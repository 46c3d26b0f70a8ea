"""The presets are the paper's experiments, and can be narrowed to what fits."""

from __future__ import annotations

import numpy as np
import pytest

import covidct
from covidct.errors import UnknownNameError
from covidct.runs.sweep import PRESETS, PlannedRun, Variant, plan
from covidct.training.recipe import Augmentation


def flat(recipe):
    values = recipe.to_dict()
    return dict(values.pop("augmentation"), **values)


def test_table2_is_the_papers():
    cells = plan("table2", ["covid19-ct", "sars-cov-2-ct"])
    assert len(cells) == 2 * 12
    assert len({cell.model for cell in cells}) == 12
    assert {cell.recipe for cell in cells} == {covidct.Recipe()}
    assert {(cell.protocol, cell.weights) for cell in cells} == {("paper", "imagenet")}


CHANGES = {
    "paper": {},
    "stretch": {"resize": "stretch"},
    "default-canvas": {"canvas": "default"},
    "square-stretch": {"resize": "stretch", "canvas": "default"},
    "feature-extraction": {"strategy": "feature-extraction"},
    "no-crop": {"crop": 0},
    "no-blur": {"blur_probability": 0},
    "no-noise": {"noise": 0},
    "no-brightness": {"brightness": 0},
    "no-contrast": {"contrast": 0},
    "no-flip": {"flip_probability": 0},
    "affine": {"rotation": 10, "shear": 10},
}


@pytest.mark.parametrize("name", PRESETS["ablations"])
@pytest.mark.parametrize("epochs", [100, 30])
def test_an_ablation_changes_one_thing(name, epochs):
    base = covidct.Recipe().scaled(epochs)
    before, after = flat(base), flat(PRESETS["ablations"][name].apply(base))
    changed = {key: value for key, value in after.items() if value != before[key]}
    if name in CHANGES:
        assert changed == CHANGES[name]
    elif name == "no-augmentation":
        none = Augmentation.none()
        assert PRESETS["ablations"][name].apply(base).augmentation == none
        assert all(hasattr(none, key) for key in changed)
    else:
        assert changed.keys() == {"optimizer", "learning_rate", "weight_decay", "milestones"}


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_rate_of_another_optimizer_falls_as_the_papers(name):
    recipe = PRESETS["ablations"][name].apply(covidct.Recipe())
    rates = [covidct.Recipe().rate_at(epoch) / recipe.rate_at(epoch) for epoch in range(100)]
    np.testing.assert_allclose(rates, rates[0])


def test_presets_share_the_papers_variant():
    cells = plan(["table2", "ablations", "honest"], ["covid19-ct"], models=["resnet18"])
    names = [cell.variant for cell in cells]
    assert names == [*PRESETS["ablations"], "grouped", "official"]
    assert [cell.protocol for cell in cells[-2:]] == ["grouped", "official"]


def test_only_some_variants():
    cells = plan("ablations", ["covid19-ct"], models=["resnet18"], only=["paper", "no-*"])
    assert {cell.variant for cell in cells} == {
        n for n in PRESETS["ablations"] if n[:2] == "no"
    } | {"paper"}


def test_a_variant_that_changes_nothing_is_left_out():
    recipe = covidct.Recipe.demo()  # it has no blur
    cells = plan("ablations", ["phantom"], models=["resnet18"], recipe=recipe)
    names = [cell.variant for cell in cells]
    assert "no-blur" not in names
    assert {"paper", "no-crop", "stretch"} <= set(names)
    assert len({cell.recipe for cell in cells}) == len(cells)


def test_scaled_canvases_keep_their_proportions():
    cells = plan("ablations", ["covid19-ct"], models=["densenet121"], scale=0.5)
    canvases = {cell.variant: cell.recipe.canvas for cell in cells}
    assert canvases["paper"] == canvases["stretch"] == (126, 174)  # of 253 x 349
    assert canvases["default-canvas"] == canvases["square-stretch"] == (112, 112)  # of 224 x 224


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("table", ["x"]), {}, "did you mean 'table2'"),
        (("table2", ["x"]), {"models": ["resnet1"]}, "did you mean 'resnet18'"),
        (("table2", ["x"]), {"only": "stretch"}, "unknown variant 'stretch'"),
    ],
)
def test_unknown_names_propose_known_ones(arguments, options, message):
    with pytest.raises(UnknownNameError, match=message):
        plan(*arguments, **options)


def test_unknown_protocol():
    with pytest.raises(UnknownNameError, match="did you mean 'grouped'"):
        Variant(protocol="group")


def test_a_networks_colon_stays_out_of_folder_names():
    cell = PlannedRun(dataset="a", model="timm:resnet10t", variant="paper")
    assert str(cell) == "a/timm-resnet10t/paper"

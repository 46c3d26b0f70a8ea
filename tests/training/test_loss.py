"""Weights of classes and losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from covidct import Recipe
from covidct.models import CovidOutput, LabelOutputs
from covidct.training.loss import class_weights, make_loss

LABELS = LabelOutputs(("CAP", "COVID", "normal"), ("COVID",))
CPU = torch.device("cpu")


@pytest.mark.parametrize("outputs", [CovidOutput(), LABELS])
def test_balanced_weights_are_those_of_scikit_learn(outputs):
    codes = np.random.default_rng(0).integers(0, len(outputs.classes), 50)
    expected = compute_class_weight("balanced", classes=np.unique(codes), y=codes)
    weights = class_weights(Recipe(class_weight="balanced"), outputs, codes)
    np.testing.assert_allclose(weights, expected)
    expected[1] *= 3
    weights = class_weights(Recipe(class_weight="balanced", pos_weight=3), outputs, codes)
    np.testing.assert_allclose(weights, expected)


def test_a_class_without_slices_keeps_its_weight():
    codes = np.array([0, 0, 0, 1])
    weights = class_weights(Recipe(class_weight="balanced"), LABELS, codes)
    np.testing.assert_allclose(weights, [4 / 9, 4 / 3, 1])
    codes = np.array([0, 0, 0, 2])
    weights = class_weights(Recipe(class_weight="balanced"), LABELS, codes)
    np.testing.assert_allclose(weights, [4 / 9, 1, 4 / 3])
    weights = class_weights(Recipe(pos_weight=2.5), LABELS, codes)
    np.testing.assert_allclose(weights, [1, 2.5, 1])


@pytest.mark.parametrize("code", [0, 1])
def test_balanced_loss_of_one_class_is_finite(code):
    codes = np.full(8, code)
    weights = class_weights(Recipe(class_weight="balanced"), CovidOutput(), codes)
    loss = make_loss(CovidOutput(), weights, CPU)(torch.zeros(8), torch.from_numpy(codes))
    assert torch.isfinite(loss)


def test_losses_are_those_of_pytorch():
    rng = np.random.default_rng(0)
    weights, codes = np.array([0.5, 2.0, 1.0]), torch.from_numpy(rng.integers(0, 3, 20))
    outputs = torch.from_numpy(rng.normal(size=(20, 3))).float()
    expected = nn.CrossEntropyLoss(torch.tensor([0.5, 2.0, 1.0]))(outputs, codes)
    torch.testing.assert_close(make_loss(LABELS, weights, CPU)(outputs, codes), expected)
    truth = (codes == 1).long()
    expected = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(4.0))(outputs[:, 0], truth.float())
    loss = make_loss(CovidOutput(), weights[:2], CPU)(outputs[:, 0], truth)
    torch.testing.assert_close(loss, expected)
    expected = nn.CrossEntropyLoss(torch.tensor([0.5, 2.0, 1.0]), label_smoothing=0.1)(
        outputs, codes
    )
    smoothed = make_loss(LABELS, weights, CPU, smoothing=0.1)(outputs, codes)
    torch.testing.assert_close(smoothed, expected)
    expected = nn.BCEWithLogitsLoss()(outputs[:, 0], 0.9 * truth.float() + 0.05)
    smoothed = make_loss(CovidOutput(), np.ones(2), CPU, smoothing=0.1)(outputs[:, 0], truth)
    torch.testing.assert_close(smoothed, expected)

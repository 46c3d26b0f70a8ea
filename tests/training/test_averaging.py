"""Moving average of weights, against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from covidct.training._averaging import WeightAverage


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def values(model: nn.Module) -> torch.Tensor:
    return torch.cat([t.flatten() for t in model.state_dict().values()]).double()


def trained(model: nn.Module, average: WeightAverage, steps: int) -> list[torch.Tensor]:
    """Move the weights and buffers at random, and return them after each step."""
    seen = []
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                if tensor.is_floating_point():
                    tensor += torch.randn(tensor.shape, generator=generator)
        average.update()
        seen.append(values(model))
    return seen


@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_decay_grows_with_the_steps(model, decay):
    expected = values(model).numpy()
    average = WeightAverage(model, decay)
    for step, weights in enumerate(trained(model, average, 5), start=1):
        share = min(decay, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * weights.numpy()
    before = values(model)
    with average.applied():
        np.testing.assert_allclose(values(model).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(values(model), before)
    average.apply()
    np.testing.assert_allclose(values(model).numpy(), expected, rtol=1e-5, atol=1e-6)
    count = model.state_dict()["1.num_batches_tracked"]
    assert count.dtype == torch.int64


def test_a_checkpoint_continues_the_average(model):
    average = WeightAverage(model, 0.9)
    trained(model, average, 3)
    state = average.state_dict()
    other = WeightAverage(model, 0.9)
    other.load_state_dict({"steps": 3, "average": [t.clone() for t in state["average"]]})
    trained(model, average, 1)
    other.update()
    found = []
    for each in (average, other):
        with each.applied():
            found.append(values(model))
    assert torch.equal(*found)


@pytest.mark.parametrize("state", [{"steps": "3", "average": []}, {"steps": 3, "average": None}])
def test_another_form_is_refused(model, state):
    with pytest.raises(TypeError, match="state of the weight average is not valid"):
        WeightAverage(model, 0.9).load_state_dict(state)


def test_the_model_gets_its_weights_back_after_an_error(model):
    average = WeightAverage(model, 0.9)
    trained(model, average, 1)
    before = values(model)
    with pytest.raises(ZeroDivisionError), average.applied():
        raise ZeroDivisionError
    assert torch.equal(values(model), before)

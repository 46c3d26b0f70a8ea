from __future__ import annotations

import pytest
import torch
from torch import nn

import covidct
from covidct.training._depthwise import float32_depthwise

CPU = torch.device("cpu")


def depthwise(**options: int) -> nn.Conv2d:
    return nn.Conv2d(8, 8, options.pop("kernel_size", 3), groups=8, padding=1, **options)


def dtype_of_output(convolution: nn.Conv2d, dtype: torch.dtype = torch.bfloat16) -> torch.dtype:
    model = nn.Sequential(convolution)
    with float32_depthwise(model, CPU, dtype), torch.autocast("cpu", torch.bfloat16):
        return model(torch.ones(2, 8, 16, 16)).dtype


@pytest.mark.parametrize("convolution", [depthwise(stride=2), depthwise(kernel_size=5)])
def test_what_is_slow_is_computed_in_float32(convolution):
    assert dtype_of_output(convolution) == torch.float32
    assert "forward" not in vars(convolution)  # as it was


@pytest.mark.parametrize(
    "convolution",
    [depthwise(), nn.Conv2d(8, 8, 3, stride=2), depthwise(stride=2).requires_grad_(False)],
    ids=["small steps", "all channels", "frozen"],
)
def test_the_rest_is_left_alone(convolution):
    assert dtype_of_output(convolution) == torch.bfloat16


def test_nothing_happens_elsewhere():
    assert dtype_of_output(depthwise(stride=2), torch.float32) == torch.bfloat16
    strided = depthwise(stride=2)
    with float32_depthwise(strided, torch.device("cuda"), torch.bfloat16):
        assert "forward" not in vars(strided)


def test_a_failure_leaves_the_model_as_it_was():
    strided = depthwise(stride=2)
    with pytest.raises(KeyError), float32_depthwise(strided, CPU, torch.bfloat16):
        raise KeyError
    assert "forward" not in vars(strided)


def test_gradients_are_those_of_float32():
    torch.manual_seed(0)
    strided, x = depthwise(stride=2), torch.randn(2, 8, 16, 16)
    expected = torch.autograd.grad(strided(x).square().sum(), strided.weight)[0]
    with float32_depthwise(strided, CPU, torch.bfloat16), torch.autocast("cpu", torch.bfloat16):
        given = torch.autograd.grad(strided(x).square().sum(), strided.weight)[0]
    torch.testing.assert_close(given, expected)


def test_the_trainer_does_so(monkeypatch):
    model = covidct.create_model("shufflenet", weights=None, input_size=(64, 64))
    strided = next(m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1)
    seen = []
    strided.register_forward_hook(lambda module, given, output: seen.append(output.dtype))
    recipe = covidct.Recipe.demo().scaled(1)
    trainer = covidct.Trainer(model, recipe, device="cpu", precision="bfloat16")
    trainer.fit(torch.randint(0, 256, (4, 64, 64), dtype=torch.uint8).numpy(), [0, 1, 0, 1])
    assert seen == [torch.float32]

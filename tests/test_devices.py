from __future__ import annotations

import pytest
import torch

from covidct import Recipe, Trainer, create_model
from covidct.devices import resolve_precision

CPU = torch.device("cpu")


@pytest.fixture
def cpu_with_bfloat16(monkeypatch):
    monkeypatch.setattr("covidct.devices._computes_bfloat16", lambda _: True)


@pytest.mark.usefixtures("cpu_with_bfloat16")
def test_auto_follows_the_device_unless_the_network_has_a_say():
    assert resolve_precision("auto", CPU) == torch.bfloat16
    assert resolve_precision("auto", CPU, on_cpu="float32") == torch.float32
    assert resolve_precision("bfloat16", CPU, on_cpu="float32") == torch.bfloat16
    assert resolve_precision("auto", torch.device("cuda"), on_cpu="float32") == torch.bfloat16


@pytest.mark.usefixtures("cpu_with_bfloat16")
@pytest.mark.parametrize(
    ("network", "expected"),
    [("shufflenet", torch.bfloat16), ("efficientnet_lite0", torch.float32)],
)
def test_networks_train_in_the_arithmetic_that_suits_them(network, expected):
    model = create_model(network, weights=None)
    assert Trainer(model, Recipe.demo(), device="cpu").dtype == expected


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="must be one of 'float32', 'bfloat16', 'auto'"):
        resolve_precision("float16", CPU)

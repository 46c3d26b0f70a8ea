from __future__ import annotations

import pytest
import torch

from covidct.devices import resolve_precision

CPU = torch.device("cpu")


@pytest.fixture
def cpu_with_bfloat16(monkeypatch):
    monkeypatch.setattr("covidct.devices._computes_bfloat16", lambda _: True)


@pytest.mark.usefixtures("cpu_with_bfloat16")
def test_auto_follows_the_device():
    assert resolve_precision("auto", CPU) == torch.bfloat16
    assert resolve_precision("auto", torch.device("cuda")) == torch.bfloat16


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="must be one of 'float32', 'bfloat16', 'auto'"):
        resolve_precision("float16", CPU)

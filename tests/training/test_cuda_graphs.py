from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import covidct
from covidct.training import trainer as trainer_module
from covidct.training._cuda_graphs import recorded_passes


def passes(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the logits and all gradients of one training pass."""
    model.zero_grad(set_to_none=True)
    logits = model(x)
    (logits * torch.linspace(-1, 1, len(x), device=x.device)).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [logits.detach().clone(), *(g.clone() for g in gradients)]


def on_cuda(name: str) -> covidct.CTClassifier:
    torch.manual_seed(0)
    model = covidct.create_model(name, weights=None)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # what is dropped need not be the same
    return model.to("cuda", memory_format=torch.channels_last).train()


def test_nothing_happens_on_a_cpu():
    model = covidct.create_model("shufflenet", weights=None)
    with recorded_passes(model, [torch.zeros(2, 1, 64, 64)], torch.bfloat16):
        assert "forward" not in vars(model)


@pytest.mark.cuda
@pytest.mark.parametrize("name", covidct.list_models())
def test_every_network_gives_what_it_gives_unrecorded(name):
    model, x = on_cuda(name), torch.rand(8, 1, 96, 128, device="cuda")
    expected = passes(copy.deepcopy(model), x)
    before = [buffer.clone() for buffer in model.buffers()]
    with recorded_passes(model, [torch.zeros_like(x), torch.zeros_like(x[:7])], torch.float32):
        assert all(map(torch.equal, model.buffers(), before))
        given = passes(model, x)
        assert "forward" in vars(model)
        assert len(passes(model, x[:7])[0]) == 7  # recorded as well
        again = passes(model, x)
        assert len(passes(model, x[:5])[0]) == 5  # not recorded
        assert len(model.eval()(x[:3])) == 3
    assert "forward" not in vars(model)
    for replay, plain in zip(given + again, expected * 2, strict=True):
        tolerance = 2e-2 * float(plain.abs().max()) + 1e-5
        torch.testing.assert_close(replay, plain, rtol=0, atol=tolerance)


@pytest.mark.cuda
def test_a_training_takes_the_same_steps(monkeypatch):
    canvases = np.random.default_rng(0).integers(0, 256, (20, 96, 128), dtype=np.uint8)
    recipe = covidct.Recipe(batch_size=8).scaled(3)
    losses = []
    for passing in (trainer_module.recorded_passes, lambda *args: nullcontext()):
        monkeypatch.setattr(trainer_module, "recorded_passes", passing)
        trainer = covidct.Trainer(on_cuda("resnet18"), recipe, precision="float32")
        losses.append([record.loss for record in trainer.fit(canvases, np.arange(20) % 2)])
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)


@pytest.mark.cuda
def test_a_network_that_waits_for_the_device_is_trained_unrecorded(caplog):
    model = on_cuda("shufflenet")
    model.backbone.register_forward_hook(lambda module, given, output: output * output.sum().item())
    trainer = covidct.Trainer(model, covidct.Recipe(batch_size=8).scaled(2))
    canvases = np.zeros((20, 96, 128), dtype=np.uint8)
    assert len(trainer.fit(canvases, np.arange(20) % 2)) == 2
    assert "training without CUDA graphs" in caplog.text
    assert len(torch.rand(3, device="cuda")) == 3  # which a recording that failed can break


@pytest.mark.cuda
def test_a_recording_leaves_room_for_other_batches(monkeypatch, caplog):
    model, x = on_cuda("shufflenet"), torch.zeros(8, 1, 96, 128, device="cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 1))
    with recorded_passes(model, [x], torch.float32):
        assert "forward" not in vars(model)
        assert len(model(x)) == 8
    assert "not enough free memory" in caplog.text


@pytest.mark.cuda
def test_folds_in_threads_are_trained_unrecorded():
    """A recording would make the CUDA calls of the other threads fail."""
    model, x = on_cuda("shufflenet"), torch.zeros(8, 1, 96, 128, device="cuda")

    def recorded():
        with recorded_passes(model, [x], torch.float32):
            return "forward" in vars(model)

    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(recorded).result()
    assert recorded()

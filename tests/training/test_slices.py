from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from covidct.training import _slices as module
from covidct.training._slices import TrainingSlices, blocks

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
CANVASES = np.random.default_rng(0).integers(0, 256, (50, 6, 8), dtype=np.uint8)
INDEX = np.random.default_rng(1).permutation(50)[:41]


def source(device: str = "cpu", share: float = 0.0) -> TrainingSlices:
    return TrainingSlices(CANVASES, INDEX, 6, torch.device(device), share)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_epochs_hold_every_slice_in_order(device, share):
    sizes = [6] * 6 + [5]
    with source(device, share) as slices:
        assert slices.resident == (device == "cuda" and share == 1)
        for seed in range(3):
            order = torch.randperm(41, generator=torch.Generator().manual_seed(seed))
            given = [batch.cpu().numpy().copy() for batch in slices.batches(order, sizes)]
            assert [len(batch) for batch in given] == sizes
            np.testing.assert_array_equal(np.concatenate(given), CANVASES[INDEX[order]])


def test_only_a_few_batches_are_gathered_ahead(monkeypatch):
    gather, gathered = module._gather, []

    def counted(canvases, index, out):
        gathered.append(threading.current_thread())
        gather(canvases, index, out)

    monkeypatch.setattr(module, "_gather", counted)
    with source() as slices:
        batches = slices.batches(torch.arange(41), [1] * 41)
        for taken, _ in enumerate(batches):
            assert len(gathered) <= taken + module._BUFFERS
    assert len(gathered) == 41
    assert threading.main_thread() not in gathered


def test_a_step_that_fails_leaves_no_thread():
    def fail():
        with source() as slices:
            next(slices.batches(torch.arange(41), [1] * 41))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not [t for t in threading.enumerate() if t.name.startswith("covidct-batches")]


def test_blocks():
    index = np.arange(600)
    assert [len(block) for block in blocks(index)] == [256, 256, 88]
    np.testing.assert_array_equal(np.concatenate(list(blocks(index))), index)

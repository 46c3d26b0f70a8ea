from __future__ import annotations

import threading
from contextlib import nullcontext

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


def test_slices_that_fit_are_kept_on_the_device(monkeypatch):
    asked = []

    def fits(*arguments):
        asked.append(arguments)
        return True

    monkeypatch.setattr(module, "_fits", fits)
    canvases = np.random.default_rng(2).integers(0, 256, (700, 2, 3), dtype=np.uint8)
    index = np.random.default_rng(3).permutation(700)[:600]
    device = torch.device("cpu")
    with TrainingSlices(canvases, index, 100, device, 0.3) as slices:
        assert slices.resident
        assert asked == [(600 * 2 * 3, device, 0.3)]
        order = torch.randperm(600)
        given = [batch.clone() for batch in slices.batches(order, [100] * 6)]
        assert [len(batch) for batch in given] == [100] * 6
        np.testing.assert_array_equal(torch.cat(given).numpy(), canvases[index[order]])
        assert given[0].dtype == torch.uint8


def test_a_share_of_the_free_memory_is_taken(monkeypatch):
    device = torch.device("cuda", 0)
    memory = {device: (1000, 4000)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory.__getitem__)
    assert module._fits(250, device, 0.25)
    assert not module._fits(251, device, 0.25)
    assert not module._fits(1, torch.device("cpu"), 1.0)


@pytest.mark.parametrize("canvases", [CANVASES, CANVASES[:, ::-1], CANVASES[::2]])
def test_canvases_are_gathered_from_any_array(canvases):
    index, out = np.array([7, 0, 7, 24]), np.zeros((4, 6, 8), np.uint8)
    module._gather(canvases, index, out)
    np.testing.assert_array_equal(out, np.array([canvases[k] for k in index]))


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_share_is_that_of_the_argument_else_of_the_environment(monkeypatch, share):
    monkeypatch.setenv("COVIDCT_RESIDENT_SHARE", "0.5")
    assert module.checked_share(share) == share
    assert module.checked_share(None) == 0.5
    monkeypatch.setenv("COVIDCT_RESIDENT_SHARE", str(share))
    assert module.checked_share(None) == share
    monkeypatch.setenv("COVIDCT_RESIDENT_SHARE", "")
    assert module.checked_share(None) == 0.25
    monkeypatch.delenv("COVIDCT_RESIDENT_SHARE")
    assert module.checked_share(None) == 0.25


@pytest.mark.parametrize("share", [-0.1, 1.1, "much"])
def test_a_share_out_of_range_is_refused(monkeypatch, share):
    with pytest.raises(ValueError, match=r"^resident_share must be .*got"):
        module.checked_share(share)
    monkeypatch.setenv("COVIDCT_RESIDENT_SHARE", str(share))
    with pytest.raises(ValueError, match=r"^COVIDCT_RESIDENT_SHARE must be .*got"):
        module.checked_share(None)


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


def test_only_other_devices_have_a_copy_of_the_buffer():
    here = module._Buffer((2, 6, 8), torch.device("cpu"), None)
    batch = here.fill(CANVASES, np.array([4]))
    assert batch.data_ptr() == here._host.data_ptr()
    np.testing.assert_array_equal(batch.numpy(), CANVASES[[4]])
    there = module._Buffer((2, 6, 8), torch.device("meta"), None)
    batch = there.fill(CANVASES, np.array([4, 7]))
    assert (batch.device.type, batch.dtype, batch.shape) == ("meta", torch.uint8, (2, 6, 8))


def test_transfers_and_steps_wait_for_each_other(monkeypatch):
    """The order of the events of a buffer, on a device that only takes notes."""
    notes = []

    class Event:
        def __init__(self):
            self.name = ("copied", "used")[len([n for n in notes if n == "new"])]
            notes.append("new")

        def record(self, stream):
            notes.append(f"{stream.name} records {self.name}")

        def synchronize(self):
            notes.append(f"host waits for {self.name}")

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_event(self, event):
            notes.append(f"{self.name} waits for {event.name}")

    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory, **o: empty(*a, **o))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("step"))
    buffer = module._Buffer((4, 6, 8), torch.device("cpu"), Stream("copy"))
    assert notes == ["new", "new", "step records used"]
    del notes[:]
    batch = buffer.fill(CANVASES, np.array([3, 1]))
    buffer.acquire()
    buffer.release()
    np.testing.assert_array_equal(batch.numpy(), CANVASES[[3, 1]])
    assert notes == [
        "host waits for copied",
        "copy waits for used",
        "copy records copied",
        "step waits for copied",
        "step records used",
    ]

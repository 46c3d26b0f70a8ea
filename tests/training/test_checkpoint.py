from __future__ import annotations

import pickle

import pytest
import torch

from covidct.training.checkpoint import CheckpointStore


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    store = CheckpointStore(tmp_path)
    for epoch in (1, 2):
        store.save({"epoch": epoch, "weights": torch.full((500,), float(epoch))})
    return store


def test_newest_comes_first(store):
    assert store.load()["epoch"] == 2


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_checkpoint_falls_back(store, share, caplog):
    data = store.newest.read_bytes()
    store.newest.write_bytes(data[: int(len(data) * share)])
    assert store.load()["epoch"] == 1
    assert "damaged" in caplog.text


def test_flipped_bits_fall_back(store):
    data = bytearray(store.newest.read_bytes())
    at = data.index(torch.full((500,), 2.0).numpy().tobytes()[:64])
    data[at + 10] ^= 0xFF
    store.newest.write_bytes(data)
    assert store.load()["epoch"] == 1


def test_both_damaged_is_a_fresh_start(store):
    for path in (store.newest, store.previous):
        path.write_bytes(b"nothing")
    assert store.load() is None


def test_pickle_bomb_is_not_run(store, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    store.newest.write_bytes(pickle.dumps(Bomb()))
    torch.save({"epoch": Bomb()}, store.previous)
    assert store.load() is None
    assert not (tmp_path / "exploded").exists()


def test_failed_write_keeps_what_was_there(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="space"):
        store.save({"epoch": 3})
    assert store.load()["epoch"] == 2
    assert {p.name for p in store.newest.parent.iterdir()} == {
        "checkpoint.pt",
        "checkpoint.previous.pt",
    }


def test_clear(store):
    store.clear()
    assert store.load() is None

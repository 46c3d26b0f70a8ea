"""What a run goes on from: a checkpoint cut anywhere, or the state of another installation."""

from __future__ import annotations

import json
import random
import shutil

import pytest
import torch

from covidct.training.checkpoint import CheckpointStore


@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_checkpoint_cut_at_any_byte_falls_back(number, tmp_path):
    """Cut or flipped at a random byte, the newest is left aside unless it reads as it was."""
    store, rng = CheckpointStore(tmp_path), random.Random(number)
    for epoch in (1, 2):
        store.save({"epoch": epoch, "weights": torch.full((500,), float(epoch))})
    whole = store.newest.read_bytes()
    for i in range(number):
        data, at = bytearray(whole), rng.randrange(len(whole))
        if i % 2:
            data[at] ^= 1 << rng.randrange(8)
        else:
            del data[at:]
        store.newest.write_bytes(data)
        state = store.load()
        assert state["epoch"] in ((1, 2) if i % 2 else (1,))
        assert (state["weights"] == state["epoch"]).all()


def test_other_versions_are_told(cross_validate, undisturbed_run, tmp_path, caplog):
    """A run that goes on under another PyTorch may have other bits; it says so, and goes on."""
    run_dir = shutil.copytree(undisturbed_run, tmp_path / "run")
    spec = json.loads((run_dir / "run.json").read_text())
    spec["versions"]["torch"] = "1.0"
    (run_dir / "run.json").write_text(json.dumps(spec))
    (run_dir / "folds/0/predictions.csv").unlink()
    cross_validate(run_dir)
    assert "is resumed with other versions, so its results may differ" in caplog.text

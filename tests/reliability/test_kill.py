"""A run that is killed, interrupted or done twice at once ends with the bits of one left alone."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(1800)


def survive(begin, folder: Path, undisturbed, same_bits, *, kills: int) -> None:
    """Kill runs at random moments, resume each, and start another when one came to its end."""
    rng = random.Random(0)
    begun = time.monotonic()
    assert begin(folder / "timed").wait() == 0
    life = time.monotonic() - begun
    killed = number = in_mid_fold = 0
    while killed < kills:
        run_dir = folder / f"run {number}"
        fresh, begun = not run_dir.exists(), time.monotonic()
        process = begin(run_dir)
        moment = begun + rng.uniform(0, life)
        while not (ended := (run_dir / "metrics.json").exists()) and time.monotonic() < moment:
            time.sleep(0.005)
        if ended and fresh:
            life = time.monotonic() - begun  # the machine has less to do than it had
        process.send(signal.SIGKILL)
        code = process.wait()
        assert code in (0, -signal.SIGKILL), process.said()
        killed += not ended
        in_mid_fold += any(run_dir.glob("folds/*/checkpoint.pt"))
        if ended:
            same_bits(run_dir, undisturbed)
            number += 1
    process = begin(folder / f"run {number}")
    assert process.wait() == 0, process.said()
    same_bits(folder / f"run {number}", undisturbed)
    assert not list(folder.glob("run*/**/*.part"))
    assert not list(folder.glob("run*/**/checkpoint*"))
    assert in_mid_fold or kills < 10


def test_three_kills(begin, tmp_path, undisturbed, same_bits):
    survive(begin, tmp_path, undisturbed, same_bits, kills=3)


@pytest.mark.slow
def test_twenty_five_kills(begin, tmp_path, undisturbed, same_bits):
    survive(begin, tmp_path, undisturbed, same_bits, kills=25)


def test_interruption_says_how_to_go_on(begin, tmp_path, undisturbed, same_bits):
    run_dir = tmp_path / "run"
    process = begin(run_dir)
    while not (run_dir / "folds/0/checkpoint.pt").exists():
        time.sleep(0.01)
    process.send(signal.SIGINT)
    assert process.wait() == 130
    assert "interrupted; give the same command again to go on" in process.said()
    assert "Traceback" not in process.said()
    assert begin(run_dir).wait() == 0
    same_bits(run_dir, undisturbed)


def test_two_processes_on_one_folder_do_each_fold_once(begin, tmp_path, undisturbed, same_bits):
    run_dir = tmp_path / "run"
    processes = [begin(run_dir), begin(run_dir)]
    assert [process.wait() for process in processes] == [0, 0]
    said = [process.said() for process in processes]
    begun = sorted(line for text in said for line in text.splitlines() if line.startswith("fit"))
    assert begun == ["fit 0", "fit 1"]
    tables = [text[text.index("tiny on phantom") :] for text in said]
    assert tables[0] == tables[1]
    same_bits(run_dir, undisturbed)

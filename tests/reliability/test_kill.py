"""A run that is killed, interrupted or done twice at once ends with the bits of one left alone."""

from __future__ import annotations

import contextlib
import os
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
        while not (ended := (run_dir / "SHA256SUMS").exists()) and time.monotonic() < moment:
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
    assert "interrupted; give the same command again to continue" in process.said()
    assert "Traceback" not in process.said()
    assert begin(run_dir).wait() == 0
    same_bits(run_dir, undisturbed)


@pytest.mark.parametrize("number", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_checkpoint_cut_short_costs_one_epoch(number, begin, tmp_path, undisturbed, same_bits):
    """Killed between two epochs, and the newest checkpoint cut at a random byte."""
    rng = random.Random(number)
    for i in range(number):
        run_dir = tmp_path / f"run {i}"
        process = begin(run_dir)
        while not (run_dir / "folds/0/checkpoint.previous.pt").exists():
            time.sleep(0.005)
        process.send(signal.SIGKILL)
        process.wait()
        newest = run_dir / "folds/0/checkpoint.pt"
        if newest.exists():  # else it is being replaced, and the previous one is whole
            os.truncate(newest, rng.randrange(newest.stat().st_size))
        process = begin(run_dir)
        assert process.wait() == 0, process.said()
        same_bits(run_dir, undisturbed)


def workers_of(pid: int) -> list[int]:
    """Find the processes that joblib started for a run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"LokyProcess" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers in /proc")
@pytest.mark.parametrize("victim", ["run", "worker"])
def test_folds_in_processes_of_their_own(victim, begin, tmp_path, undisturbed, same_bits):
    """The run, or a worker of it as by a system short of memory, is killed; n_jobs=1 goes on."""
    run_dir = tmp_path / "run"
    process = begin(run_dir, "--n-jobs", "2")
    while not list(run_dir.glob("folds/*")):
        time.sleep(0.01)
    os.kill(process.pid if victim == "run" else workers_of(process.pid)[0], signal.SIGKILL)
    code = process.wait()
    assert code == (-signal.SIGKILL if victim == "run" else 1)
    assert "Traceback" not in process.said()
    process = begin(run_dir)
    assert process.wait() == 0, process.said()
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

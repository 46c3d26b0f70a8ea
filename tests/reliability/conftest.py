"""A small cross-validation in a process of its own, to be killed, crowded and starved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

import covidct
from covidct.runs import fold as fold_module
from covidct.training.trainer import Trainer

EPOCHS = 4


class Life:
    """One process that does the run, or goes on with it."""

    def __init__(self, server: subprocess.Popen[str], run_dir: Path, *options: str) -> None:
        self._server = server
        self.pid = self._ask("start", str(run_dir), *options)
        self._log = Path(f"{run_dir}.{self.pid}.log")

    def send(self, number: int) -> None:
        """Send a signal; the dead are not reaped before :meth:`wait`, so it hits no other."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for the end; return the exit code, negative after a signal."""
        return self._ask("wait", self.pid)

    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def _ask(self, *words: object) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{json.dumps(words)}\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@pytest.fixture(scope="session")
def server(tiny_as_json: str) -> Iterator[subprocess.Popen[str]]:
    """Do the slow imports once; see fork_server.py."""
    command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), tiny_as_json]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def begin(server: subprocess.Popen[str]) -> Callable[..., Life]:
    return partial(Life, server)


class Outcome(NamedTuple):
    """What a run is held against: its rows, and the bytes of each fitted network."""

    predictions: pd.DataFrame
    networks: list[bytes]


def outcome(run_dir: Path) -> Outcome:
    result = covidct.CrossValidationResult.load(run_dir)
    files = sorted(run_dir.glob("folds/*/model.safetensors"))
    assert len(files) == len(result.folds)
    return Outcome(result.predictions, [path.read_bytes() for path in files])


@pytest.fixture(scope="session")
def same_bits() -> Callable[[Path, Outcome], None]:
    """Assert that a run ended like another."""

    def same_bits(run_dir: Path, expected: Outcome) -> None:
        found = outcome(run_dir)
        assert found.predictions.equals(expected.predictions)
        assert found.networks == expected.networks

    return same_bits


def _cross_validate(tiny: str, run_dir: Path) -> covidct.CrossValidationResult:
    validator = covidct.CrossValidator(
        tiny,
        covidct.Recipe.demo().scaled(EPOCHS),
        cv=2,
        groups="patient",
        weights=None,
        device="cpu",
        threads=1,
        run_dir=run_dir,
    )
    return validator.run(covidct.load_dataset("phantom", n=24))


@pytest.fixture
def cross_validate(tiny: str) -> Callable[[Path], covidct.CrossValidationResult]:
    """Do the same run in this process."""
    return partial(_cross_validate, tiny)


@pytest.fixture
def frequent_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a checkpoint of every epoch, which else come every 30 seconds."""

    class Frequent(Trainer):
        def __init__(self, *args, **options) -> None:
            super().__init__(*args, **options, checkpoint_every=0.0)

    monkeypatch.setattr(fold_module, "Trainer", Frequent)


@pytest.fixture(scope="session")
def undisturbed_run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run that nothing happened to; to be copied, not changed."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    _cross_validate(tiny, run_dir)
    return run_dir


@pytest.fixture(scope="session")
def undisturbed(undisturbed_run: Path) -> Outcome:
    return outcome(undisturbed_run)

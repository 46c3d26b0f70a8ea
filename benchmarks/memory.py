"""Measure the memory and the rate of a training that takes its batches from a file.

Memory: one epoch on four fifths of N random canvases in a memory-mapped file, each N in a process
of its own. The peak is that of the anonymous memory (RssAnon of /proc/self/status, read every
20 ms); unlike the pages of the file, it cannot be discarded. --steps ends the epoch early.

Rate: an epoch from the file against an epoch from a tensor in memory, by turns.

    python benchmarks/memory.py --n 2000 20000 --size 64 96
    python benchmarks/memory.py --n 2000 20000 100000 --steps 40 --json memory.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import add_machine, make_parser, ratio, table, take_turns, write_json

import covidct
from covidct.training import trainer as trainer_module
from covidct.training._slices import TrainingSlices


class InMemory(TrainingSlices):
    """The chosen canvases in one tensor, from which batches are taken by indexing."""

    def __init__(self, canvases: Any, index: Any, *rest: Any) -> None:
        super().__init__(canvases, index, *rest)
        self._data = torch.from_numpy(np.array(canvases[index])).to(self._device)


class Enough(Exception):
    """The epoch has had as many steps as it should."""


class ShortTrainer(covidct.Trainer):
    """A trainer that stops after some steps."""

    steps = sys.maxsize

    def _step(self, *batch: Any) -> Any:
        if not self.steps:
            raise Enough
        self.steps -= 1
        return super()._step(*batch)


def make_file(path: Path, n: int, size: Sequence[int]) -> np.ndarray:
    """Write random canvases block by block, and map them."""
    canvases = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, *size))
    rng = np.random.default_rng(0)
    for start in range(0, n, 1000):
        canvases[start : start + 1000] = rng.integers(
            0, 256, (min(1000, n - start), *size), dtype=np.uint8
        )
    canvases.flush()
    return np.load(path, mmap_mode="r")


def make_trainer(options: argparse.Namespace) -> ShortTrainer:
    torch.manual_seed(0)
    model = covidct.CTClassifier(covidct.model_info(options.model))
    return ShortTrainer(model, covidct.Recipe().scaled(1), device=options.device)


def anonymous_memory() -> int:
    """Return the anonymous resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def peak_during(run: Callable[[], object]) -> int:
    peak, stop = anonymous_memory(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.02):
            peak = max(peak, anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        stop.set()
        watcher.join()
    return max(peak, anonymous_memory())


def train_once(options: argparse.Namespace) -> dict[str, Any]:
    """Train on one file, in this process; its canvases are given by --one."""
    canvases = np.load(options.one, mmap_mode="r")
    targets = np.arange(len(canvases)) % 2
    train = np.random.default_rng(1).permutation(len(canvases))[: len(canvases) * 4 // 5]
    trainer = make_trainer(options)
    trainer.steps = options.steps or sys.maxsize

    def run() -> None:
        with suppress(Enough):
            trainer.fit(canvases, targets, index=np.sort(train))

    start = time.perf_counter()
    peak = peak_during(run)
    return {"peak": peak, "seconds": time.perf_counter() - start}


def measure_memory(options: argparse.Namespace, folder: Path, n: int) -> dict[str, Any]:
    path = folder / f"{n}.npy"
    size = make_file(path, n, options.size).nbytes
    command = [sys.executable, __file__, "--one", str(path), "--model", options.model]
    command += ["--steps", str(options.steps), "--threads", str(options.threads)]
    command += ["--device", options.device]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    path.unlink()
    print(n, printed.strip(), file=sys.stderr, flush=True)
    return {"n": n, "canvases": size, **json.loads(printed)}


def measure_rate(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    canvases = make_file(folder / "rate.npy", options.rate, options.size)
    targets = np.arange(options.rate) % 2
    index = np.arange(options.rate)

    def run(source: type[TrainingSlices]) -> Callable[[], object]:
        trainer = make_trainer(options)

        def epoch() -> None:
            trainer_module.TrainingSlices = source  # type: ignore[misc]  # for this turn
            trainer.fit(canvases, targets, index=index)

        return epoch

    runs = {"file": run(TrainingSlices), "memory": run(InMemory)}
    wall, processor = take_turns(runs, options.rounds, device=options.device)
    return {
        "slices": options.rate,
        "ratio": ratio(wall, "file", "memory"),
        "ratio, by processor": ratio(processor, "file", "memory"),
        "seconds": wall,
        "processor seconds": processor,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, rounds=3)
    add_machine(parser)
    parser.add_argument("--n", type=int, nargs="*", default=[2000, 20000], metavar="N")
    parser.add_argument("--size", type=int, nargs=2, default=[225, 321], metavar=("H", "W"))
    parser.add_argument("--model", default="shufflenet", help="default: shufflenet")
    parser.add_argument("--steps", type=int, default=0, help="steps per epoch (default: 0, all)")
    parser.add_argument(
        "--rate", type=int, default=320, help="slices for the rate (default: 320; 0: none)"
    )
    parser.add_argument("--folder", type=Path, help="folder of the files (default: temporary)")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.one:
        print(json.dumps(train_once(options)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        memory = [measure_memory(options, folder, n) for n in options.n]
        rate = measure_rate(options, folder) if options.rate else None
    rows = [
        [m["n"], f"{m['canvases'] / 1e6:.0f}", f"{m['peak'] / 1e6:.0f}", f"{m['seconds']:.0f}"]
        for m in memory
    ]
    print(table(["N", "canvases, MB", "peak of anonymous memory, MB", "seconds"], rows))
    if rate:
        print(
            f"\nRate from the file, relative to memory: {rate['ratio']:.3f} "
            f"(by processor time {rate['ratio, by processor']:.3f})"
        )
    write_json(options, {"memory": memory, "rate": rate}, "torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())

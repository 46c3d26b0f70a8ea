"""Shared parts of the benchmarks: options, turns, tables, and JSON files."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import covidct

Runs = Mapping[str, Callable[[], object]]
Times = dict[str, list[float]]


def make_parser(description: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """Return a parser with ``--json``, and with ``--rounds`` where contestants take turns."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    if rounds:
        text = f"turns of each contestant, at least 3 (default: {rounds})"
        parser.add_argument("--rounds", type=_at_least(3), default=rounds, help=text)
    return parser


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_at_least(1), default=2, help="default: 2")
    parser.add_argument("--device", default="cpu", help="default: cpu")


def add_slices(parser: argparse.ArgumentParser, *, slices: int) -> None:
    parser.add_argument("--dataset", default="phantom", help="default: phantom")
    parser.add_argument("--root", type=Path, help="folder of the dataset; phantoms have none")
    parser.add_argument("--slices", type=_at_least(4), default=slices, help=f"default: {slices}")


def chosen_slices(options: argparse.Namespace) -> covidct.CTDataset:
    """Return as many slices as ``--slices`` says, drawn from the dataset."""
    if options.dataset == "phantom":
        return covidct.load_dataset("phantom", n=options.slices, seed=0)
    dataset = covidct.load_dataset(options.dataset, options.root, verify="names")
    order = np.random.default_rng(0).permutation(len(dataset))
    return dataset.subset(order[: options.slices])


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, got {text}")
        return int(text)

    return number


def take_turns(runs: Runs, rounds: int, *, device: str = "cpu") -> tuple[Times, Times]:
    """Return the wall and the processor seconds of each run, after one that isn't counted.

    Taking turns spreads what else the machine does over all of them. Processor time is that of
    this process, all its threads, and its children that ended in the turn.
    """
    wall: Times = {name: [] for name in runs}
    processor: Times = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter(), processor_seconds()
            run()
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            if turn:
                wall[name].append(time.perf_counter() - start[0])
                processor[name].append(processor_seconds() - start[1])
    return wall, processor


def processor_seconds() -> float:
    """Return the processor time of this process and its children that ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def medians(times: Times) -> dict[str, float]:
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def ratio(times: Times, one: str, other: str) -> float:
    """Return how many times longer than ``one`` the ``other`` took, in the median turn.

    Within a turn both ran under nearly the same load, unlike the medians of each.
    """
    turns = zip(times[one], times[other], strict=True)
    return statistics.median(theirs / ours for ours, theirs in turns)


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(header)
    return "\n".join(
        "| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows]
    )


def write_json(options: argparse.Namespace, results: object, *packages: str) -> None:
    """Write the results, what was asked for, and where it ran, if ``--json`` asks for it."""
    if not options.json:
        return
    asked: dict[str, Any] = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(options).items()
        if key != "json"
    }
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": {package: version(package) for package in ("covidct", *packages)},
    }
    report = {"options": asked, "machine": machine, "results": results}
    options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

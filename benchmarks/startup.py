"""What it costs to start: milliseconds of processor time over an empty interpreter.

The commands take turns, and the median of their rounds counts. Processor time, unlike wall time,
hardly depends on what else the machine does; both are written down.

    python benchmarks/startup.py --rounds 11 --json startup.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

MAIN = "import sys; from covidct.cli import main; sys.argv[0] = 'covidct'; main({})"
COMMANDS = {
    "empty interpreter": "pass",
    "import covidct": "import covidct",
    "covidct --help": MAIN.format(["--help"]),
    "covidct models": MAIN.format(["models"]),
    "covidct datasets": MAIN.format(["datasets"]),
    "import torch": "import torch",
}


def seconds(code: str) -> tuple[float, float]:
    """Return the wall and the processor time of a new interpreter."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system
    return wall, spent - before.children_user - before.children_system


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="at least 3 (default: 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error(f"--rounds must be at least 3, got {options.rounds}")
    for code in COMMANDS.values():
        seconds(code)  # warm up: files into memory, bytecode compiled
    times: dict[str, list[tuple[float, float]]] = {command: [] for command in COMMANDS}
    for _ in range(options.rounds):
        for command, code in COMMANDS.items():
            times[command].append(seconds(code))
    medians = {
        command: [1e3 * statistics.median(column) for column in zip(*rounds, strict=True)]
        for command, rounds in times.items()
    }
    empty = medians["empty interpreter"]
    print("| command | wall, ms | processor, ms | processor over empty, ms | ratio |")
    print("|---|---|---|---|---|")
    for command, (wall, spent) in medians.items():
        over = f"{spent - empty[1]:.0f} | {spent / empty[1]:.1f}"
        print(f"| {command} | {wall:.0f} | {spent:.0f} | {over} |")
    if options.json:
        report = {"python": sys.version, "milliseconds": medians, "seconds": times}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

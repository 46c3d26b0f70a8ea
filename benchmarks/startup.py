"""Measure the start-up: milliseconds of processor time beyond an empty interpreter.

The commands take turns, and the median over the turns counts. Processor time, unlike wall time,
hardly depends on other programs; both are reported.

    python benchmarks/startup.py --rounds 11 --json startup.json
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from _common import make_parser, medians, table, take_turns, write_json

MAIN = "import sys; from covidct.cli import main; sys.argv[0] = 'covidct'; main({})"
COMMANDS = {
    "empty interpreter": "pass",
    "import covidct": "import covidct",
    "covidct --help": MAIN.format(["--help"]),
    "covidct models": MAIN.format(["models"]),
    "covidct datasets": MAIN.format(["datasets"]),
    "import torch": "import torch",
}


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def main(arguments: Sequence[str] | None = None) -> int:
    options = make_parser(__doc__, rounds=7).parse_args(arguments)
    runs = {command: partial(run, code) for command, code in COMMANDS.items()}
    wall, processor = (
        {command: 1e3 * seconds for command, seconds in medians(times).items()}
        for times in take_turns(runs, options.rounds)
    )
    empty = processor["empty interpreter"]
    results = [
        {
            "command": command,
            "wall, ms": wall[command],
            "processor, ms": spent,
            "processor over empty, ms": spent - empty,
            "ratio": spent / empty,
        }
        for command, spent in processor.items()
    ]
    rows = (
        [name, *(f"{figure:.0f}" for figure in figures), f"{times:.1f}"]
        for name, *figures, times in (result.values() for result in results)
    )
    print(table(results[0], rows))
    write_json(options, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())

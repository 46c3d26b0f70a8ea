"""Compare five folds with five times one fold, one by one and two at a time.

Five folds should cost no more than five times one: canvases are made once, and a fold does not
slow later folds. Two folds at a time share the threads, so that the number of threads stays the
same. The contestants take turns, after one turn that is not counted. The canvases of the first
turn are kept, as between runs; the start of two processes is part of "two at a time".

    python benchmarks/folds.py --dataset covid19-ct --root COVID19-CT --models shufflenet --epochs 2
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from _common import (
    add_machine,
    add_slices,
    chosen_slices,
    make_parser,
    medians,
    ratio,
    table,
    take_turns,
    write_json,
)
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import StratifiedKFold

import covidct
from covidct.runs.splits import LeakageWarning

FOLDS = 5


class FirstFold(StratifiedKFold):
    """The first of the folds."""

    def split(self, *data: Any) -> Iterable[tuple[Any, Any]]:
        return islice(super().split(*data), 1)


def run(name: str, slices: covidct.CTDataset, options: argparse.Namespace, **how: Any) -> None:
    recipe = covidct.Recipe().scaled(options.epochs)
    covidct.CrossValidator(name, recipe, weights=None, device=options.device, **how).run(slices)
    get_reusable_executor().shutdown()  # for the processor time of its processes to be known


def measure(name: str, slices: covidct.CTDataset, options: argparse.Namespace) -> dict[str, Any]:
    train = partial(run, name, slices, options)
    halves = max(1, options.threads // 2)
    runs = {
        "one": partial(train, cv=FirstFold(FOLDS), threads=options.threads),
        "five": partial(train, cv=FOLDS, threads=options.threads),
        "two at a time": partial(train, cv=FOLDS, threads=halves, n_jobs=2),
    }
    wall, processor = take_turns(runs, options.rounds, device=options.device)
    return {
        "network": name,
        "slices": len(slices),
        "wall seconds": medians(wall),
        "processor seconds": medians(processor),
        "five of five times one": 1 / ratio(wall, "five", "one") / FOLDS,
        "two at a time of five": 1 / ratio(wall, "two at a time", "five"),
        "seconds": wall,
        "seconds of processors": processor,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, rounds=3)
    add_machine(parser)
    add_slices(parser, slices=160)
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each fold (default: 2)")
    parser.add_argument("--models", nargs="+", default=["shufflenet"], metavar="NAME")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", LeakageWarning)  # no score is looked at
    slices = chosen_slices(options)
    results = [measure(name, slices, options) for name in options.models]
    header = ["network", *(f"{run}, s (processor)" for run in results[0]["wall seconds"])]
    rows = (
        [
            result["network"],
            *(
                f"{seconds:.1f} ({result['processor seconds'][run]:.1f})"
                for run, seconds in result["wall seconds"].items()
            ),
            f"{result['five of five times one']:.3f}",
            f"{result['two at a time of five']:.3f}",
        ]
        for result in results
    )
    print(table([*header, "five of five times one", "two at a time of five"], rows))
    write_json(options, results, "torch", "joblib")
    return 0


if __name__ == "__main__":
    sys.exit(main())

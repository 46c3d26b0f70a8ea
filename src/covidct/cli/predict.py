"""Score new slices with the fitted folds of a run.

For research; no medical device. A slice that looks unlike those the networks were fitted to is
said to, in the column of doubts.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .options import emit

if TYPE_CHECKING:
    from ..runs.predictor import Prediction

EXAMPLE = "covidct predict runs/mine new-slices/ --json > predictions.jsonl"

_COLUMNS = ("path", "probability", "spread", "doubts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a finished run")
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="images or folders")
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="what to do about a file that cannot be read (default: %(default)s)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="write one JSON object a line")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from .. import Predictor

    predictor = Predictor.from_run(args.run_dir, device=args.device)
    stream = predictor.stream(args.paths, on_error=args.on_error, batch_size=args.batch_size)
    if args.json:
        for prediction in stream:
            emit(json.dumps(_row(prediction), allow_nan=False))
        return
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for prediction in stream:
        row = _row(prediction)
        writer.writerow({**row, "doubts": "; ".join(prediction.doubts)})


def _row(prediction: Prediction) -> dict[str, object]:
    from .._files import json_ready

    row: dict[str, object] = json_ready({name: getattr(prediction, name) for name in _COLUMNS})
    return row

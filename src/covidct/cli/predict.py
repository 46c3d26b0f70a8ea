"""Score new slices with the fitted folds of a run.

A folder with one DICOM series, or a multi-frame file, is a volume: its slices are listed in the
order of the body, each with its position in mm and the score of the volume, which is the mean of
the highest third of its slices. The column of doubts marks slices that look unlike the training
slices, or that are training slices. For research; not a medical device.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from .._text import printable
from .options import add_layer, add_on_error, emit

if TYPE_CHECKING:
    from PIL import Image

    from ..runs.predictor import Prediction, Predictor

_LOG = logging.getLogger(__name__)

EXAMPLE = "covidct predict runs/mine new-slices/ --json > predictions.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="images, folders or DICOM series"
    )
    add_on_error(parser)
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, help="slices per batch (default: %(default)s)"
    )
    parser.add_argument(
        "--cam", type=Path, metavar="FOLDER", help="draw the Grad-CAM map of each slice there"
    )
    add_layer(parser)
    parser.add_argument(
        "--series", metavar="UID", help="DICOM series to score, if a folder holds several"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FOLDER",
        help="draw the probability along the body of each volume there",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from .. import Predictor
    from ..runs.predictor import with_images

    predictor = Predictor.from_run(args.run_dir, device=args.device)
    stream = predictor.stream(
        args.paths, on_error=args.on_error, batch_size=args.batch_size, series=args.series
    )
    if args.plot is not None:
        stream = _plot_volumes(stream, args.plot)
    pairs = with_images(stream) if args.cam is not None else ((p, None) for p in stream)
    write = _write_json if args.json else _csv_writer()
    for number, (prediction, image) in enumerate(pairs, start=1):
        if image is not None:
            _draw_map(args, predictor, prediction, image, number)
        write(prediction)


def _plot_volumes(stream: Iterator[Prediction], folder: Path) -> Iterator[Prediction]:
    """Plot each volume before passing on its slices."""
    from ..explain.figures import volume_profile
    from ..explain.fold import save_figure
    from ..runs.predictor import VolumePrediction

    plotted = False
    for path, slices in groupby(stream, key=lambda prediction: prediction.volume):
        if path is None:
            yield from slices
            continue
        volume = VolumePrediction(path, tuple(slices))
        parts = zip(*((p.probability, p.spread) for p in volume.slices), strict=True)
        figure = volume_profile(volume.positions, *parts, aggregate=volume.probability)
        save_figure(figure, folder / f"{Path(path).resolve().name}.png")
        plotted = True
        yield from volume.slices
    if not plotted:
        _LOG.warning(
            "no plot saved: no PATH is a single DICOM series; choose one of several by --series"
        )


def _draw_map(
    args: argparse.Namespace,
    predictor: Predictor,
    prediction: Prediction,
    image: Image.Image,
    number: int,
) -> None:
    from ..explain.fold import draw_map

    # Numbered, since files in several folders may share a name; cut, since a name may have the
    # length that the file system allows.
    name = printable(Path(prediction.path).name)[:60]
    picture = args.cam / f"{number:05d}-{name}.png"
    draw_map(predictor, prediction, image, picture, layer=args.layer)


def _write_json(prediction: Prediction) -> None:
    from .._files import json_ready

    emit(json.dumps(json_ready(prediction.to_dict()), allow_nan=False))


def _csv_writer() -> Callable[[Prediction], None]:
    from .._files import json_ready

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names may be any bytes
    writer = csv.writer(sys.stdout, lineterminator="\n")
    header = True

    def write(prediction: Prediction) -> None:
        nonlocal header
        row = prediction.to_dict() | {"doubts": "; ".join(prediction.doubts)}
        if header:  # written with the first row, so that a wrong path leaves an empty file
            writer.writerow(row)
            header = False
        writer.writerow(json_ready(row).values())

    return write

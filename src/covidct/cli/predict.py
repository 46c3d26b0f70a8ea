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
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .._text import printable
from .options import add_layer, add_on_error, emit

if TYPE_CHECKING:
    from PIL import Image

    from ..runs.predictor import Prediction, Predictor, VolumePrediction

_LOG = logging.getLogger(__name__)

EXAMPLE = "covidct predict runs/mine new-slices/ --json > predictions.jsonl"

_COLUMNS = (
    *("path", "probability", "spread", "doubts"),
    *("position", "volume", "volume_probability"),  # empty for single slices
)


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


class _Scored(NamedTuple):
    """A scored slice, a function that reads its image, and its volume."""

    prediction: Prediction
    image: Callable[[], Image.Image]
    position: float | None = None
    volume: VolumePrediction | None = None

    def row(self) -> dict[str, object]:
        from .._files import json_ready

        named = {name: getattr(self.prediction, name) for name in _COLUMNS[:4]}
        whole = (None, None) if self.volume is None else (self.volume.path, self.volume.probability)
        row: dict[str, object] = json_ready(
            {**named, "position": self.position, "volume": whole[0], "volume_probability": whole[1]}
        )
        return row


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from .. import Predictor

    predictor = Predictor.from_run(args.run_dir, device=args.device)
    write = _write_json if args.json else _csv_writer()
    for number, scored in enumerate(_score(args, predictor), start=1):
        if args.cam is not None and scored.prediction.canvas is not None:
            _draw_map(args, predictor, scored, number)
        write(scored)


def _score(args: argparse.Namespace, predictor: Predictor) -> Iterator[_Scored]:
    from ..datasets.dicom import is_volume

    def whole(path: Path) -> bool:
        return is_volume(path) or (args.series is not None and path.is_dir())

    plotted = False
    for volumes, paths in groupby(args.paths, key=whole):
        if volumes:
            plotted = True
            for path in paths:
                yield from _score_volume(args, predictor, path)
            continue
        stream = predictor.stream(paths, on_error=args.on_error, batch_size=args.batch_size)
        yield from (_Scored(p, partial(_read, p.path)) for p in stream)
    if args.plot is not None and not plotted:
        _LOG.warning("nothing was plotted: no PATH is one DICOM series; choose one with --series")


def _score_volume(args: argparse.Namespace, predictor: Predictor, path: Path) -> Iterator[_Scored]:
    from PIL import Image

    series = args.series if path.is_dir() else None
    volume = predictor.volume(path, series=series, batch_size=args.batch_size)
    if args.plot is not None:
        _plot(volume, args.plot / f"{path.resolve().name}.png")
    parts = zip(volume.slices, volume.pixels, volume.positions, strict=True)
    for prediction, pixels, position in parts:
        yield _Scored(prediction, partial(Image.fromarray, pixels), float(position), volume)


def _plot(volume: VolumePrediction, path: Path) -> None:
    from ..explain.figures import volume_profile
    from ..explain.fold import save_figure

    each = [(p.probability, p.spread) for p in volume.slices]
    figure = volume_profile(
        volume.positions, *zip(*each, strict=True), aggregate=volume.probability
    )
    save_figure(figure, path)


def _draw_map(args: argparse.Namespace, predictor: Predictor, scored: _Scored, number: int) -> None:
    from ..explain.fold import draw_map

    # Numbered, since files in different folders may have the same name.
    name = printable(Path(scored.prediction.path).name)[:60]  # names may be of any length
    picture = args.cam / f"{number:05d}-{name}.png"
    draw_map(predictor, scored.prediction, scored.image(), picture, layer=args.layer)


def _read(path: str) -> Image.Image:
    from ..datasets.reading import read_image
    from ..transforms import to_grayscale

    return to_grayscale(read_image(path))


def _write_json(scored: _Scored) -> None:
    emit(json.dumps(scored.row(), allow_nan=False))


def _csv_writer() -> Callable[[_Scored], None]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names may be any bytes
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    header = True

    def write(scored: _Scored) -> None:
        nonlocal header
        if header:  # with the first row, so that a wrong path writes nothing
            writer.writeheader()
            header = False
        writer.writerow({**scored.row(), "doubts": "; ".join(scored.prediction.doubts)})

    return write

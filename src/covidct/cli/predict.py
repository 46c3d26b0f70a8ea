"""Predict COVID-19 in new slices, volumes and patients with the networks of a run.

Folders are searched for images, CT series in DICOM files, and NIfTI, MHA or NRRD files. The slices
of a volume are listed from the feet to the head. The probability of a volume or patient is the mean
over the slices that show lung; if no lung is recognized, it is the mean over all slices, which is
noted as a doubt. With options of the decision rule, rows also contain the calibrated probability
and the decision. The rule is fitted to the out-of-fold predictions of the run, per slice, or per
patient with --per patient and --per volume. The column of doubts marks slices that differ from the
training slices or are among them. A summary is written to standard error. For research; not a
medical device.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .._text import counted, printable
from .options import add_layer, add_on_error
from .output import emit
from .rule_options import add_rule, read_rule
from .wrong_call import WrongCallError

if TYPE_CHECKING:
    from PIL import Image

    from ..datasets.slices import Found
    from ..evaluation.decision_rule import DecisionRule
    from ..runs.predictions import PatientPrediction, Prediction, VolumePrediction
    from ..runs.predictor import Predictor

_LOG = logging.getLogger(__name__)

EXAMPLE = (
    "covidct predict runs/mine new-slices/ --json > predictions.jsonl\n"
    "  covidct predict runs/mine dicom-archive/ --per patient --sensitivity 0.95 > patients.csv"
)
# Maximum number of volumes in the summary, and of characters of a name in a file name.
_NAMED = 10
_LONGEST = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "run_dir",
        type=Path,
        metavar="RUN",
        help="folder of a finished run, or folder or ONNX file that covidct export wrote",
    )
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="images, DICOM files, volume files, or folders that contain them at any depth",
    )
    parser.add_argument(
        "--per",
        choices=("slice", "volume", "patient"),
        default="slice",
        help="print a row for each of these (default: %(default)s). A patient is known by the "
        "PatientID of DICOM files, else each volume or image is one",
    )
    parser.add_argument(
        "--one-per-patient",
        action="store_true",
        help="score only one series of each patient: original slices rather than derived ones, "
        "then the one with the most slices",
    )
    parser.add_argument(
        "--series", metavar="UID", help="DICOM series to score, if a folder contains several"
    )
    add_rule(parser)
    add_on_error(parser)
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, help="slices per batch (default: %(default)s)"
    )
    parser.add_argument(
        "--cam", type=Path, metavar="FOLDER", help="folder for the Grad-CAM map of each slice"
    )
    add_layer(parser)
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FOLDER",
        help="folder for a plot of the probability along the body of each volume",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..runs.predictions import Predictions, by_volume
    from ..runs.predictor import find_in_order

    predictor = _load(args)
    found = find_in_order(args.paths, on_error=args.on_error, one_per_patient=args.one_per_patient)
    stream = predictor.stream(
        found, on_error=args.on_error, batch_size=args.batch_size, series=args.series
    )
    summary, write = _Summary(), _Writer(predictor.rule, as_json=args.json)
    plots = _plot_names(found) if args.plot is not None else {}
    scored: list[Prediction] = []  # without pixels; kept only if patients are printed
    number = 0
    for volume in by_volume(stream):
        summary.add(volume)
        if volume.name in plots:
            _plot(volume, args.plot / plots[volume.name])
        if args.cam is not None:
            _draw_maps(args, predictor, volume, number)
        number += len(volume)
        if args.per == "patient":
            scored.extend(volume.slices)
        for row in volume.slices if args.per == "slice" else [volume] * (args.per == "volume"):
            write(row)
    for patient in Predictions(scored).patients:
        write(patient)
    if args.plot is not None and not summary.volumes:
        _LOG.warning("no plot saved: there is no volume among the paths")
    sys.stderr.write(f"{summary}\n")


def _load(args: argparse.Namespace) -> Predictor:
    """Load the networks of a run or an export."""
    from .. import Predictor

    options = read_rule(args)
    given = any(value is not None for value in options.values())
    if args.run_dir.suffix.lower() == ".onnx" and args.cam is not None:
        raise WrongCallError("--cam needs networks with feature maps, which an ONNX file lacks")
    if (args.run_dir / "run.json").is_file() or not args.run_dir.exists():
        if given:
            options["per"] = "slice" if args.per == "slice" else "patient"
        return Predictor.from_run(args.run_dir, device=args.device, **options)
    if given:
        raise WrongCallError(
            "options of the decision rule need a run; exported networks have the rule that "
            "covidct export was given"
        )
    return Predictor.load(args.run_dir, device=args.device)


class _Summary:
    """Counts of scored slices, volumes and patients, and the doubts about each volume."""

    def __init__(self) -> None:
        self.volumes = 0
        self._counts: Counter[str] = Counter()
        self._patients: set[str] = set()
        self._doubts: Counter[str] = Counter()
        self._lines: list[str] = []

    def add(self, volume: VolumePrediction) -> None:
        """Add a volume, or a single image."""
        self._counts["unread"] += sum(not p.readable for p in volume.slices)
        self._patients.update(filter(None, [volume.patient]))
        if volume.slices[0].volume is None:
            self._counts["images"] += 1
            self._doubts.update(d for p in volume.counted for d in p.doubts)
            return
        self.volumes += 1
        self._counts["slices"] += len(volume)
        self._counts["lung"] += volume.lung_slices or 0
        if len(self._lines) < _NAMED:
            doubts = "".join(f"; {doubt}" for doubt in volume.doubts)
            self._lines.append(
                f"  {printable(volume.name)}: {volume.probability:.3f} "
                f"(spread {volume.spread:.3f}, {counted(len(volume.counted), 'slice')} counted "
                f"of {len(volume):,}){doubts}"
            )

    def __str__(self) -> str:
        parts = []
        if self.volumes:
            parts.append(
                f"{counted(self.volumes, 'volume')} with "
                f"{counted(self._counts['slices'], 'slice')}, {self._counts['lung']:,} of lung"
            )
        if self._counts["images"]:
            parts.append(counted(self._counts["images"], "single image"))
        if self._patients:
            parts.append(counted(len(self._patients), "patient") + " by PatientID")
        if self._counts["unread"]:
            parts.append(f"{counted(self._counts['unread'], 'slice')} not readable")
        lines = [f"scored {'; '.join(parts)}", *self._lines]
        if self.volumes > len(self._lines):
            lines.append(f"  and {counted(self.volumes - len(self._lines), 'more volume')}")
        lines += [f"  doubt: {d} ({counted(n, 'image')})" for d, n in self._doubts.most_common(5)]
        return "\n".join(lines)


def _plot_names(found: Found) -> dict[str, str]:
    """Return a file name for each volume: its path relative to the common folder of all volumes."""
    from ..explain.figures import below_common_folder

    names: dict[str, str] = {}
    used: Counter[str] = Counter()
    short = below_common_folder([volume.name for volume in found.volumes]) if found.volumes else []
    for volume, name in zip(found.volumes, short, strict=True):
        # The end tells names apart; a file system allows about 255 bytes, and may ignore case.
        stem = printable(name.replace("/", "-").replace("\\", "-").lstrip("."))[-_LONGEST:]
        used[stem.lower()] += 1
        count = used[stem.lower()]
        names[volume.name] = f"{stem}.png" if count == 1 else f"{stem} ({count}).png"
    return names


def _plot(volume: VolumePrediction, path: Path) -> None:
    from ..explain.figures import save_figure, volume_profile

    probabilities = [p.probability for p in volume.slices]
    spreads = [p.spread for p in volume.slices]
    counted = set(map(id, volume.counted))
    figure = volume_profile(
        volume.positions,
        probabilities,
        spreads,
        aggregate=volume.probability,
        counted=[id(p) in counted for p in volume.slices],
        rule=_rule_in_words(volume),
    )
    save_figure(figure, path)


def _rule_in_words(volume: VolumePrediction) -> str:
    """Describe the slices over which the probability of a volume is the mean."""
    count = counted(len(volume.counted), "slice")
    if any(p.lung for p in volume.counted):
        return f"mean over the {count} that show{'s' * (len(volume.counted) == 1)} lung"
    if len(volume.counted) == len(volume):
        return f"mean over all {count}"
    return f"mean over the {count} that could be read"


def _draw_maps(
    args: argparse.Namespace, predictor: Predictor, volume: VolumePrediction, drawn: int
) -> None:
    from ..explain.new_slices import draw_map
    from ..runs.predictions import with_images

    pairs: Iterator[tuple[Prediction, Image.Image | None]]
    pairs = with_images(volume.slices, window=predictor.window)
    for number, (prediction, image) in enumerate(pairs, start=drawn + 1):
        if image is not None:
            # Numbered, since files in several folders may share a name; cut, since a name may have
            # the length that the file system allows.
            name = printable(Path(prediction.name).name)[:60]
            picture = args.cam / f"{number:05d}-{name}.png"
            draw_map(predictor, prediction, image, picture, layer=args.layer)


class _Writer:
    """Write rows to standard output as CSV, or as one JSON object per line."""

    def __init__(self, rule: DecisionRule | None, *, as_json: bool) -> None:
        self._rule = rule
        self._as_json = as_json
        self._has_header = False
        if not as_json and isinstance(sys.stdout, io.TextIOWrapper):
            # File names may be any bytes, and have characters that a Windows code page lacks.
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        self._csv = csv.writer(sys.stdout, lineterminator="\n")

    def __call__(self, row: Prediction | VolumePrediction | PatientPrediction) -> None:
        from .._files import json_ready
        from ..runs.predictions import to_row

        content = to_row(row, self._rule)
        if self._as_json:
            emit(json.dumps(json_ready(content), allow_nan=False))
            return
        if not self._has_header:  # not before the first row, so that a wrong path prints nothing
            self._csv.writerow(content)
            self._has_header = True
        content["doubts"] = "; ".join(row.doubts)
        self._csv.writerow(json_ready(content).values())

"""Compare ways to score a folder: covidct's Predictor, a script of timm and PIL, the forward pass.

The contestants take turns on the same files with the same network, after one turn that is not
counted; a ratio is the median over the turns. The bare forward pass scores canvases in memory: only
overlapping work can be faster.

With ``--memory``, the script measures the peak of anonymous memory (RssAnon, without mapped
files) of make_canvases and of Predictor for growing numbers of slices, each in its own process,
on links to a thousand small phantoms.

    python benchmarks/inference.py --dataset covid19-ct --root COVID19-CT --slices 256
    python benchmarks/inference.py --memory --sizes 1000 10000 100000 --canvas 48 64
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    add_machine,
    add_slices,
    make_parser,
    medians,
    ratio,
    table,
    take_turns,
    write_json,
)
from PIL import Image

import covidct
from covidct.datasets.canvases import make_canvases
from covidct.inference import infer
from covidct.runs.out_of_distribution import TrainingReference, descriptors

# timm's names of networks that covidct builds from torchvision; squeezenet and shufflenet it lacks.
TIMM = {
    "resnext50": "resnext50_32x4d",
    "resnext101": "resnext101_32x8d",
    "xception": "legacy_xception",
}
BATCH = 32
# Files in a folder: more would make the listing of a folder, which no one can stream, count.
FOLDER = 1000


def predictor(model: covidct.CTClassifier, device: str) -> covidct.Predictor:
    """Return a Predictor of one network, to which a handful of phantoms is usual."""
    phantoms = make_canvases(covidct.load_dataset("phantom", n=8, seed=0), model.input_size)
    features = infer(model, phantoms, features=True).features
    usual = {"features": np.asarray(features, np.float64), **descriptors(phantoms)}
    return covidct.Predictor([model], [TrainingReference.fit(usual, usual)], device=device)


def peer(name: str, size: tuple[int, int], files: Sequence[Path], device: str) -> Any:
    """Return a loop over files, as one would write it."""
    import timm  # here, so that it is no part of what --memory measures
    from timm.data import create_transform

    model = timm.create_model(TIMM.get(name, name), num_classes=1).eval().to(device)
    transform = create_transform((3, *size), crop_pct=1.0)

    def score() -> list[float]:
        scores: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(files), BATCH):
                images = [Image.open(path).convert("RGB") for path in files[start : start + BATCH]]
                batch = torch.stack([transform(image) for image in images]).to(device)
                scores += model(batch).sigmoid().squeeze(1).tolist()
        return scores

    return score


def compare(name: str, files: Sequence[Path], options: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    model = covidct.create_model(name, weights=None).eval()
    model = model.to(options.device, memory_format=torch.channels_last)
    size = model.input_size
    canvases = torch.randint(0, 256, (BATCH, 1, *size), dtype=torch.uint8, device=options.device)

    def forward() -> None:
        with torch.inference_mode():
            for start in range(0, len(files), BATCH):
                model(canvases[: len(files) - start])

    scorer = predictor(model, options.device)
    runs = {
        "forward": forward,
        "covidct": lambda: scorer.predict(files),
        "peer": peer(name, size, files, options.device),
    }
    wall, processor = take_turns(runs, options.rounds, device=options.device)
    return {
        "network": name,
        "slices": len(files),
        "images per second": {run: len(files) / s for run, s in medians(wall).items()},
        "of forward": ratio(wall, "covidct", "forward"),
        "times peer": ratio(wall, "covidct", "peer"),
        "seconds": wall,
        "processor seconds": processor,
    }


def speed(options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        if options.dataset == "phantom":
            covidct.load_dataset("phantom", n=options.slices, seed=0).save(folder)
            dataset = covidct.load_dataset("folder", folder)
        else:
            dataset = covidct.load_dataset(options.dataset, options.root, verify="names")
        order = np.random.default_rng(0).permutation(len(dataset))[: options.slices]
        files = [dataset.paths[i] for i in order]
        results = [compare(name, files, options) for name in options.models]
    header = ("network", "forward", "covidct", "peer", "of forward", "times peer")
    rows = (
        (
            result["network"],
            *(f"{rate:.1f}" for rate in result["images per second"].values()),
            f"{result['of forward']:.2f}",
            f"{result['times peer']:.2f}",
        )
        for result in results
    )
    print("Images per second:\n\n" + table(header, rows))
    return results


@contextmanager
def links(options: argparse.Namespace) -> Iterator[Path]:
    """Make a thousand phantoms, and for each size a folder of so many links to them."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pixels = tuple(2 * side for side in options.canvas)
        phantoms = covidct.load_dataset("phantom", n=FOLDER, seed=0, size=pixels)
        phantoms.save(root / "phantoms")
        files = sorted((root / "phantoms").rglob("*.png"))
        for size in options.sizes:
            for i in range(size):
                parent = root / str(size) / ("COVID", "non-COVID")[i % 2] / f"{i // FOLDER:04}"
                if i % FOLDER < 2:
                    parent.mkdir(parents=True)
                os.link(files[i % len(files)], parent / f"{i:06}.png")
        yield root


def anonymous_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


class PeakMemory:
    """Watch the anonymous memory of this process from a thread."""

    def __enter__(self) -> PeakMemory:
        self.before = self.peak = anonymous_megabytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, anonymous_megabytes())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def canvases_of(folder: str, options: argparse.Namespace) -> None:
    make_canvases(covidct.load_dataset("folder", folder), options.canvas, n_jobs=options.threads)


def predict(folder: str, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = covidct.create_model(options.models[0], None, input_size=tuple(options.canvas))
    for _ in predictor(model, options.device).stream(folder):
        pass


TASKS = {"canvases": canvases_of, "predictor": predict}


def watch(task: str, folder: str, options: argparse.Namespace) -> tuple[float, float, float]:
    """Do a task; return the anonymous memory before it, at its peak, and its seconds."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["COVIDCT_CACHE"] = cache
        start = time.perf_counter()
        with PeakMemory() as memory:
            TASKS[task](folder, options)
        return memory.before, memory.peak, time.perf_counter() - start


def memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    results = []
    # Forked, so that each starts from the same imports, and nothing of one is left to the next.
    with links(options) as root, get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        for task, size in product(TASKS, options.sizes):
            before, peak, seconds = pool.apply(watch, (task, str(root / str(size)), options))
            results.append(
                {
                    "task": task,
                    "slices": size,
                    "before, MB": before,
                    "peak, MB": peak,
                    "seconds": seconds,
                    "ms per slice": 1e3 * seconds / size,
                }
            )
    rows = (
        (task, f"{size:,}", *(f"{n:.0f}" for n in (*megabytes, seconds)), f"{each:.2f}")
        for task, size, *megabytes, seconds, each in (result.values() for result in results)
    )
    print("Anonymous memory:\n\n" + table(results[0], rows))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, rounds=3)
    add_machine(parser)
    add_slices(parser, slices=128)
    parser.add_argument("--models", nargs="+", default=["resnet18"], metavar="NAME")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000], metavar="N")
    parser.add_argument(
        "--canvas", type=int, nargs=2, default=(48, 64), help="(height, width) for --memory"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    results = memory(options) if options.memory else speed(options)
    write_json(options, results, "torch", "timm", "pillow")
    return 0


if __name__ == "__main__":
    sys.exit(main())

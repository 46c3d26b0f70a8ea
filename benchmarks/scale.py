"""Measure how the commands grow with the number of slices: audit, train, predict and report.

N small gray PNG files are written, 20 slices for each patient, whose neighbors are alike as those
of a scan are. Then each command runs in a process of its own, with an empty cache at first. The
same is done with N / 10 files. The peak of the anonymous memory (RssAnon of /proc/PID/status, read
every 50 ms) does not contain the pages of mapped files, which can be discarded. A command grows
faster than N if it takes more than 10 times the processor time for 10 times as many files, with the
margin ``--margin``; unlike seconds, processor time hardly depends on what else the machine does.

--decode N instead compares the canvases per second with Pillow's own decoding and resizing of the
same N files in as many threads, by turns.

    python benchmarks/scale.py --n 20000 --json scale.json
    python benchmarks/scale.py --decode 2000 --file-size 512 512 --size 225 321
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _common import make_parser, processor_seconds, ratio, table, take_turns, write_json
from PIL import Image

import covidct
from covidct.datasets.canvases import clear_canvases, make_canvases

PER_PATIENT = 20
RUN_CLI = "import sys; from covidct.cli import main; sys.exit(main())"


def write_files(folder: Path, n: int, size: Sequence[int]) -> None:
    """Write n files in a folder per patient; the slices of a patient change gradually."""

    def patient(number: int) -> None:
        rng = np.random.default_rng(number)
        target = number % 2
        place = folder / ("non-COVID", "COVID")[target] / f"patient-{number:06}"
        place.mkdir(parents=True, exist_ok=True)
        first, last = (_texture(rng, size) for _ in range(2))
        for k in range(min(PER_PATIENT, n - number * PER_PATIENT)):
            share = k / PER_PATIENT
            image = (1 - share) * first + share * last + 12 * target
            image += rng.normal(0, 3, size)
            picture = Image.fromarray(image.clip(0, 255).astype(np.uint8))
            picture.save(place / f"{k:03}.png", compress_level=1)

    with ThreadPoolExecutor() as pool:
        list(pool.map(patient, range(-(-n // PER_PATIENT))))


def _texture(rng: np.random.Generator, size: Sequence[int]) -> np.ndarray:
    """Draw structures of three sizes, the finest two pixels wide, of one patient."""
    texture = np.full(size, 100.0)
    for grain, contrast in ((16, 40), (6, 30), (2, 20)):
        levels = rng.normal(0, contrast, (max(2, size[0] // grain), max(2, size[1] // grain)))
        coarse = Image.fromarray(levels.astype(np.float32))
        texture += np.asarray(coarse.resize(tuple(size)[::-1], Image.Resampling.BICUBIC))
    return texture


def commands(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[str], Path]]:
    """Yield the name of each part, its command, and the file that takes what it prints."""
    dataset = ["--dataset", f"folder={folder / 'slices'}", "--groups", "folder"]
    run = folder / "run"
    size = "[{},{}]".format(*options.size)
    train = ["--model", options.model, "--weights", "none", "--epochs", "1", "--folds", "2"]
    train += ["--set", f"canvas={size}", "--protocol", "grouped", "--threads", str(options.threads)]
    train += ["--device", options.device, "--run-dir", str(run)]
    yield "audit", ["audit", *dataset, "--json"], folder / "audit.json"
    yield "train", ["train", *dataset, *train], folder / "train.txt"
    new = [str(run), str(folder / "slices"), "--device", options.device]
    yield "predict", ["predict", *new], folder / "predictions.csv"
    yield "report", ["report", str(run), *dataset], folder / "report.txt"


def anonymous_memory(process: int) -> int:
    """Return the anonymous resident memory of a process in bytes; 0 after its end."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def run_part(arguments: list[str], output: Path, cache: Path) -> dict[str, float]:
    environment = {**os.environ, "COVIDCT_CACHE": str(cache)}
    start, processor, peak = time.perf_counter(), processor_seconds(), 0
    with output.open("wb") as file, output.with_suffix(".err").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN_CLI, *arguments],
            stdout=file,
            stderr=errors,
            env=environment,
        )
        while process.poll() is None:
            peak = max(peak, anonymous_memory(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(output.with_suffix(".err").read_text(encoding="utf-8"))
    return {
        "seconds": time.perf_counter() - start,
        "processor": processor_seconds() - processor,
        "peak": peak,
    }


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(options: argparse.Namespace, folder: Path, n: int) -> dict[str, dict[str, float]]:
    folder.mkdir()
    write_files(folder / "slices", n, options.file_size)
    parts = {}
    for name, arguments, output in commands(options, folder):
        before = folder_bytes(folder) - folder_bytes(folder / "slices")
        parts[name] = run_part(arguments, output, folder / "cache")
        after = folder_bytes(folder) - folder_bytes(folder / "slices")
        parts[name]["bytes"] = after - before
        print(n, name, parts[name], file=sys.stderr, flush=True)
    parts["report"]["bytes"] = (folder / "run" / "report.html").stat().st_size
    shutil.rmtree(folder)
    return parts


def measure_growth(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    small, large = options.n // 10, options.n
    of_small = measure(options, folder / "small", small)
    of_large = measure(options, folder / "large", large)
    rows = []
    for part, values in of_large.items():
        growth = values["processor"] / of_small[part]["processor"]
        row = {"part": part, "small": of_small[part], "large": values, "growth": growth}
        rows.append({**row, "faster than N": growth > 10 * (1 + options.margin)})
    return rows


def measure_decoding(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    write_files(folder, options.decode, options.file_size)
    slices = covidct.load_dataset("folder", folder)
    slices.content_hash()
    size = tuple(options.size)

    def pillow(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.convert("L").resize(size[::-1], Image.Resampling.BILINEAR))

    def by_pillow() -> None:
        with ThreadPoolExecutor(options.threads) as pool:
            for _ in pool.map(pillow, slices.paths):
                pass

    def by_covidct() -> None:
        clear_canvases()
        make_canvases(slices, size, resize="stretch", n_jobs=options.threads)

    runs: dict[str, Callable[[], object]] = {"Pillow": by_pillow, "covidct": by_covidct}
    wall, processor = take_turns(runs, options.rounds)
    return {
        "rate, relative to Pillow": ratio(wall, "covidct", "Pillow"),
        "by processor time": ratio(processor, "covidct", "Pillow"),
        "slices per second": {k: options.decode / min(v) for k, v in wall.items()},
        "seconds": wall,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--n", type=int, default=20000, help="default: 20000")
    parser.add_argument("--size", type=int, nargs=2, default=[64, 96], metavar=("H", "W"))
    parser.add_argument("--file-size", type=int, nargs=2, default=[64, 96], metavar=("H", "W"))
    parser.add_argument("--model", default="shufflenet", help="default: shufflenet")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--margin", type=float, default=0.15, help="default: 0.15")
    parser.add_argument("--decode", type=int, metavar="N", help="measure canvases only")
    parser.add_argument("--folder", type=Path, help="folder of the files (default: temporary)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.decode:
            os.environ["COVIDCT_CACHE"] = str(Path(name, "cache"))
            decoding = measure_decoding(options, Path(name, "slices"))
            print({k: v for k, v in decoding.items() if k != "seconds"})
            write_json(options, decoding, "pillow")
            return 0
        rows = measure_growth(options, Path(name))
    head = ["part", "N", "seconds", "of processor", "peak memory, MB", "written, MB"]
    cells = [
        [
            *(row["part"], n, f"{m['seconds']:.0f}", f"{m['processor']:.0f}"),
            *(f"{m['peak'] / 1e6:.0f}", f"{m['bytes'] / 1e6:.1f}"),
        ]
        for row in rows
        for n, m in ((options.n // 10, row["small"]), (options.n, row["large"]))
    ]
    print(table(head, cells))
    for row in rows:
        verdict = "faster than N" if row["faster than N"] else "not faster than N"
        print(f"{row['part']}: {row['growth']:.1f} times the processor time, {verdict}")
    write_json(options, rows, "torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())

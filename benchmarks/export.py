"""Compare the logits of ONNX Runtime and PyTorch on slices.

Every network is exported for each type of canvases, and the files score the slices in batches of
other sizes than the export traced. Networks have random weights, with normalization statistics of
the slices, and heads whose logits vary as those of fitted networks. --runs adds fitted networks.
The difference of a logit is divided by the logit if that is larger than 1; more than 1e-3 is a
failure.

    python benchmarks/export.py --dataset covid19-ct --root COVID19-CT --json export.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from _common import add_machine, add_slices, chosen_slices, make_parser, table, write_json
from torch.optim.swa_utils import update_bn

import covidct
from covidct.datasets.canvases import make_canvases
from covidct.models.catalogue import BUILT_IN

ALLOWED = 1e-3
SPREAD = 3.0  # standard deviation of the logits
BATCHES = (1, 5)  # the rest of the slices is a third
TYPES = {"uint8": 1, "float32": np.float32(255)}


def networks(
    options: argparse.Namespace, slices: covidct.CTDataset
) -> Iterator[tuple[str, covidct.CTClassifier]]:
    for name in options.models:
        torch.manual_seed(0)
        model = covidct.create_model(name, weights=None)
        canvases = torch.from_numpy(canvases_of(slices, model))
        update_bn(list(canvases.split(8)), model)
        with torch.inference_mode():
            spread = model.eval()(canvases).std()
        with torch.no_grad():
            for parameter in last_layer(model).parameters():
                parameter *= SPREAD / spread
        yield f"{name}, random", model
    for run in options.runs:
        result = covidct.CrossValidationResult.load(run)
        yield f"{result.model_name}, fitted", result.fold_model(0)


def last_layer(model: torch.nn.Module) -> torch.nn.Module:
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return [module for module in model.modules() if isinstance(module, kinds)][-1]


def canvases_of(slices: covidct.CTDataset, model: covidct.CTClassifier) -> np.ndarray:
    return np.array(make_canvases(slices, model.input_size))[:, None]


def scored(file: Path, canvases: np.ndarray, threads: int) -> np.ndarray:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    batches = np.split(canvases, np.cumsum(BATCHES))
    return np.concatenate([session.run(None, {"canvases": batch})[0] for batch in batches])


def measure(
    name: str, model: covidct.CTClassifier, slices: covidct.CTDataset, options: argparse.Namespace
) -> dict[str, Any]:
    canvases = canvases_of(slices, model)
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(canvases)).double().numpy()
    result = {
        "network": name,
        "size": model.input_size,
        "logits": [float(expected.min()), float(expected.max())],
    }
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.types:
            file = Path(folder, f"{kind}.onnx")
            model.export(file, input_type=kind)
            found = scored(file, (canvases / TYPES[kind]).astype(kind), options.threads)
            apart = np.abs(found - expected) / np.maximum(1, np.abs(expected))
            result |= {kind: float(apart.max()), "megabytes": file.stat().st_size / 1e6}
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__)
    add_machine(parser)
    add_slices(parser, slices=16)
    names = [info.name for info in BUILT_IN]
    parser.add_argument("--models", nargs="*", default=names, metavar="NAME", help="default: all")
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    parser.add_argument("--runs", nargs="*", default=[], metavar="RUN", help="finished runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    slices = chosen_slices(options)
    results = []
    for name, model in networks(options, slices):
        results.append(measure(name, model, slices, options))
        print(results[-1], file=sys.stderr, flush=True)
    rows = (
        (
            result["network"],
            " x ".join(map(str, result["size"])),
            "{:.2f} to {:.2f}".format(*result["logits"]),
            *(f"{result[kind]:.1e}" for kind in options.types),
            f"{result['megabytes']:.1f}",
        )
        for result in results
    )
    print(table(("network", "canvas", "logits", *options.types, "MB"), rows))
    write_json(options, results, "torch", "onnx", "onnxruntime")
    worst = max((result[kind] for result in results for kind in options.types), default=0)
    return int(not worst <= ALLOWED)


if __name__ == "__main__":
    raise SystemExit(main())

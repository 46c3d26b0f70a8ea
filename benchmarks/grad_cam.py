"""Grad-CAM beside its peers: images per second, in one run, on one batch.

The yardstick is the bare forward pass without gradients; the peers are captum's LayerGradCam and
pytorch-grad-cam (``pip install 'covidct[benchmark]'``). The contestants take turns, so that what
else the machine does falls on all of them, and the median of their rounds counts. Each gives one
map for each image; before anything is timed, captum's are compared with covidct's.

    python benchmarks/grad_cam.py --threads 2 --json grad_cam.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM as PeerGradCAM
from torch import Tensor, nn

import covidct
from covidct.devices import resolve_precision
from covidct.explain import GradCAM

Contestants = dict[str, Callable[[], object]]


def contestants(model: covidct.CTClassifier, x: Tensor, device: torch.device) -> Contestants:
    layer = model.get_submodule(model.cam_layer)
    captum = LayerGradCam(model, layer)
    peer = PeerGradCAM(model, [layer])
    targets: list[nn.Module] = [nn.Identity()] * len(x)  # each logit is its own score

    def forward() -> Tensor:
        with torch.no_grad():
            return model(x)

    runs: Contestants = {
        "forward": forward,
        "covidct": lambda: GradCAM(model)(x),
        "captum": lambda: captum.attribute(x),
        "pytorch-grad-cam": lambda: peer(x, targets),
    }
    if resolve_precision("auto", device) == torch.bfloat16:
        runs["covidct, bfloat16"] = lambda: GradCAM(model, precision="bfloat16")(x)
    return runs


def check(model: covidct.CTClassifier, x: Tensor) -> float:
    """Return the largest difference from captum, relative to the range of its maps."""
    layer = model.get_submodule(model.cam_layer)
    expected = LayerGradCam(model, layer).attribute(x)[:, 0].detach()
    maps = GradCAM(model, relu=False, normalize=False, upsample=False)(x)
    return float((maps - expected).abs().max() / (expected.max() - expected.min()))


def seconds(run: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(name: str, options: argparse.Namespace) -> dict[str, object]:
    torch.manual_seed(0)
    device = torch.device(options.device)
    model = covidct.create_model(name, weights=None).eval()
    model = model.to(device, memory_format=torch.channels_last)
    x = torch.randint(0, 256, (options.batch_size, 1, *model.input_size), dtype=torch.uint8)
    x = x.to(device)
    difference = check(model, x)
    runs = contestants(model, x, device)
    times: dict[str, list[float]] = {contestant: [] for contestant in runs}
    for run in runs.values():
        run()  # warm up
    for _ in range(options.rounds):
        for contestant, run in runs.items():
            times[contestant].append(seconds(run, device))
    rates = {c: options.batch_size / statistics.median(t) for c, t in times.items()}
    return {
        "network": name,
        "size": list(model.input_size),
        "difference from captum": difference,
        "images per second": rates,
        "seconds": times,
    }


def table(results: list[dict[str, object]]) -> str:
    lines = [
        "| network | contestant | images/s | of forward | of captum |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        rates = result["images per second"]
        assert isinstance(rates, dict)
        for contestant, rate in rates.items():
            beside = f"{rate / rates['forward']:.2f} | {rate / rates['captum']:.2f}"
            lines.append(f"| {result['network']} | {contestant} | {rate:.1f} | {beside} |")
    return "\n".join(lines)


def environment(options: argparse.Namespace) -> dict[str, object]:
    packages = ("torch", "torchvision", "captum", "grad-cam")
    return {
        "versions": {package: version(package) for package in packages},
        "covidct": covidct.__version__,
        "python": platform.python_version(),
        "device": options.device,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "batch size": options.batch_size,
        "rounds": options.rounds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", default=["squeezenet", "resnet18", "densenet121"], metavar="NAME"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="at least 3 (default: 5)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error(f"--rounds must be at least 3, got {options.rounds}")
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="Setting (forward, )?backward", module="captum")
    results = [measure(name, options) for name in options.models]
    print(table(results))
    if options.json:
        report = {"environment": environment(options), "results": results}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compare Grad-CAM with captum and pytorch-grad-cam: images per second on one batch.

The limit is the bare forward pass without gradients. The peers are captum's LayerGradCam and
pytorch-grad-cam (``pip install 'covidct[benchmark]'``). The contestants take turns, so that other
programs affect all of them, and the median over the turns counts. Each computes one map per image.
Before the timing, captum's maps are compared with covidct's.

    python benchmarks/grad_cam.py --threads 2 --json grad_cam.json
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from _common import add_machine, make_parser, medians, ratio, table, take_turns, write_json
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


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    device = torch.device(options.device)
    model = covidct.create_model(name, weights=None).eval()
    model = model.to(device, memory_format=torch.channels_last)
    x = torch.randint(0, 256, (options.batch_size, 1, *model.input_size), dtype=torch.uint8)
    x = x.to(device)
    difference = check(model, x)
    wall, processor = take_turns(
        contestants(model, x, device), options.rounds, device=options.device
    )
    return {
        "network": name,
        "size": list(model.input_size),
        "difference from captum": difference,
        "images per second": {run: len(x) / seconds for run, seconds in medians(wall).items()},
        "of forward": {run: ratio(wall, run, "forward") for run in wall},
        "of captum": {run: ratio(wall, run, "captum") for run in wall},
        "seconds": wall,
        "processor seconds": processor,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, rounds=5)
    add_machine(parser)
    parser.add_argument(
        "--models", nargs="+", default=["squeezenet", "resnet18", "densenet121"], metavar="NAME"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="Setting (forward, )?backward", module="captum")
    results = [measure(name, options) for name in options.models]
    rows = (
        (
            result["network"],
            run,
            f"{rate:.1f}",
            f"{result['of forward'][run]:.2f}",
            f"{result['of captum'][run]:.2f}",
        )
        for result in results
        for run, rate in result["images per second"].items()
    )
    print(table(("network", "contestant", "images/s", "of forward", "of captum"), rows))
    write_json(options, results, "torch", "torchvision", "captum", "grad-cam")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""covidct's LAMB beside torch-optimizer's: milliseconds per step on the tensors of a network.

The two take turns, so that what else the machine does falls on both, and the median of their
rounds counts. Before anything is timed, a few steps of both are compared.

    python benchmarks/lamb.py --models shufflenet --threads 2 --json lamb.json
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn
from torch_optimizer import Lamb as PeerLamb

import covidct


def with_gradients(network: nn.Module, device: torch.device) -> list[nn.Parameter]:
    """Copy the tensors of a network and give each a gradient, the same in every copy."""
    parameters = list(copy.deepcopy(network).to(device).parameters())
    generator = torch.Generator().manual_seed(0)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(device) * 1e-2
    return parameters


def seconds(optimizer: torch.optim.Optimizer, device: torch.device, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def measure(name: str, options: argparse.Namespace) -> dict[str, object]:
    device = torch.device(options.device)
    torch.manual_seed(0)
    network = covidct.create_model(name, weights=None)
    tensors = {kind: with_gradients(network, device) for kind in ("covidct", "torch-optimizer")}
    makers = {"covidct": covidct.Lamb, "torch-optimizer": PeerLamb}
    settings = {"lr": 3e-4, "weight_decay": 1.0}
    optimizers = {kind: makers[kind](tensors[kind], **settings) for kind in makers}
    for optimizer in optimizers.values():
        seconds(optimizer, device, 3)  # warm up, and what is compared
    difference = max(
        float((ours - theirs).detach().abs().max())
        for ours, theirs in zip(*tensors.values(), strict=True)
    )
    times: dict[str, list[float]] = {kind: [] for kind in optimizers}
    for _ in range(options.rounds):
        for kind, optimizer in optimizers.items():
            times[kind].append(seconds(optimizer, device, options.steps))
    medians = {kind: statistics.median(rounds) for kind, rounds in times.items()}
    return {
        "network": name,
        "tensors": len(tensors["covidct"]),
        "largest difference after 3 steps": difference,
        "seconds per step": times,
        "median seconds per step": medians,
        "ratio": medians["torch-optimizer"] / medians["covidct"],
    }


def table(results: list[dict[str, object]]) -> str:
    lines = [
        "| network | tensors | covidct, ms | torch-optimizer, ms | ratio | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        medians = result["median seconds per step"]
        assert isinstance(medians, dict)
        cost = " | ".join(f"{1e3 * median:.2f}" for median in medians.values())
        difference = result["largest difference after 3 steps"]
        ratio = f"{result['ratio']:.2f} | {difference:.1e}"
        lines.append(f"| {result['network']} | {result['tensors']} | {cost} | {ratio} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["shufflenet"], metavar="NAME")
    parser.add_argument("--steps", type=int, default=10, help="in a round (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="at least 3 (default: 5)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error(f"--rounds must be at least 3, got {options.rounds}")
    torch.set_num_threads(options.threads)
    results = [measure(name, options) for name in options.models]
    print(table(results))
    if options.json:
        versions = {package: version(package) for package in ("torch", "torch-optimizer")}
        settings = {"device": options.device, "threads": options.threads, "versions": versions}
        report = {"environment": settings, "results": results}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

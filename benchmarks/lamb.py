"""Compare covidct's LAMB with torch-optimizer's: milliseconds per step for a network's tensors.

The two take turns, so that other programs affect both, and the median over the turns counts. Before
the timing, a few steps of both are compared.

    python benchmarks/lamb.py --models shufflenet --threads 2 --json lamb.json
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from _common import add_machine, make_parser, medians, ratio, table, take_turns, write_json
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


def take_steps(optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.step()


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    torch.manual_seed(0)
    network = covidct.create_model(name, weights=None)
    tensors = {kind: with_gradients(network, device) for kind in ("covidct", "torch-optimizer")}
    makers = {"covidct": covidct.Lamb, "torch-optimizer": PeerLamb}
    optimizers = {kind: makers[kind](tensors[kind], lr=3e-4, weight_decay=1.0) for kind in makers}
    for optimizer in optimizers.values():
        take_steps(optimizer, 3)
    difference = max(
        float((ours - theirs).detach().abs().max())
        for ours, theirs in zip(*tensors.values(), strict=True)
    )
    runs = {kind: partial(take_steps, optimizers[kind], options.steps) for kind in makers}
    wall, processor = take_turns(runs, options.rounds, device=options.device)
    return {
        "network": name,
        "tensors": len(tensors["covidct"]),
        "largest difference after 3 steps": difference,
        "milliseconds per step": {
            kind: 1e3 * seconds / options.steps for kind, seconds in medians(wall).items()
        },
        "ratio": ratio(wall, "covidct", "torch-optimizer"),
        "seconds": wall,
        "processor seconds": processor,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, rounds=5)
    add_machine(parser)
    parser.add_argument("--models", nargs="+", default=["shufflenet"], metavar="NAME")
    parser.add_argument("--steps", type=int, default=10, help="steps per turn (default: 10)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    results = [measure(name, options) for name in options.models]
    rows = (
        (
            result["network"],
            result["tensors"],
            *(f"{cost:.2f}" for cost in result["milliseconds per step"].values()),
            f"{result['ratio']:.2f}",
            f"{result['largest difference after 3 steps']:.1e}",
        )
        for result in results
    )
    header = ("network", "tensors", "covidct, ms", "torch-optimizer, ms", "ratio", "difference")
    print(table(header, rows))
    write_json(options, results, "torch", "torch-optimizer")
    return 0


if __name__ == "__main__":
    sys.exit(main())

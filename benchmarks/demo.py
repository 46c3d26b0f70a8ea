"""Check that the demo learns the disease, and that Grad-CAM finds it.

The folds of the demo are run with true labels, with labels shuffled by patient, or both. Shuffled
labels are the same for all slices of a patient and carry no information about the disease; under a
grouped split, the score must be at chance. For the run with true labels, the pointing game is
played on the COVID-19 slices of each test fold.

    python benchmarks/demo.py --labels true shuffled --json demo.json
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import covidct
from covidct.cli.demo import demo_network
from covidct.datasets.canvases import make_canvases
from covidct.explain import faithfulness


def shuffled(slices: covidct.CTDataset, seed: int = 0) -> covidct.CTDataset:
    """Deal the labels of the patients anew."""
    _, first, place = np.unique(slices.groups, return_index=True, return_inverse=True)
    labels = np.random.default_rng(seed).permutation(slices.targets[first])
    other = copy.copy(slices)
    other.targets = labels[place]
    return other


def pointing(result: covidct.CrossValidationResult, slices: covidct.CTDataset, layer: str) -> list:
    """Play the pointing game in each fold, within one cell."""
    canvases = make_canvases(slices, result.fold_model(0).input_size)
    rows = []
    for k, fold in enumerate(result.folds):
        covid = fold.test[slices.targets[fold.test] == 1]
        table = faithfulness.table(
            result.fold_model(k),
            canvases[covid],
            sizes=[slices[i][0].size[::-1] for i in covid],
            masks=[slices.masks(int(i)) for i in covid],
            layer=layer,
            steps=2,
            n_perturbed=2,
        )
        row = table["pointing game, lesion, within one cell"]
        rows.append({"fold": k, "hits": row.value, **row.references})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", choices=("true", "shuffled"), nargs="+", default=["true"])
    parser.add_argument("--threads", type=int, default=1, help="threads of each fold (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    options = parser.parse_args(arguments)
    network, slices = demo_network(), covidct.load_dataset("phantom", n=240, seed=0)
    figures = {}
    for labels in options.labels:
        given = slices if labels == "true" else shuffled(slices)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            result = covidct.CrossValidator(
                network.name,
                covidct.Recipe.demo().scaled(network.epochs),
                cv=3,
                groups="patient",
                weights=network.weights,
                threads=options.threads,
                n_jobs=options.jobs,
                run_dir=folder,
            ).run(given)
            figures[labels] = {
                "seconds": time.perf_counter() - start,
                "accuracy": result.summary()["accuracy"],
                "pointing": pointing(result, given, network.layer) if labels == "true" else None,
            }
        print(labels, figures[labels], flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

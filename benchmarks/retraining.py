"""Simulate repeated cross-validation with known truth: coverage of intervals, bias of components.

Patients have 1 to 8 slices that err together. A linear classifier is fitted to the means of the
two classes, with noise on its weights in place of a random initialization, so that training, split
and patients all matter. Its accuracy on new patients is known in closed form. Coverage is the share
of data sets in which a nominal 95 % interval contains

- the mean accuracy of the fitted networks (interval of `ScoredFolds.intervals`),
- the expected accuracy of networks that are trained again on other patients (all intervals).

The variance components are compared with those of many trainings on many splits of the same data,
and the patients' component with that of many data sets.

    python benchmarks/retraining.py --runs 400
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import make_parser, table, write_json
from scipy import special, stats
from sklearn.model_selection import StratifiedGroupKFold

from covidct.evaluation import intervals, variance
from covidct.evaluation.significance import corrected_resampled_ttest

FEATURES, FOLDS = 20, 5
OF_PATIENTS, OF_SLICES, OF_SEEDS = 0.8, 0.6, 0.12
SIGNAL = np.zeros(FEATURES)
SIGNAL[:4] = 0.6


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Return features, targets and patients of n patients."""
    groups = np.repeat(np.arange(n), rng.integers(1, 9, n))
    targets = groups % 2
    features = (2 * targets[:, None] - 1) * SIGNAL
    features = features + rng.normal(0, OF_PATIENTS, (n, FEATURES))[groups]
    features = features + rng.normal(0, OF_SLICES, features.shape)
    return features, targets, groups


def fit(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit weights and bias to the class means, with noise of the seed."""
    means = x[y == 1].mean(axis=0), x[y == 0].mean(axis=0)
    weights = means[0] - means[1] + rng.normal(0, OF_SEEDS * np.sqrt(2), FEATURES)
    return weights, float(-weights @ (means[0] + means[1]) / 2)


def true_accuracy(weights: np.ndarray, bias: float) -> float:
    """Return the accuracy on new patients, half of them of each class."""
    spread = np.hypot(OF_PATIENTS, OF_SLICES) * np.linalg.norm(weights)
    return float(
        np.mean([stats.norm.cdf((sign * bias + weights @ SIGNAL) / spread) for sign in (1, -1)])
    )


def cross_validate(
    rng: np.random.Generator, data: tuple[np.ndarray, ...], split_seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the out-of-fold logits, their folds and the true mean accuracy of the networks."""
    x, y, groups = data
    logits, fold_of, truths = np.empty(len(y)), np.empty(len(y), int), []
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=split_seed)
    for fold, (train, test) in enumerate(splitter.split(x, y, groups)):
        weights, bias = fit(rng, x[train], y[train])
        logits[test], fold_of[test] = x[test] @ weights + bias, fold
        truths.append(true_accuracy(weights, bias))
    return logits, fold_of, float(np.mean(truths))


def simulate(
    rng: np.random.Generator, n: int, repeats: int, data: tuple[np.ndarray, ...] | None = None
) -> dict[str, Any]:
    """Cross-validate once, with repeats, and compute all intervals and components."""
    data = data or draw(rng, n)
    _, y, groups = data
    runs = [cross_validate(rng, data, int(rng.integers(2**31))) for _ in range(repeats)]
    targets, units = np.tile(y, repeats), np.tile(groups, repeats)
    probabilities = special.expit(np.concatenate([logits for logits, _, _ in runs]))
    replicate = np.repeat(np.arange(repeats), len(y))
    folds = np.concatenate([r * FOLDS + of for r, (_, of, _) in enumerate(runs)])
    right = (probabilities >= 0.5) == targets
    of_folds = np.array([right[folds == k].mean() for k in range(FOLDS * repeats)])
    influences = variance.group_influences(
        targets, probabilities, replicates=replicate, groups=units, folds=folds
    )
    of_repeats = of_folds.reshape(repeats, FOLDS).mean(axis=1)
    return {
        "fitted": float(np.mean([truth for _, _, truth in runs])),
        "scores": of_repeats,
        "patients": variance.shared_variance(influences),
        "single": float((influences**2).sum(axis=1).mean()),
        "both": variance.split_components(of_repeats, np.arange(repeats)).both,
        "bootstrap": intervals.bootstrap(
            targets, probabilities, groups=units, folds=folds, n_resamples=300, names=["accuracy"]
        )["accuracy"],
        "corrected": corrected_resampled_ttest(of_folds, n_train=FOLDS - 1, n_test=1).interval,
        "crossed": variance.crossed_interval(of_repeats, influences, n_groups=n)[0],
    }


def coverage(runs: int, patients: Sequence[int], repeats: Sequence[int]) -> dict[str, Any]:
    """Return the coverage and mean width of the intervals."""
    found: dict[str, Any] = {}
    for n in patients:
        for number in repeats:
            rng = np.random.default_rng((n, number))
            rows = [simulate(rng, n, number) for _ in range(runs)]
            expected = np.mean([row["fitted"] for row in rows])
            cells: dict[str, float] = {
                "expected accuracy": float(expected),
                "bias of the mean": float(np.mean([r["scores"].mean() for r in rows]) - expected),
                "bootstrap covers the fitted networks": np.mean(
                    [r["bootstrap"].low <= r["fitted"] <= r["bootstrap"].high for r in rows]
                ),
            }
            for name in ("bootstrap", "corrected", "crossed"):
                ends = np.array([row[name] for row in rows])
                if not np.isnan(ends).any():
                    inside = (ends[:, 0] <= expected) & (expected <= ends[:, 1])
                    cells[f"{name} covers retrained networks"] = float(inside.mean())
                    cells[f"{name}, mean width"] = float(np.diff(ends, axis=1).mean())
            found[f"{n} patients, {number} repeats"] = {
                name: round(float(value), 4) for name, value in cells.items()
            }
    return found


def components(runs: int, n: int, *, splits: int = 4, seeds: int = 3) -> dict[str, Any]:
    """Return true and mean estimated standard deviations of the components, in points."""
    rng = np.random.default_rng(n)
    estimated, of_repeats, truths, means = [], [], [], []
    for run in range(runs):
        data = draw(rng, n)
        scores, labels = [], []
        for split in range(splits):
            for _ in range(seeds):
                logits, folds, _ = cross_validate(rng, data, split)
                right = (logits >= 0) == data[1]
                scores.append(np.mean([right[folds == k].mean() for k in range(FOLDS)]))
                labels.append(split)
        estimated.append(variance.split_components(scores, labels))
        if run < runs // 4:
            # The truth by brute force: many trainings on each of many splits of the same data.
            grid = np.array(
                [[_score(rng, data, split) for _ in range(10)] for split in range(100, 120)]
            )
            within = grid.var(axis=1, ddof=1).mean()
            truths.append((within, grid.mean(axis=1).var(ddof=1) - within / 10))
            means.append(grid.mean())
        row = simulate(rng, n, 4, data)
        of_repeats.append((row["both"], row["patients"], row["single"]))
    training, split = np.mean(truths, axis=0)
    by_design, by_repeats = np.mean(estimated, axis=0), np.mean(of_repeats, axis=0)
    values = {
        "training": (training, by_design[0]),
        "split": (split, by_design[1]),
        "training and split, from repeats": (training + split, by_repeats[0]),
        "patients, from repeats": (np.var(means, ddof=1), by_repeats[1]),
        "patients, from one repeat": (np.var(means, ddof=1), by_repeats[2]),
    }
    return {
        name: {
            "true sd": round(100 * float(np.sqrt(max(truth, 0))), 3),
            "estimated sd": round(100 * float(np.sqrt(estimate)), 3),
        }
        for name, (truth, estimate) in values.items()
    }


def _score(rng: np.random.Generator, data: tuple[np.ndarray, ...], split: int) -> float:
    logits, folds, _ = cross_validate(rng, data, split)
    right = (logits >= 0) == data[1]
    return float(np.mean([right[folds == k].mean() for k in range(FOLDS)]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulations, print tables, and write the numbers."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--runs", type=int, help="data sets per cell (default: 400; 20 with --fast)"
    )
    parser.add_argument("--fast", action="store_true", help="40 patients, 1 and 3 repeats")
    options = parser.parse_args(arguments)
    runs, patients, repeats = options.runs or 400, (40, 120), (1, 3, 10)
    if options.fast:
        runs, patients, repeats = options.runs or 20, (40,), (1, 3)
    result = {
        "coverage": coverage(runs, patients, repeats),
        "components": {f"{n} patients": components(runs // 2, n) for n in patients[:2]},
    }
    for name, cells in result["coverage"].items():
        print(name)
        print(table(["", "value"], list(cells.items())))
    for name, parts in result["components"].items():
        print(name)
        print(
            table(
                ["component", "true sd", "estimated sd"],
                [(part, *values.values()) for part, values in parts.items()],
            )
        )
    write_json(options, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

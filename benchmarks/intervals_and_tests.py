"""Simulate patients with known truth: coverage of intervals, type I error and power of tests.

Patients have 2 to 15 slices that err together. Coverage is the share of runs in which a nominal
95 % interval contains the accuracy or AUC of a very large sample, for the interval of
`covidct.evaluation.intervals.bootstrap`, and for resampling alone. The tests compare the AUCs of
two models, where the second gives higher probabilities throughout, at the 5 % level: the
permutation test, the same test on probabilities in place of ranks, and the test of Obuchowski
(1997), which is DeLong's if each patient has one slice. Fold means are compared too, with logits on
another scale in each fold.

    python benchmarks/intervals_and_tests.py --runs 1000
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import make_parser, table, write_json
from scipy import special, stats

from covidct.evaluation import intervals, metrics, significance
from covidct.evaluation.intervals import Interval

ACCURACIES = (0.76, 0.9, 0.96, 0.99)
PATIENTS = (10, 20, 50)
SPREAD_OF_PATIENTS, SPREAD_OF_SLICES = 1.2, 0.8


def draw(rng: np.random.Generator, n: int, accuracy: float) -> tuple[np.ndarray, ...]:
    """Return targets, probabilities and patients of a model of known accuracy."""
    groups = np.repeat(np.arange(n), rng.integers(2, 16, n))
    targets = rng.integers(0, 2, n)[groups]
    ease = stats.norm.ppf(accuracy) * np.hypot(SPREAD_OF_PATIENTS, SPREAD_OF_SLICES)
    ease = ease + rng.normal(0, SPREAD_OF_PATIENTS, n)[groups]
    ease = ease + rng.normal(0, SPREAD_OF_SLICES, len(groups))
    return targets, special.expit((2 * targets - 1) * ease), groups


def coverage(runs: int) -> dict[str, Any]:
    """Return the coverage of the intervals by number of patients and accuracy."""
    found: dict[str, Any] = {}
    for accuracy in ACCURACIES:
        large = draw(np.random.default_rng(1), 20_000, accuracy)
        auc = metrics.METRICS["auc"](*large[:2])
        for n in PATIENTS:
            rng = np.random.default_rng((2, n))
            hits: dict[str, list[bool]] = {"accuracy": [], "resampling alone": [], "auc": []}
            for run in range(runs):
                targets, probabilities, groups = draw(rng, n, accuracy)
                options = {"n_resamples": 300, "seed": run}
                ends = intervals.bootstrap(
                    targets, probabilities, groups=groups, names=["accuracy", "auc"], **options
                )
                right = (probabilities >= 0.5) == targets
                alone = intervals.cluster_bootstrap(
                    lambda weights, right=right: {"a": weights @ right / weights.sum(axis=1)},
                    groups,
                    **options,
                )["a"]
                hits["resampling alone"].append(_covers(alone, accuracy))
                hits["accuracy"].append(_covers(ends["accuracy"], accuracy))
                if not np.isnan(ends["auc"].low):
                    hits["auc"].append(_covers(ends["auc"], auc))
            found[f"{n} patients, accuracy {accuracy}"] = {
                name: round(float(np.mean(values)), 3) if values else None
                for name, values in hits.items()
            } | {"auc defined": round(len(hits["auc"]) / runs, 3)}
    return found


def _covers(ends: Interval, truth: float) -> bool:
    return bool(ends.low <= truth <= ends.high)  # False if undefined


def obuchowski(targets: np.ndarray, a: np.ndarray, b: np.ndarray, groups: np.ndarray) -> float:
    """Return the p-value of the test of two AUCs by sums of structural components per cluster."""
    codes = np.unique(groups, return_inverse=True)[1]
    n_groups = codes.max() + 1
    positive, negative = targets == 1, targets == 0
    apart = sum(
        sign * ((p[positive][:, None] > p[negative]) + (p[positive][:, None] == p[negative]) / 2)
        for sign, p in ((1, a), (-1, b))
    )
    difference, m, n = apart.mean(), positive.sum(), negative.sum()
    rows = np.bincount(codes[positive], apart.mean(axis=1) - difference, n_groups)
    columns = np.bincount(codes[negative], apart.mean(axis=0) - difference, n_groups)
    with_positive = len(np.unique(codes[positive]))
    with_negative = len(np.unique(codes[negative]))
    variance = (
        with_positive / (with_positive - 1) * np.sum(rows**2) / m**2
        + with_negative / (with_negative - 1) * np.sum(columns**2) / n**2
        + 2 * n_groups / (n_groups - 1) * np.sum(rows * columns) / (m * n)
    )
    return float(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


def two_models(
    rng: np.random.Generator, n: int, slices: int, signals: tuple[float, float], offset: float
) -> tuple[np.ndarray, ...]:
    """Return targets, probabilities of two models, and patients."""
    groups = np.repeat(np.arange(n), slices)
    targets = groups % 2
    shared = rng.normal(0, 0.7, n)[groups]
    a, b = (
        special.expit(
            signal * (2 * targets - 1)
            + shared
            + rng.normal(0, 0.7, n)[groups]
            + rng.normal(0, 0.5, len(groups))
            + shift
        )
        for signal, shift in zip(signals, (0.0, offset), strict=True)
    )
    return targets, a, b, groups


def rejections(runs: int) -> dict[str, Any]:
    """Return the share of runs in which each test finds a difference at the 5 % level."""
    found: dict[str, Any] = {}
    for n, slices in ((20, 1), (20, 6), (60, 4)):
        for signals in ((1.0, 1.0), (1.3, 0.7)):
            for offset in (0.0, 2.0):
                rng = np.random.default_rng((3, n, slices))
                hits: dict[str, list[bool]] = {"ranks": [], "probabilities": [], "Obuchowski": []}
                for run in range(runs):
                    targets, a, b, groups = two_models(rng, n, slices, signals, offset)
                    test = significance.permutation_test(
                        targets, a, b, groups=groups, metric="auc", n_permutations=199, seed=run
                    )
                    hits["ranks"].append(test.p_value <= 0.05)
                    hits["probabilities"].append(_swap_raw(targets, a, b, groups, run) <= 0.05)
                    hits["Obuchowski"].append(obuchowski(targets, a, b, groups) <= 0.05)
                kind = "equal AUCs" if signals[0] == signals[1] else "different AUCs"
                found[f"{kind}, {n} patients, {slices} slices, offset {offset:g}"] = {
                    name: round(float(np.mean(values)), 3) for name, values in hits.items()
                }
    return found


def _swap_raw(
    targets: np.ndarray, a: np.ndarray, b: np.ndarray, groups: np.ndarray, seed: int
) -> float:
    """Return the p-value of swapping probabilities, which is invalid for models on two scales."""
    n = len(targets)
    swapped = np.random.default_rng(seed).integers(2, size=(199, groups.max() + 1))[:, groups] == 1
    swapped = np.vstack([np.zeros(n, dtype=bool), swapped])
    both = np.tile(targets, 2), np.concatenate([a, b])
    first, second = (
        metrics.weighted_scores(*both, weights=np.hstack(pair), names=["auc"])["auc"]
        for pair in ((~swapped, swapped), (swapped, ~swapped))
    )
    apart = np.abs(first - second)
    return float(np.mean(apart >= apart[0] - 1e-12))


def fold_means(runs: int) -> dict[str, Any]:
    """Compare the pooled statistic with the mean over folds whose logits have offsets."""
    names = ("pooled difference", "mean difference", "pooled rejects", "mean rejects", "covered")
    values = []
    for run in range(runs):
        rng = np.random.default_rng((4, run))
        targets, a, b, groups = two_models(rng, 100, 4, (1.0, 1.0), 0.0)
        folds = groups // 2 % 5
        a = special.expit(special.logit(a) + 1.5 * (folds - 2))
        options = {"groups": groups, "metric": "auc", "seed": run}
        tests = [
            significance.permutation_test(targets, a, b, folds=of, n_permutations=199, **options)
            for of in (None, folds)
        ]
        low, high = significance.difference_interval(
            targets, a, b, folds=folds, n_resamples=300, **options
        )
        values.append(
            [
                *(test.difference for test in tests),
                *(test.p_value <= 0.05 for test in tests),
                low <= 0 <= high,
            ]
        )
    return dict(zip(names, np.mean(values, axis=0).round(4).tolist(), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulations, print tables, and write the numbers."""
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=400, help="default: 400")
    options = parser.parse_args(arguments)
    found = {
        "coverage of nominal 95 % intervals": coverage(options.runs),
        "rejections at the 5 % level": rejections(options.runs),
        "folds on different scales, equal AUCs": {"mean": fold_means(options.runs)},
    }
    for title, rows in found.items():
        columns = list(next(iter(rows.values())))
        print(f"\n{title}, {options.runs} runs")
        print(
            table(
                ["", *columns], [[name, *(row[c] for c in columns)] for name, row in rows.items()]
            )
        )
    write_json(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())

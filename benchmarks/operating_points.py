"""Simulate patients with known truth: coverage of intervals of operating points and calibration.

Patients are drawn with 2 to 14 slices that err together (per slice), or with one score each (per
patient). Scores are normal around -1.2 and 1.2, so that the sensitivity at a specificity, the
specificity at a sensitivity, the predictive values at a prevalence of 5 % and the calibration slope
and intercept are known. Folds choose their thresholds on each other. Coverage is the share of runs
in which a nominal 95 % interval contains

- the value at the target, such as the sensitivity at a specificity of 90 %,
- the value that the chosen thresholds reach ("of the thresholds"),
- the predictive values and the positive likelihood ratio at the target,
- the calibration slope and intercept of logits that are twice too extreme and shifted by 0.5.

    python benchmarks/operating_points.py --runs 400
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import make_parser, table, write_json
from scipy import optimize, special, stats

from covidct.evaluation.calibration import logistic_calibration
from covidct.evaluation.decision_rule import Criterion
from covidct.evaluation.operating_points import operating_point, predictive_values

PATIENTS, FOLDS, PREVALENCE = (40, 100, 240), 5, 0.05
DISTANCE, OF_PATIENTS, OF_SLICES = 1.2, 0.8, 1.0
CRITERIA = (Criterion("specificity", 0.9), Criterion("sensitivity", 0.9))
SLOPE, SHIFT = 0.5, 0.5


def draw(rng: np.random.Generator, n: int, *, per: str) -> tuple[np.ndarray, ...]:
    """Return targets, scores, patients and folds of n patients."""
    positive = rng.random(n) < 0.5
    slices = np.ones(n, int) if per == "patient" else rng.integers(2, 15, n)
    groups = np.repeat(np.arange(n), slices)
    scores = rng.normal(np.where(positive, DISTANCE, -DISTANCE), OF_PATIENTS)[groups]
    if per == "slice":
        scores = rng.normal(scores, OF_SLICES)
    folds = np.argsort(rng.permutation(n)) % FOLDS
    return positive[groups].astype(int), scores, groups, folds[groups]


def spread(per: str) -> float:
    """Return the standard deviation of the scores of a class."""
    return OF_PATIENTS if per == "patient" else float(np.hypot(OF_PATIENTS, OF_SLICES))


def truth(criterion: Criterion, per: str) -> dict[str, float]:
    """Return sensitivity, specificity and what follows from them at the target."""
    sign = -1 if criterion.kind == "specificity" else 1
    cut = sign * (DISTANCE - spread(per) * stats.norm.ppf(criterion.value))
    known = {
        "sensitivity": float(stats.norm.sf((cut - DISTANCE) / spread(per))),
        "specificity": float(stats.norm.cdf((cut + DISTANCE) / spread(per))),
    }
    return known | predictive_values(known["sensitivity"], known["specificity"], PREVALENCE)


def coverage(runs: int) -> dict[str, Any]:
    """Return the coverage of operating points, and their mean sensitivity and specificity."""
    found: dict[str, Any] = {}
    for n in PATIENTS:
        for per in ("slice", "patient"):
            for criterion in CRITERIA:
                name = f"{n} patients, per {per}, {criterion}"
                found[name] = _coverage(runs, n, per, criterion)
    return found


def _coverage(runs: int, n: int, per: str, criterion: Criterion) -> dict[str, Any]:
    known = truth(criterion, per)
    hits: dict[str, list[bool]] = {}
    values = []
    for run in range(runs):
        targets, scores, groups, folds = draw(np.random.default_rng((n, run)), n, per=per)
        point = operating_point(
            targets,
            special.expit(scores),
            criterion,
            folds=folds,
            groups=groups,
            units=groups if per == "patient" else None,
            prevalences=[PREVALENCE],
            n_resamples=400,
        )
        values.append([point.values[name] for name in ("sensitivity", "specificity")])
        intervals = dict(point.intervals) | dict(point.at_prevalence[0].intervals)
        reached = _reached(point.thresholds, targets, folds, per)
        checks = [(name, name, known[name]) for name in known if name in intervals]
        checks += [(name, f"{name} of the thresholds", value) for name, value in reached.items()]
        for name, label, value in checks:
            low, high = intervals[name]
            if not np.isnan(low):
                hits.setdefault(label, []).append(bool(low - 1e-12 <= value <= high + 1e-12))
    means = np.mean(values, axis=0)
    return {f"mean {k}": round(float(v), 3) for k, v in zip(known, means, strict=False)} | {
        name: round(float(np.mean(covered)), 3) for name, covered in hits.items()
    }


def _reached(
    thresholds: np.ndarray, targets: np.ndarray, folds: np.ndarray, per: str
) -> dict[str, float]:
    """Return the true sensitivity and specificity of the thresholds of all folds together."""
    cuts = special.logit(thresholds)
    positives, negatives = (np.bincount(folds[targets == k], minlength=FOLDS) for k in (1, 0))
    sensitivity = stats.norm.sf((cuts - DISTANCE) / spread(per))
    specificity = stats.norm.cdf((cuts + DISTANCE) / spread(per))
    return {
        "sensitivity": float(np.average(sensitivity, weights=positives)),
        "specificity": float(np.average(specificity, weights=negatives)),
    }


def calibration(runs: int) -> dict[str, Any]:
    """Return the coverage of the intervals of calibration slope and intercept."""
    found: dict[str, Any] = {}
    for per in ("slice", "patient"):
        slopes = {"slope": SLOPE, "intercept": _true_intercept(per)}
        for n in PATIENTS:
            hits: dict[str, list[bool]] = {name: [] for name in slopes}
            for run in range(runs):
                targets, scores, groups, _ = draw(np.random.default_rng((n, run)), n, per=per)
                ends = logistic_calibration(targets, _logits(scores, per), groups=groups)
                for name, value in slopes.items():
                    low, high = getattr(ends, f"{name}_interval")
                    if not np.isnan(low):
                        hits[name].append(bool(low <= value <= high))
            found[f"{n} patients, per {per}"] = {
                name: round(float(np.mean(covered)), 3) for name, covered in hits.items()
            } | {"defined": round(len(hits["slope"]) / runs, 3)}
    return found


def _logits(scores: np.ndarray, per: str) -> np.ndarray:
    """Return the logits of the scores, made too extreme and shifted."""
    right = 2 * DISTANCE * scores / spread(per) ** 2  # the logit of P(y = 1 | score)
    return np.asarray((right - SHIFT * SLOPE) / SLOPE)


def _true_intercept(per: str) -> float:
    """Return the constant that makes the logits right on average, from a large sample."""
    targets, scores, *_ = draw(np.random.default_rng(1), 1_000_000, per="patient")
    scores = (2 * targets - 1) * DISTANCE + (scores - (2 * targets - 1) * DISTANCE) * (
        spread(per) / OF_PATIENTS
    )
    logits = _logits(scores, per)
    return float(
        optimize.brentq(lambda a: np.mean(targets - special.expit(a + logits)), -5, 5, xtol=1e-4)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulations, print tables, and write the numbers."""
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=400, help="default: 400")
    options = parser.parse_args(arguments)
    found = {
        "operating points: means, and coverage of 95 % intervals": coverage(options.runs),
        "calibration: coverage of 95 % intervals": calibration(options.runs),
    }
    for title, rows in found.items():
        columns = list(next(iter(rows.values())))
        print(f"\n{title}, {options.runs} runs")
        print(
            table(
                ["", *columns],
                [[name, *(row.get(c, "–") for c in columns)] for name, row in rows.items()],
            )
        )
    write_json(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())

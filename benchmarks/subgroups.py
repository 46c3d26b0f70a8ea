"""Simulate subgroups of equal performance: type I error of the tests of their gaps.

60 patients have 2 to 8 slices each that err together. The subgroups have equal performance, so that
each p-value should be 0.05 or less in at most 5 % of the runs. They divide patients or the slices
within patients, are the folds themselves (one source left out), or differ in prevalence; their
accuracies then differ as well if sensitivity and specificity do. A metric is not tested, and the
run not counted for it, if fewer than two subgroups have enough patients.

    python benchmarks/subgroups.py --runs 300
    python benchmarks/subgroups.py --runs 1500 --permutations 99 --scenarios "unequal prevalence"
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from _common import make_parser, table, write_json
from scipy import special

from covidct.runs.subgroup_gaps import Scored, compare

N_PATIENTS = 60
SCENARIOS = {
    "2 subgroups of patients": 2,
    "4 subgroups of patients": 4,
    "one source left out": 3,
    "slices within patients": 3,
    "unequal prevalence": 3,
    "unequal prevalence, low specificity": 3,
}


def draw(rng: np.random.Generator, scenario: str) -> tuple[Scored, np.ndarray]:
    """Return scored slices and the subgroup of each."""
    count = SCENARIOS[scenario]
    patients = np.repeat(np.arange(N_PATIENTS), rng.integers(2, 9, N_PATIENTS))
    sick = rng.permutation(np.arange(N_PATIENTS) % 2)
    targets = sick[patients]
    errors = rng.normal(0, 1, N_PATIENTS)[patients] + rng.normal(0, 1, len(patients))
    of_patient = rng.integers(0, count, N_PATIENTS)
    if scenario.startswith("unequal prevalence"):
        shares = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
        of_patient = np.array([rng.choice(count, p=shares[target]) for target in sick])
    if scenario.endswith("low specificity"):
        errors += 1
    names = of_patient[patients]
    if scenario == "slices within patients":
        names = rng.integers(0, count, len(patients))
    folds = rng.integers(0, 5, N_PATIENTS)[patients]
    if scenario == "one source left out":
        folds = names
    scored = Scored(
        targets=targets,
        probabilities=special.expit(2 * targets - 1 + errors),
        slices=np.arange(len(patients)),
        units=patients,
        folds=folds,
    )
    return scored, names.astype(str)


def _rejected(p_values: np.ndarray) -> float:
    return float(np.mean(p_values[~np.isnan(p_values)] <= 0.05))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulations, print a table, and write the numbers."""
    parser = make_parser(__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--runs", type=int, default=300, help="default: 300")
    parser.add_argument("--permutations", type=int, default=199, help="default: 199")
    options = parser.parse_args(arguments)
    errors: dict[str, dict[str, float]] = {}
    for scenario in options.scenarios:
        rng = np.random.default_rng(1)
        gaps = [
            compare(*draw(rng, scenario), n_permutations=options.permutations, seed=run)
            for run in range(options.runs)
        ]
        errors[scenario] = {
            gap.metric: _rejected(np.array([run[k].p_value for run in gaps]))
            for k, gap in enumerate(gaps[0])
        }
    names = list(next(iter(errors.values())))
    print(table(["type I error at 5 %", *names], [(s, *e.values()) for s, e in errors.items()]))
    write_json(options, errors)
    return 0


if __name__ == "__main__":
    sys.exit(main())

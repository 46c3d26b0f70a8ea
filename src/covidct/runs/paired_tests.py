"""Tests of whether runs on the same folds, or on the same slices split otherwise, differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from math import isnan, nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from .._files import json_ready
from ..evaluation import metrics
from ..evaluation.intervals import Interval
from ..evaluation.significance import (
    ResampledTTest,
    corrected_resampled_ttest,
    difference_interval,
    holm,
    permutation_test,
)
from ..evaluation.tables import Table
from .scores import ScoredFolds

__all__ = ["PairedTest", "PairedTests", "check_same_folds", "compare_runs", "same_folds"]


class PairedTest(NamedTuple):
    """Whether run a differs from run b on the same slices.

    Attributes
    ----------
    a, b
        The runs.
    difference
        The metric of a less that of b, over all out-of-fold predictions.
    interval
        Its 95 % confidence interval, from resamples of whole groups that both runs share.
    p_permutation
        Of swapping the predictions of whole groups: would these fitted networks be told apart?
    p_permutation_holm
        The same, corrected for the number of tests.
    p_folds
        Of the corrected resampled t-test over the folds: would a new training show the difference
        again? NaN where all folds test the same slices, so that none are resampled, and where the
        folds of the runs are others.
    p_folds_holm
        The same, corrected for the number of tests.
    """

    a: str
    b: str
    difference: float
    interval: Interval
    p_permutation: float
    p_permutation_holm: float
    p_folds: float
    p_folds_holm: float


@dataclass(frozen=True)
class PairedTests:
    """Tests of one metric; printing them gives a table in percentage points.

    Attributes
    ----------
    metric
        Its name.
    unit
        What was resampled and swapped as a whole: ``"group"`` or ``"slice"``.
    tests
        One for each pair.
    """

    metric: str
    unit: str
    tests: tuple[PairedTest, ...]

    def table(self, style: str = "text") -> str:
        """Lay out the tests in rows.

        Parameters
        ----------
        style
            ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.

        Returns
        -------
        str
            Differences and intervals in percentage points, and p-values.
        """
        header, *rows = self.rows()
        return Table(header, rows).render(style)

    def rows(self) -> list[list[str]]:
        """Write the header of the table, and then a row for each test.

        Returns
        -------
        list of list of str
            Differences and intervals in percentage points, and p-values.
        """
        return [
            ["runs", "difference", "95 % interval", *_P_VALUES.values()],
            *(
                [
                    f"{test.a} less {test.b}",
                    _points(test.difference),
                    " to ".join(map(_points, test.interval)),
                    *(_p_value(getattr(test, name)) for name in _P_VALUES),
                ]
                for test in self.tests
            ),
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What interval and p-values are of, in sentences."""
        untested = any(isnan(test.p_folds) for test in self.tests)
        return (
            f"Interval and permutation: of whole {self.unit}s, for the networks as fitted.",
            "Folds: corrected resampled t-test (Nadeau and Bengio 2003), for networks fitted anew.",
            *([_UNTESTED] if untested else []),
            f"Holm: p corrected for the number of tests, {len(self.tests)}.",
        )

    def to_dict(self) -> dict[str, Any]:
        """Collect the tests for JSON.

        Returns
        -------
        dict
            Plain values; what is undefined is None.
        """
        tests = [test._asdict() for test in self.tests]
        ready: dict[str, Any] = json_ready({**asdict(self), "tests": tests})
        return ready

    def __str__(self) -> str:
        if not self.tests:
            return "no two runs have the same folds, or differ in their split alone"
        title = metrics.find_metric(self.metric).title
        return "\n".join(
            [
                f"{title}, differences on the same slices (percentage points)",
                self.table(),
                *self.notes,
            ]
        )


_UNTESTED = (
    "Folds are not tested (–) where they repeat one split or lack the metric, or where the runs "
    "differ in their split."
)
_P_VALUES = {
    "p_permutation": "p permutation",
    "p_permutation_holm": "Holm",
    "p_folds": "p folds",
    "p_folds_holm": "Holm",
}


def compare_runs(
    results: Mapping[str, ScoredFolds],
    *,
    metric: str = "accuracy",
    pairs: Iterable[tuple[str, str]] | None = None,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> PairedTests:
    """Test whether runs differ that were made on the same folds, or in their split alone.

    Of two runs of one network, recipe and slices, one under a random and one under a grouped split,
    the difference is what the split is worth.

    Parameters
    ----------
    results
        The runs by name.
    metric
        A name out of ``covidct.evaluation.metrics.METRICS``.
    pairs
        Which to compare; by default all that can be.
    n_permutations
        As for :func:`covidct.evaluation.significance.permutation_test`.
    seed
        Of all that is drawn.

    Returns
    -------
    PairedTests
        A test for each pair, with p-values corrected for their number by Holm's method.

    Raises
    ------
    ValueError
        If the runs of a pair have not the same folds, and differ in more than their split.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.paired_tests import compare_runs
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> def run(recipe):
    ...     options = {"cv": 2, "groups": "patient", "weights": None}
    ...     return covidct.CrossValidator("shufflenet", recipe, **options).run(slices)
    >>> runs = {"padded": run(recipe), "stretched": run(recipe.replace(resize="stretch"))}
    >>> test, = compare_runs(runs).tests
    >>> test.a, test.b, test.interval.low <= test.difference <= test.interval.high
    ('padded', 'stretched', True)
    """
    name = metrics.find_metric(metric).name
    chosen = []
    for a, b in combinations(results, 2) if pairs is None else pairs:
        why = _unpaired(results[a], results[b])
        if not why:
            chosen.append((a, b))
        elif pairs is not None:
            raise ValueError(f"{a!r} and {b!r} cannot be compared: {why}")
    bar = tqdm(chosen, "comparisons", unit="pair", disable=None, leave=False)
    tests = [
        PairedTest(
            a, b, *_test(results[a], results[b], name, n_permutations=n_permutations, seed=seed)
        )
        for a, b in bar
    ]
    corrected = {
        f"{kind}_holm": holm([getattr(test, kind) for test in tests]).tolist()
        for kind in ("p_permutation", "p_folds")
    }
    grouped = all(results[a].has_groups or results[b].has_groups for a, b in chosen)
    return PairedTests(
        name,
        "group" if grouped else "slice",
        tuple(
            test._replace(**{kind: values[i] for kind, values in corrected.items()})
            for i, test in enumerate(tests)
        ),
    )


def same_folds(a: ScoredFolds, b: ScoredFolds) -> bool:
    """Tell whether two runs have slices, protocol and folds in common.

    Parameters
    ----------
    a, b
        The runs.

    Returns
    -------
    bool
        Whether they can be compared slice by slice.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.paired_tests import same_folds
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> same_folds(result, result)
    True
    """
    return not _mismatch(a, b)


def check_same_folds(name_a: str, a: ScoredFolds, name_b: str, b: ScoredFolds) -> None:
    """Refuse two runs that have not slices, protocol and folds in common.

    Parameters
    ----------
    name_a, name_b
        What to call them.
    a, b
        The runs.

    Raises
    ------
    ValueError
        If they are not paired; the message says why.
    """
    why = _mismatch(a, b)
    if why:
        raise ValueError(f"{name_a!r} and {name_b!r} have not the same folds: {why}")


def _mismatch(a: ScoredFolds, b: ScoredFolds) -> str:
    """Say in what two runs are not paired; nothing if they are."""
    if a.content_hash != b.content_hash:
        return (
            f"one is of {a.dataset_name!r}, the other of {b.dataset_name!r} or other slices of it"
        )
    if a.protocol != b.protocol:
        return f"the protocol of one is {a.protocol!r}, of the other {b.protocol!r}"
    same = len(a.folds) == len(b.folds) and all(
        np.array_equal(ours.test, theirs.test) and np.array_equal(ours.train, theirs.train)
        for ours, theirs in zip(a.folds, b.folds, strict=True)
    )
    return "" if same else "their folds differ; run them with the same seed and number of folds"


def _unpaired(a: ScoredFolds, b: ScoredFolds) -> str:
    """Say why two runs cannot be compared slice by slice; nothing if they can."""
    folds = _mismatch(a, b)
    more = _beside_the_split(a, b) if folds else ""
    return f"{folds}; and they differ in more than the split: {more}" if more else ""


def _beside_the_split(a: ScoredFolds, b: ScoredFolds) -> str:
    """List in what else than the split two runs differ."""
    tested, too = (np.sort(run.predictions["index"]) for run in (a, b))
    ours, theirs = a.settings, b.settings
    differ = {
        "slices": a.content_hash != b.content_hash or not np.array_equal(tested, too),
        "network": a.model_name != b.model_name,
        "what was averaged": not (ours and theirs),
        **{option: ours[option] != theirs.get(option) for option in ours},
    }
    return ", ".join(what for what, differs in differ.items() if differs)


def _groups(a: ScoredFolds, b: ScoredFolds) -> npt.NDArray[np.str_] | None:
    """Return what is drawn as a whole: patients rather than what only looks alike."""
    best = max((a, b), key=lambda run: (run.has_patients, run.has_groups))
    return best.pooled_predictions()["group"] if best.has_groups else None


def _test(
    a: ScoredFolds, b: ScoredFolds, metric: str, *, n_permutations: int, seed: int
) -> tuple[float, Interval, float, float, float, float]:
    ours, theirs = a.pooled_predictions(), b.pooled_predictions()
    predictions = ours["target"], ours["probability"], theirs["probability"]
    groups = _groups(a, b)
    swapped = permutation_test(
        *predictions, groups=groups, metric=metric, n_permutations=n_permutations, seed=seed
    )
    interval = difference_interval(*predictions, groups=groups, metric=metric, seed=seed)
    folds = _over_folds(a, b, metric)
    p_folds = nan if folds is None else folds.p_value
    return swapped.difference, interval, swapped.p_value, nan, p_folds, nan


def _over_folds(a: ScoredFolds, b: ScoredFolds, metric: str) -> ResampledTTest | None:
    """Test over the folds, unless they differ, repeat one split or leave the metric undefined."""
    if not same_folds(a, b):
        return None
    differences = [
        ours[metric] - theirs[metric]
        for ours, theirs in zip(a.fold_metrics, b.fold_metrics, strict=True)
    ]
    if len({fold.test.tobytes() for fold in a.folds}) < 2 or any(map(isnan, differences)):
        return None
    return corrected_resampled_ttest(
        differences,
        n_train=float(np.mean([len(fold.train) for fold in a.folds])),
        n_test=float(np.mean([len(fold.test) for fold in a.folds])),
    )


def _points(difference: float) -> str:
    return "–" if isnan(difference) else f"{100 * difference:+.1f}"


def _p_value(p: float) -> str:
    if isnan(p):
        return "–"
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"

"""Significance tests of differences between runs on the same slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from math import isnan, nan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from .._display import Displayed
from .._files import json_ready
from ..errors import UnknownNameError
from ..evaluation import metrics
from ..evaluation.intervals import Interval
from ..evaluation.significance import (
    corrected_resampled_ttest,
    difference_interval,
    holm,
    permutation_test,
)
from ..evaluation.tables import Table
from ..evaluation.variance import crossed_interval
from .retraining import Replicates, has_one_split
from .scores import ScoredFolds, check_named

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PairedTest", "PairedTests", "check_same_folds", "compare_runs", "same_folds"]


class PairedTest(NamedTuple):
    """Difference between two runs on the same slices, with its interval and p-values.

    Attributes
    ----------
    a, b : str
        Names of the runs.
    difference : float
        Mean of the metric over the folds of `a` minus that of `b`, as in the tables of the runs, as
        a fraction.
    interval : Interval
        95 % confidence interval of the difference, from resampling whole groups.
    p_permutation : float
        P-value of the permutation test of a difference between the fitted networks, which swaps the
        predictions of whole groups. For the AUC, ranks within network and fold are swapped instead
        of probabilities.
    p_permutation_holm : float
        `p_permutation`, corrected for the number of tests by Holm's method.
    retraining : Interval
        95 % confidence interval of the difference between retrained networks: by the corrected
        resampled t-test over the folds if the runs have the same folds, and by
        :func:`covidct.evaluation.variance.crossed_interval` for repeats of one split and for runs
        that differ in their split. NaN, with the `reason`, if repeats are needed or the metric is
        undefined.
    p_retraining : float
        P-value of the difference between retrained networks, by the same method.
    p_retraining_holm : float
        `p_retraining`, corrected for the number of tests by Holm's method.
    """

    a: str
    b: str
    difference: float
    interval: Interval
    p_permutation: float
    p_permutation_holm: float
    retraining: Interval
    p_retraining: float
    p_retraining_holm: float


@dataclass(frozen=True, repr=False)
class PairedTests(Displayed):
    """Tests of one metric, one per pair of runs, printed as a table.

    Parameters
    ----------
    metric : str
        Name of the metric.
    unit : {"group", "slice"}
        Unit that was resampled and swapped as a whole.
    tests : tuple of PairedTest
        The tests.

    Examples
    --------
    >>> from covidct.runs.paired_tests import PairedTests
    >>> PairedTests("accuracy", "group", ()).table().header[:2]
    ('runs', 'difference')
    """

    metric: str
    unit: str
    tests: tuple[PairedTest, ...]

    def table(self) -> Table:
        """Return a table with a row per test.

        Returns
        -------
        Table
            Differences and intervals in percentage points, and p-values, which are corrected by
            Holm's method if there are several tests; its notes name the tests.
        """
        suffix, note = ("_holm", " (Holm)") if len(self.tests) > 1 else ("", "")
        title = metrics.find_metric(self.metric).title
        rows = [
            [
                f"{test.a} minus {test.b}",
                _points(test.difference),
                _range(test.interval),
                _p_value(getattr(test, f"p_permutation{suffix}")),
                _range(test.retraining),
                _p_value(getattr(test, f"p_retraining{suffix}")),
            ]
            for test in self.tests
        ]
        return Table(
            [
                "runs",
                "difference",
                "95 % interval",
                f"p permutation{note}",
                "retrained",
                f"p retrained{note}",
            ],
            rows,
            caption=f"{title}: differences on the same slices, in percentage points",
            notes=self._notes(),
        )

    def _notes(self) -> tuple[str, ...]:
        reasons = dict.fromkeys(t.interval.reason for t in self.tests if t.interval.reason)
        methods = {test.retraining.method for test in self.tests}
        untested = dict.fromkeys(t.retraining.reason for t in self.tests if t.retraining.reason)
        return (
            (
                "Difference of the means over folds. Interval and permutation test resample whole "
                f"{self.unit}s and do not include the variation between trainings."
            ),
            *(text for method, text in _RETRAINED.items() if method in methods),
            *(
                f"Retrained networks are not compared (–): {reason.format(unit=self.unit)}."
                for reason in untested
            ),
            *(f"No interval (–): {reason.format(unit=self.unit)}." for reason in reasons),
            *(
                [f"Holm: p-value corrected for the number of tests, {len(self.tests)}."]
                if len(self.tests) > 1
                else []
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the tests as plain values for JSON.

        Returns
        -------
        dict
            ``metric``, ``unit`` and ``tests``; undefined values are None.
        """
        tests = [test._asdict() for test in self.tests]
        ready: dict[str, Any] = json_ready({**asdict(self), "tests": tests})
        return ready

    def __str__(self) -> str:
        if not self.tests:
            return "no runs to compare: all pairs differ in folds and in more than the split"
        return self.table().render()

    def _repr_html_(self) -> str:
        return self.table().render("html") if self.tests else str(self)


_RETRAINED = {
    "corrected": "Retrained: 95 % interval and p-value of the corrected resampled t-test over "
    "folds (Nadeau and Bengio 2003), for networks that are trained again on other slices.",
    "crossed": "Retrained: 95 % interval and p-value from repeats and test patients, crossed, for "
    "networks that are trained again on the same slices, with other seeds and splits.",
}


def compare_runs(
    results: Mapping[str, ScoredFolds],
    *,
    metric: str = "accuracy",
    pairs: Iterable[tuple[str, str]] | None = None,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> PairedTests:
    """Test the differences between runs on the same slices.

    Two runs are comparable if they have the same folds, or if they differ only in their split. For
    two runs of one network and recipe, one with a random and one with a grouped split, the
    difference measures the effect of the split.

    Parameters
    ----------
    results : mapping of str to ScoredFolds
        Runs by name.
    metric : str, default="accuracy"
        Name of a metric in ``covidct.evaluation.metrics.METRICS``.
    pairs : iterable of (str, str) or None, default=None
        Names of the runs to compare. None: all comparable pairs.
    n_permutations : int, default=10_000
        Number of permutations, as in :func:`covidct.evaluation.significance.permutation_test`.
    seed : int, default=0
        Random seed of permutations and resamples.

    Returns
    -------
    PairedTests
        A test for each pair, with p-values corrected for their number by Holm's method.

    Raises
    ------
    TypeError
        If `results` does not map names to runs.
    UnknownNameError
        If `metric`, or a run in `pairs`, is unknown.
    ValueError
        If two runs in `pairs` have different folds and differ in more than their split.

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
    >>> test.a, test.b, 0 < test.p_permutation <= 1
    ('padded', 'stretched', True)
    """
    name = metrics.find_metric(metric).name
    check_named("results", results, ScoredFolds)
    pairs = None if pairs is None else list(pairs)
    for run in (run for pair in pairs or () for run in pair):
        if run not in results:
            raise UnknownNameError.among("run", run, results)
    chosen = []
    for a, b in combinations(results, 2) if pairs is None else pairs:
        reason = _not_comparable(results[a], results[b])
        if not reason:
            chosen.append((a, b))
        elif pairs is not None:
            raise ValueError(f"{a!r} and {b!r} cannot be compared: {reason}")
    bar = tqdm(chosen, "comparisons", unit="pair", disable=None, leave=False)
    tests = [_test(results, a, b, name, n_permutations=n_permutations, seed=seed) for a, b in bar]
    corrected = {
        f"{kind}_holm": holm([getattr(test, kind) for test in tests]).tolist()
        for kind in ("p_permutation", "p_retraining")
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
    """Return True if two runs have the same slices, protocol and folds.

    Parameters
    ----------
    a, b : ScoredFolds
        Runs.

    Returns
    -------
    bool
        True if the runs can be compared fold by fold.

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
    return not _fold_mismatch(a, b)


def check_same_folds(name_a: str, a: ScoredFolds, name_b: str, b: ScoredFolds) -> None:
    """Raise an error unless two runs have the same slices, protocol and folds.

    Parameters
    ----------
    name_a, name_b : str
        Names of the runs in the error.
    a, b : ScoredFolds
        Runs.

    Raises
    ------
    ValueError
        If slices, protocol or folds differ; the message names the difference.
    """
    reason = _fold_mismatch(a, b)
    if reason:
        raise ValueError(f"{name_a!r} and {name_b!r} do not have the same folds: {reason}")


def _fold_mismatch(a: ScoredFolds, b: ScoredFolds) -> str:
    """Describe why two runs do not have the same folds; empty if they do."""
    if a.content_hash != b.content_hash:
        if a.dataset_name == b.dataset_name:
            return f"they use different slices of {a.dataset_name!r}"
        return f"one uses {a.dataset_name!r}, the other {b.dataset_name!r}"
    if a.protocol != b.protocol:
        return f"the protocol of one is {a.protocol.label!r}, of the other {b.protocol.label!r}"
    same = len(a.folds) == len(b.folds) and all(
        np.array_equal(one.test, other.test) and np.array_equal(one.train, other.train)
        for one, other in zip(a.folds, b.folds, strict=True)
    )
    return "" if same else "their folds differ; use the same seed and number of folds for both runs"


def _not_comparable(a: ScoredFolds, b: ScoredFolds) -> str:
    """Describe why two runs cannot be compared slice by slice; empty if they can."""
    reason = _fold_mismatch(a, b)
    more = _differences_but_split(a, b) if reason else ""
    return f"{reason}; and they differ in more than the split: {more}" if more else ""


def _differences_but_split(a: ScoredFolds, b: ScoredFolds) -> str:
    """List the properties in which two runs differ, apart from the split."""
    tested_a, tested_b = (np.sort(run.predictions["index"]) for run in (a, b))
    settings_a, settings_b = a.settings, b.settings
    differ = {
        "slices": a.content_hash != b.content_hash or not np.array_equal(tested_a, tested_b),
        "network": a.model_name != b.model_name,
        "averaged runs": not (settings_a and settings_b),
        **{name: settings_a[name] != settings_b.get(name) for name in settings_a},
        "split_seed": False,  # part of the split
    }
    return ", ".join(name for name, differs in differ.items() if differs)


def _by_slice(run: ScoredFolds) -> pd.DataFrame:
    """Return the predictions in the order of the slices, and of the folds that repeat a slice."""
    return run.predictions.sort_values(["index", "fold"], kind="stable", ignore_index=True)


def _units(a: ScoredFolds, b: ScoredFolds) -> pd.Series[Any]:
    """Return the units to resample: patients if known in a run, else near-duplicates or slices.

    All predictions of a slice are in one unit.
    """
    best = max((a, b), key=lambda run: (run.has_patients, run.has_groups))
    return _by_slice(best)["group" if best.has_groups else "index"]


def _test(
    results: Mapping[str, ScoredFolds],
    name_a: str,
    name_b: str,
    metric: str,
    *,
    n_permutations: int,
    seed: int,
) -> PairedTest:
    """Test one pair; the corrected p-values are NaN."""
    a, b = results[name_a], results[name_b]
    rows_a, rows_b = _by_slice(a), _by_slice(b)
    predictions = rows_a["target"], rows_a["probability"], rows_b["probability"]
    units, folds = _units(a, b), np.stack([rows_a["fold"], rows_b["fold"]])
    swapped = permutation_test(
        *predictions,
        groups=units,
        folds=folds,
        metric=metric,
        n_permutations=n_permutations,
        seed=seed,
    )
    interval = difference_interval(
        *predictions, groups=units, folds=folds, metric=metric, seed=seed
    )
    retraining, p_retraining = _test_retrained(a, b, metric)
    return PairedTest(
        a=name_a,
        b=name_b,
        difference=swapped.difference,
        interval=interval,
        p_permutation=swapped.p_value,
        p_permutation_holm=nan,
        retraining=retraining,
        p_retraining=p_retraining,
        p_retraining_holm=nan,
    )


def _test_retrained(a: ScoredFolds, b: ScoredFolds, metric: str) -> tuple[Interval, float]:
    """Return interval and p-value of the difference between retrained networks."""
    if not same_folds(a, b) or has_one_split(a):
        both = Replicates.of([a, b], metric)
        n = len(both.scores) // 2
        return crossed_interval(
            both.scores[:n] - both.scores[n:],
            both.influences[:n] - both.influences[n:],
            n_groups=both.groups,
        )
    differences = [
        of_a[metric] - of_b[metric]
        for of_a, of_b in zip(a.fold_metrics, b.fold_metrics, strict=True)
    ]
    if any(map(isnan, differences)):
        return Interval(nan, nan, reason="the metric is undefined in a fold"), nan
    test = corrected_resampled_ttest(
        differences,
        n_train=float(np.mean([len(fold.train) for fold in a.folds])),
        n_test=float(np.mean([len(fold.test) for fold in a.folds])),
    )
    return test.interval, test.p_value


def _range(interval: Interval) -> str:
    return "–" if isnan(interval.low) else " to ".join(map(_points, interval))


def _points(difference: float) -> str:
    return "–" if isnan(difference) else f"{100 * difference:+.1f}"


def _p_value(p: float) -> str:
    if isnan(p):
        return "–"
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"

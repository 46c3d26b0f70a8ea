"""Variation between trainings: variance components, and intervals for retrained networks.

Three intervals answer three questions. The bootstrap over patients is about the fitted networks on
other patients. The correction of Nadeau and Bengio (2003) is about networks that are trained again
on other patients of the source; it needs several folds and becomes narrower with repeats. The
crossed interval is about networks that are trained again on the same patients; it needs repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .._display import Displayed
from ..evaluation import metrics, variance
from ..evaluation.intervals import Interval
from ..evaluation.significance import corrected_resampled_ttest
from ..evaluation.tables import Table, percent, percent_range

if TYPE_CHECKING:
    from .scores import ScoredFolds

__all__ = [
    "Replicates",
    "VarianceComponents",
    "has_one_split",
    "interval_table",
    "retraining_interval",
    "variance_components",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Replicates:
    """Scores of several complete repetitions of an experiment on the same slices.

    Parameters
    ----------
    scores : ndarray of shape (n_replicates,)
        Metric of each repetition: its mean over the folds.
    influences : ndarray of shape (n_replicates, n_blocks)
        Contributions of the patients, as returned by
        :func:`covidct.evaluation.variance.group_influences`.
    splits : tuple of int
        Number of the split of each repetition; repetitions on the same folds have the same number.
    groups : int
        Number of patients, or other units.
    """

    scores: Floats
    influences: Floats
    splits: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, results: Sequence[ScoredFolds], metric: str) -> Replicates:
        """Collect the scores of each repeat of each run.

        Parameters
        ----------
        results : sequence of ScoredFolds
            Runs on the same slices.
        metric : str
            Key in ``covidct.evaluation.metrics.METRICS``.

        Returns
        -------
        Replicates
            Scores. A run whose repeats do not test the same slices counts as one repetition.
        """
        import pandas as pd

        best = max(results, key=lambda run: (run.has_patients, run.has_groups))
        units = best.predictions.drop_duplicates("index").set_index("index")
        unit_of = units["group"] if best.has_groups else units.index.to_series()
        parts: list[pd.DataFrame] = []
        scores: list[float] = []
        numbers: list[int] = []
        known: dict[object, int] = {}
        for result in results:
            for folds in _repetitions(result):
                rows = result.predictions[result.predictions["fold"].isin(folds)]
                parts.append(rows.assign(replicate=len(parts), unit=unit_of[rows["index"]].array))
                of_folds = [result.fold_metrics[k][metric] for k in folds]
                defined = [score for score in of_folds if not isnan(score)]
                scores.append(float(np.mean(defined)) if defined else nan)
                split = frozenset(result.folds[k] for k in folds)
                numbers.append(known.setdefault(split, len(known)))
        rows = pd.concat(parts, ignore_index=True)
        influences = variance.group_influences(
            rows["target"],
            rows["probability"],
            replicates=rows["replicate"],
            groups=rows["unit"],
            folds=rows["fold"],
            metric=metric,
        )
        return cls(np.array(scores), influences, tuple(numbers), rows["unit"].nunique())


def has_one_split(result: ScoredFolds) -> bool:
    """Return True if all repeats of a run have the same test parts, or it has one fold.

    Such repeats differ in the training only, such as those of an official split or of left-out
    sources.

    Parameters
    ----------
    result : ScoredFolds
        The run.

    Returns
    -------
    bool
        False for a single cross-validation, and for repeats with different folds.
    """
    number, repeats = len(result.folds), max(result.repeat_numbers) + 1
    distinct = len({fold.test.tobytes() for fold in result.folds})
    return number == 1 or (repeats > 1 and distinct * repeats == number)


def _repetitions(result: ScoredFolds) -> list[list[int]]:
    """Return the numbers of the folds of each repeat; of all folds if repeats differ in slices."""
    repeats = result.repeat_numbers
    found = [[k for k, r in enumerate(repeats) if r == n] for n in range(max(repeats) + 1)]
    tested = [np.sort(np.concatenate([result.folds[k].test for k in folds])) for folds in found]
    same = all(np.array_equal(tested[0], other) for other in tested[1:])
    return found if same else [list(range(len(result.folds)))]


@dataclass(frozen=True, repr=False)
class VarianceComponents(Displayed):
    """Variances of a metric due to training, split and patients, printed as a table.

    The metric is that of one cross-validation, the mean over its folds, as a fraction. A variance
    is NaN if it cannot be estimated from the runs.

    Parameters
    ----------
    metric : str
        Name of the metric.
    unit : str
        Noun for the units that vary, such as ``"patient"``.
    trainings, splits : int
        Number of repetitions, and of different splits among them.
    training : float
        Variance between trainings on one split.
    split : float
        Variance between splits, apart from that of the training.
    both : float
        Variance between trainings on different splits.
    patients : float
        Variance between samples of test patients, with the same networks.

    Examples
    --------
    >>> from covidct.runs.retraining import VarianceComponents
    >>> parts = VarianceComponents("accuracy", "patient", 4, 2, 1e-4, 3e-4, 4e-4, 9e-4)
    >>> parts.table().rows[0][:2]
    ('training', '1.0')
    """

    metric: str
    unit: str
    trainings: int
    splits: int
    training: float
    split: float
    both: float
    patients: float

    def table(self) -> Table:
        """Return the standard deviations in a table with a row per source of variation.

        Returns
        -------
        Table
            Standard deviations in percentage points, and the change that each describes.
        """
        unit = self.unit
        together = self.both + self.patients
        rows = [
            ("training", self.training, "another seed of the training, on the same split"),
            ("split", self.split, "another seed of the split"),
            ("training and split", self.both, "another seed of both"),
            (f"{unit}s", self.patients, f"other test {unit}s, classified by the same networks"),
            ("together", together, f"another seed of both, and other test {unit}s"),
        ]
        return Table(
            ["source", "sd, points", "change"],
            [
                [name, "not estimable" if isnan(part) else f"{100 * sqrt(part):.1f}", text]
                for name, part, text in rows
            ],
            caption=f"{metrics.find_metric(self.metric).title} of one cross-validation: standard "
            "deviations by source",
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        yield f"From {self.trainings} repetitions on {self.splits} different splits."
        if isnan(self.training):
            yield (
                "Training: needs several trainings on one split (runs with the same split_seed and "
                "different seeds, or repeats of an official split)."
            )
        if isnan(self.split):
            yield "Split: needs several splits, and several trainings on one of them."
        if self.trainings == 1:
            yield (
                f"{self.unit.capitalize()}s: with one repetition, the errors of its own networks "
                "are included, so the value is too large."
            )
        yield f"The variation from training on other {self.unit}s is not included."

    def __str__(self) -> str:
        return str(self.table())


def variance_components(
    results: ScoredFolds | Sequence[ScoredFolds], *, metric: str = "accuracy"
) -> VarianceComponents:
    """Estimate the variance of a metric due to training, split and patients.

    From repeats with different splits, only the sum of training and split can be estimated. To
    separate the two, pass runs with the same ``split_seed`` and different seeds.

    Parameters
    ----------
    results : ScoredFolds or sequence of ScoredFolds
        A run with repeats, or runs that differ only in ``seed``, ``split_seed`` or both.
    metric : str, default="accuracy"
        Name of a metric in ``covidct.evaluation.metrics.METRICS``.

    Returns
    -------
    VarianceComponents
        Variances; NaN if they cannot be estimated from the runs.

    Raises
    ------
    UnknownNameError
        If `metric` is unknown.
    ValueError
        If runs differ in more than their seeds, or test different slices.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs import variance_components
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None,
    ...                             repeats=2)
    >>> found = variance_components(cv.run(slices))
    >>> found.trainings, found.patients >= 0
    (2, True)
    """
    name = metrics.find_metric(metric).name
    runs = list(results) if isinstance(results, Sequence) else [results]
    if not runs:
        raise ValueError("variance_components needs at least one run, got 0")
    for other in runs[1:]:
        _check_alike(runs[0], other)
    found = Replicates.of(runs, name)
    if np.isnan(found.scores).any():
        parts = variance.SplitComponents(nan, nan, nan)
    else:
        parts = variance.split_components(found.scores, found.splits)
    return VarianceComponents(
        metric=name,
        unit=runs[0].resampled_unit,
        trainings=len(found.scores),
        splits=len(set(found.splits)),
        training=parts.training,
        split=parts.split,
        both=parts.both,
        patients=variance.shared_variance(found.influences),
    )


_SEEDS = {"seed", "split_seed", "repeats"}


def _check_alike(a: ScoredFolds, b: ScoredFolds) -> None:
    """Raise an error unless two runs differ in their seeds only."""
    differ = {
        "dataset": a.content_hash != b.content_hash,
        "network": a.model_name != b.model_name,
        "protocol": a.protocol != b.protocol,
        "tested slices": set(a.predictions["index"]) != set(b.predictions["index"]),
        **{k: v != b.settings.get(k) for k, v in a.settings.items() if k not in _SEEDS},
    }
    if wrong := [name for name, differs in differ.items() if differs]:
        raise ValueError(
            f"runs must differ in seed or split_seed only, but these differ in {', '.join(wrong)}"
        )


def retraining_interval(result: ScoredFolds, metric: str, *, level: float = 0.95) -> Interval:
    """Compute a confidence interval of a metric's mean for retrained networks.

    Parameters
    ----------
    result : ScoredFolds
        The run.
    metric : str
        Key in ``covidct.evaluation.metrics.METRICS``.
    level : float, default=0.95
        Nominal coverage, in (0, 1).

    Returns
    -------
    Interval
        See :meth:`ScoredFolds.retraining_interval`.
    """
    scores = [of_fold[metric] for of_fold in result.fold_metrics]
    if any(map(isnan, scores)):
        return Interval(nan, nan, reason="the metric is undefined in a fold")
    if not has_one_split(result):
        ends = corrected_resampled_ttest(
            scores,
            n_train=float(np.mean([len(fold.train) for fold in result.folds])),
            n_test=float(np.mean([len(fold.test) for fold in result.folds])),
            level=level,
        ).interval
    else:
        found = Replicates.of([result], metric)
        ends, _ = variance.crossed_interval(
            found.scores, found.influences, n_groups=found.groups, level=level
        )
    if ends.reason:
        return ends
    lowest = -1.0 if metric == "mcc" else 0.0
    return Interval(max(ends.low, lowest), min(ends.high, 1.0), method=ends.method)


def interval_table(result: ScoredFolds, metric: str) -> Table:
    """Create a table of the questions that the intervals of a run answer.

    Parameters
    ----------
    result : ScoredFolds
        The run.
    metric : str
        Key in ``covidct.evaluation.metrics.METRICS``.

    Returns
    -------
    Table
        See :meth:`ScoredFolds.interval_table`.
    """
    unit = result.resampled_unit
    mean, sd = result.summary()[metric]
    retrained = retraining_interval(result, metric)
    by_source = result.protocol.id == "source"
    place = "these sources" if by_source else "this source"
    if retrained.method == "crossed":
        again = f"on the same slices, and tested on other {unit}s"
    elif by_source:
        again = "on other sources, and tested on another one"
    else:
        again = f"on other {unit}s of this source, and tested on others"
    method = {
        "corrected": "Nadeau and Bengio, over folds",
        "crossed": f"repeats and {unit}s, crossed",
    }
    rows = [
        [
            f"How well do the fitted networks classify other {unit}s of {place}?",
            percent_range(*result.intervals()[metric]),
            result.resampling,
        ],
        [
            f"How well do networks classify on average if they are trained again {again}?",
            percent_range(*retrained),
            method.get(retrained.method, f"none, since {retrained.reason.format(unit=unit)}"),
        ],
        [
            "How much does the metric differ between folds?",
            percent(mean, sd),
            "mean ± standard deviation, which is not an interval",
        ],
        ["How well do they classify in another hospital?", "–", "test on another source"],
    ]
    title = metrics.METRICS[metric].title
    return Table(
        ["question", title.lower() if title != "AUC" else title, "method"],
        rows,
        caption=f"{title}: the question that each interval answers (percent)",
    )

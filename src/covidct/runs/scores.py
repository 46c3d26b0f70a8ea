"""Metrics of out-of-fold predictions, with intervals, in tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .._display import Displayed
from .._files import json_ready
from .._text import capitalized
from ..evaluation import intervals, metrics
from ..evaluation.intervals import Interval, describe_intervals, describe_resampling
from ..evaluation.label_scores import LabelScores
from ..evaluation.metrics import TABLE_METRICS
from ..evaluation.tables import Table, percent, percent_range
from .columns import label_column
from .plots import Plots
from .protocol import NARROW_INTERVALS, leakage_warning
from .retraining import (
    VarianceComponents,
    interval_table,
    retraining_interval,
    variance_components,
)
from .subgroups import SubgroupMetrics, describe_labels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScoredFolds", "check_named"]

_MOST_COLUMNS = 10  # largest number of folds or repeats in a table, so that it fits on a screen


class ScoredFolds(Plots, SubgroupMetrics, Displayed):
    """Out-of-fold predictions with their metrics, confidence intervals and tables.

    Base class of runs (:class:`covidct.CrossValidationResult`) and of ensembles
    (:class:`covidct.runs.ensemble.Ensemble`). Printed as a table of the folds, in percent.

    Parameters
    ----------
    model_name : str
        Name of the network, or of several networks.
    dataset_name : str
        Name of the dataset.
    content_hash : str
        Hash of the dataset's content; runs with equal hashes predict the same slices.
    classes : tuple of (str, str)
        Names of class 0 and class 1.
    protocol : Protocol
        Division of the slices into folds.
    folds : tuple of Fold
        The folds.
    predictions : DataFrame
        One row per slice of each test fold, with the columns of
        :data:`covidct.runs.columns.PREDICTION_COLUMNS`.
    group_kind : str or None, default=None
        Kind of the known groups, such as ``"patient"``; None if groups are unknown.
    labels : tuple of str, default=()
        Labels that have a probability of their own, in the columns ``p_LABEL`` of `predictions`.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from covidct.runs.protocol import Protocol
    >>> from covidct.runs.scores import ScoredFolds
    >>> from covidct.runs.splits import Fold
    >>> first, second, none = np.array([0, 1]), np.array([2, 3]), np.empty(0, int)
    >>> predictions = pd.DataFrame({
    ...     "index": range(4), "path": ["0.png", "1.png", "2.png", "3.png"],
    ...     "target": [0, 1, 0, 1], "fold": [0, 0, 1, 1],
    ...     "probability": [0.2, 0.7, 0.2, 0.7], "logit": 0.0, "group": "", "label": "",
    ... })
    >>> scored = ScoredFolds(
    ...     "mine", "four", "", ("no", "yes"), Protocol.paper(),
    ...     (Fold(second, first, none), Fold(first, second, none)), predictions,
    ... )
    >>> scored.summary()["accuracy"]
    (1.0, 0.0)
    """

    @cached_property
    def fold_metrics(self) -> list[dict[str, float]]:
        """Metrics of each fold as fractions; NaN if a metric is undefined."""
        parts = map(self.fold_predictions, range(len(self.folds)))
        return [metrics.score(part["target"], part["probability"]) for part in parts]

    @cached_property
    def label_scores(self) -> LabelScores | None:
        """Confusion matrix, recall, precision and F1 of the labels; None without labels.

        The labels are those that the network was trained on with ``target="label"``.
        """
        if not self.labels:
            return None
        rows = self.predictions
        return LabelScores.of(
            rows["label"].to_numpy(),
            {name: rows[label_column(name)].to_numpy() for name in self.labels},
            folds=rows["fold"].to_numpy(),
            groups=self._units().to_numpy(),
            unit=self.resampled_unit,
        )

    @cached_property
    def patient_metrics(self) -> list[dict[str, float]] | None:
        """Metrics of each fold, with groups scored instead of slices; None if groups are unknown.

        The scores are those of :meth:`patient_predictions`.
        """
        rows = self.patient_predictions()
        if rows is None:
            return None
        parts = [rows[rows["fold"] == k] for k in range(len(self.folds))]
        return [metrics.score(part["target"], part["probability"]) for part in parts]

    def summary(self) -> dict[str, tuple[float, float]]:
        """Average each metric over the folds.

        Returns
        -------
        dict of str to tuple of (float, float)
            Mean and sample standard deviation over the folds of each metric, as fractions. The
            deviation is not a confidence interval; see :meth:`intervals`.
        """
        return metrics.summarize(self.fold_metrics)

    def intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Return bootstrap confidence intervals of the metrics' means over the folds.

        If groups are known, whole groups are resampled, since their slices are similar; otherwise
        single slices. The networks are not trained again, so the intervals do not include the
        variation between trainings. If fewer than ten groups have errors, proportions have Wilson's
        interval and other metrics may have none; see
        :func:`covidct.evaluation.intervals.bootstrap`. Intervals are computed once and cached.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        Returns
        -------
        dict of str to Interval
            Low and high end of each metric's interval, as fractions.
        """
        if level not in self._intervals:
            rows = self.predictions
            self._intervals[level] = intervals.bootstrap(
                rows["target"],
                rows["probability"],
                groups=self._units(),
                folds=rows["fold"],
                level=level,
            )
        return dict(self._intervals[level])

    def patient_intervals(self, *, level: float = 0.95) -> dict[str, Interval] | None:
        """Return confidence intervals of the means of :attr:`patient_metrics` over the folds.

        Accuracy, recall and specificity have Wilson's interval, which is also valid if all patients
        are classified correctly; the other metrics have a bootstrap over patients. Intervals are
        computed once and cached.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        Returns
        -------
        dict of str to Interval or None
            Low and high end of each metric's interval, as fractions; None if there are no patient
            metrics.
        """
        if level not in self._patient_intervals:
            self._patient_intervals[level] = self._compute_patient_intervals(level)
        found = self._patient_intervals[level]
        return None if found is None else dict(found)

    def _compute_patient_intervals(self, level: float) -> dict[str, Interval] | None:
        rows = self.patient_predictions()
        if rows is None:
            return None
        found = intervals.bootstrap(
            rows["target"],
            rows["probability"],
            groups=rows["group"],
            folds=rows["fold"],
            level=level,
        )
        means = metrics.summarize(self.patient_metrics or [])
        patients = dict(zip(rows["group"], rows["target"], strict=True))
        negatives, positives = np.bincount(list(patients.values()), minlength=2)
        shares = {"accuracy": len(patients), "recall": positives, "specificity": negatives}
        return found | {
            name: intervals.wilson(means[name][0] * n, n, level=level)
            for name, n in shares.items()
            if not np.isnan(means[name][0])
        }

    @cached_property
    def _intervals(self) -> dict[float, dict[str, Interval]]:
        return {}  # by level

    @cached_property
    def _patient_intervals(self) -> dict[float, dict[str, Interval] | None]:
        return {}

    def retraining_interval(self, metric: str = "accuracy", *, level: float = 0.95) -> Interval:
        r"""Return a confidence interval of a metric for networks that are trained again.

        :meth:`intervals` are those of the fitted networks: only test patients vary. This interval
        is that of the mean performance of networks trained by the same recipe.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in ``covidct.evaluation.metrics.METRICS``.
        level : float, default=0.95
            Coverage of the interval, in (0, 1).

        Returns
        -------
        Interval
            Low and high end, as fractions. Its `method` is ``"corrected"`` if folds differ: the
            networks are trained on other patients of the source. It is ``"crossed"`` if all repeats
            have the same folds, as those of an official split and of left-out sources: the networks
            are trained on the same slices and tested on other patients. NaN, with the `reason`, for
            one fold.

        Raises
        ------
        UnknownNameError
            If `metric` is unknown.

        See Also
        --------
        covidct.evaluation.significance.corrected_resampled_ttest : Correction of the variance.
        covidct.evaluation.variance.crossed_interval : Interval of repeats on the same slices.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None,
        ...                             repeats=2)
        >>> low, high = interval = cv.run(slices).retraining_interval("auc")
        >>> low <= high, interval.method
        (True, 'corrected')
        """
        return retraining_interval(self, metrics.find_metric(metric).name, level=level)

    def variance_components(self, metric: str = "accuracy") -> VarianceComponents:
        """Estimate the variance of a metric due to training, split and patients.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in ``covidct.evaluation.metrics.METRICS``.

        Returns
        -------
        VarianceComponents
            Variances, printed as a table. From repeats with different splits, only the sum of
            training and split can be estimated; :func:`covidct.runs.variance_components` separates
            the two, given several runs.

        Raises
        ------
        UnknownNameError
            If `metric` is unknown.
        """
        return variance_components(self, metric=metric)

    def interval_table(self, metric: str = "accuracy") -> Table:
        """Return a table of the questions that the intervals of a metric answer.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in ``covidct.evaluation.metrics.METRICS``.

        Returns
        -------
        Table
            A row per question, with the interval in percent and its method.

        Raises
        ------
        UnknownNameError
            If `metric` is unknown.
        """
        return interval_table(self, metrics.find_metric(metric).name)

    @property
    def resampling(self) -> str:
        """Phrase that describes the resampling of :meth:`intervals`, for the legend of a table."""
        return describe_resampling(self.resampled_unit, self._units().nunique())

    def interval_notes(self) -> list[str]:
        """Return sentences about unusual :meth:`intervals`, for the notes of a table.

        Returns
        -------
        list of str
            Sentences about metrics with Wilson's interval or without an interval; the simulated
            coverage if there are at most 50 patients or other units; and a warning if patients are
            unknown, since the intervals are then too narrow. Empty if none of these applies.
        """
        shown = {name: self.intervals()[name] for name in TABLE_METRICS}
        count = self._units().nunique()
        notes = describe_intervals(shown, unit=self.resampled_unit, count=count)
        if not self.has_patients:
            notes.append(NARROW_INTERVALS[self.has_groups])
        return notes

    @property
    def settings(self) -> dict[str, object]:
        """Settings other than network, dataset and protocol; empty for an ensemble."""
        return {}

    def to_frame(self) -> pd.DataFrame:
        """Return the metrics of the folds as a table of numbers.

        Returns
        -------
        DataFrame
            One row per fold and one column per metric, as fractions. The index is the number of
            the fold, or the name of the source that it tests.
        """
        import pandas as pd

        named = any(fold.name for fold in self.folds)
        index = list(self.fold_names) if named else range(len(self.folds))
        return pd.DataFrame(self.fold_metrics, index=index).rename_axis(index="fold")

    def table(self) -> Table:
        """Return the metrics in percent: each fold, mean ± standard deviation, and interval.

        Returns
        -------
        Table
            One row per metric. With more than ten folds, the columns are the means of the repeats;
            single folds are in :meth:`to_frame`.
        """
        summary, ends = self.summary(), self.intervals()
        heading, columns = self._columns()
        header = [heading, *columns, "mean ± sd", "95 % interval"]
        rows = [
            [
                metrics.METRICS[name].title,
                *(percent(scores[name]) for scores in columns.values()),
                percent(*summary[name]),
                percent_range(*ends[name]),
            ]
            for name in TABLE_METRICS
        ]
        caption = f"{self.model_name} on {self.dataset_name}, protocol: {self.protocol} (percent)"
        return Table(header, rows, caption=caption, notes=tuple(self._notes()))

    def _columns(self) -> tuple[str, dict[str, dict[str, float]]]:
        """Return the heading and the columns: folds or, if there are many, repeats."""
        scores = self.fold_metrics
        if len(scores) <= _MOST_COLUMNS:
            return "fold", dict(zip(self.fold_names, scores, strict=True))
        repeats = self.repeat_numbers
        number = max(repeats) + 1
        if not 1 < number <= _MOST_COLUMNS:
            return "fold", {}
        parts = [[s for s, r in zip(scores, repeats, strict=True) if r == n] for n in range(number)]
        means = [metrics.summarize(part) for part in parts]
        return "repeat", {
            str(n): {name: mean for name, (mean, _) in of_repeat.items()}
            for n, of_repeat in enumerate(means)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain values for JSON.

        Returns
        -------
        dict
            Undefined values are None.
        """
        summary = {name: {"mean": m, "sd": sd} for name, (m, sd) in self.summary().items()}
        content: dict[str, Any] = {
            "model": self.model_name,
            "dataset": self.dataset_name,
            "protocol": self.protocol.label,
            "summary": summary,
            "folds": self.fold_metrics,
            "intervals_95": self.intervals(),
            "patients": self.patient_metrics,
            "patient_intervals_95": self.patient_intervals(),
        }
        if self.label_scores is not None:
            content["labels"] = self.label_scores.to_dict()
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        return str(self.table())

    def _notes(self) -> Iterator[str]:
        number = max(self.repeat_numbers) + 1
        over = f"the {len(self.folds)} folds of {number} repeats" if number > 1 else "folds"
        yield (
            f"sd: sample standard deviation over {over}, which is not a confidence interval. "
            f"Interval of the mean: {self.resampling}."
        )
        yield from self.interval_notes()
        if number > 1 and not np.isnan((ends := self.retraining_interval("accuracy")).low):
            yield f"95 % interval of the accuracy for retrained networks: {percent_range(*ends)}."
        patients, of_patients = self.patient_metrics, self.patient_intervals()
        if patients and of_patients and self.has_patients:
            means = metrics.summarize(patients)
            yield f"Per {self.unit}, by the mean probability of its slices: " + ", ".join(
                f"{metrics.METRICS[name].title.lower()} {percent(means[name][0])} "
                f"({percent_range(*of_patients[name])})"
                for name in ("accuracy", "recall", "specificity")
            )
            yield from self.group_notes()
        if self.label_scores is not None:
            macro, interval = self.label_scores.macro_f1, self.label_scores.macro_f1_interval
            yield (
                f"Macro F1 of the {len(self.labels)} labels, by the highest probability: "
                f"{percent(macro)} ({percent_range(*interval)}); label_scores has the table."
            )
        if self.predictions["label"].nunique() > 2:
            yield f"By label: {', '.join(describe_labels(self.by('label')))}."
        if self.protocol.group_kind == self.group_kind == "near-duplicate":
            sizes = self.pooled_predictions()["group"].value_counts()
            several = sizes[sizes > 1]
            yield (
                f"Kept together: {len(several):,} groups of near-duplicates with "
                f"{several.sum():,} slices; the largest has {0 if several.empty else several.max()}"
                " slices. Other slices of the same patients may still be in both parts."
            )
        if self.protocol.id == "paper" and self.shared_groups() != 0:
            warning = leakage_warning(self.unit if self.has_groups else None)
            yield f"{capitalized(warning)}."
        yield from metrics.undefined_notes(self.fold_metrics)


def check_named(option: str, given: object, kind: type) -> None:
    """Check that an argument maps names to runs or datasets.

    Parameters
    ----------
    option : str
        Name of the argument.
    given : object
        The argument.
    kind : type
        Type of its values.

    Raises
    ------
    TypeError
        If it is another kind of collection, or one of its values has another type.
    """
    values = given.values() if isinstance(given, Mapping) else ()
    odd = [value for value in values if not isinstance(value, kind)]
    if odd or not isinstance(given, Mapping):
        wrong = odd[0] if odd else given
        raise TypeError(
            f"{option} must map names to values of type {kind.__name__}, as in {{'a': x, 'b': y}}; "
            f"got a {type(wrong).__name__}"
        )

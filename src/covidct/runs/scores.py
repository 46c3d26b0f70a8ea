"""Scored folds: what any set of out-of-fold predictions tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import json_ready
from ..evaluation import intervals, metrics
from ..evaluation.intervals import Interval, describe_resampling
from ..evaluation.metrics import TABLE_METRICS
from ..evaluation.tables import Table, percent, percent_range
from .splits import Fold

__all__ = ["ScoredFolds"]

_LOOKALIKES = "near-duplicate group"


class ScoredFolds:
    """Out-of-fold predictions and what follows from them: tables, intervals, counts.

    The common part of a run (:class:`covidct.CrossValidationResult`) and of an average of runs
    (:class:`covidct.runs.ensemble.Ensemble`). Printing it gives the table of folds in percent.

    Parameters
    ----------
    model_name
        What predicted.
    dataset_name
        Name of the slices.
    content_hash
        Of the slices; runs of equal hashes predict the same slices.
    classes
        Names of class 0 and class 1.
    protocol
        How slices were split.
    folds
        The splits.
    predictions
        One row for each slice of each test fold, with the fields of ``PREDICTION_FIELDS``.
    group_kind
        What a group of slices is, such as ``"patient"``; None where that is unknown.

    Attributes
    ----------
    fold_metrics : list of dict
        The metrics of each fold, as fractions; NaN where one is undefined.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.storage import PREDICTION_FIELDS
    >>> from covidct.runs.scores import ScoredFolds
    >>> from covidct.runs.splits import Fold
    >>> halves = np.array([0, 1]), np.array([2, 3])
    >>> rows = [(i, f"{i}.png", i % 2, i // 2, 0.2 + 0.5 * (i % 2), 0.0, "") for i in range(4)]
    >>> scored = ScoredFolds(
    ...     "mine", "four", "", ("no", "yes"), "paper",
    ...     tuple(Fold(a, b, np.empty(0, int)) for a, b in (halves[::-1], halves)),
    ...     np.array(rows, PREDICTION_FIELDS),
    ... )
    >>> scored.summary()["accuracy"]
    (1.0, 0.0)
    """

    def __init__(
        self,
        model_name: str,
        dataset_name: str,
        content_hash: str,
        classes: tuple[str, str],
        protocol: str,
        folds: tuple[Fold, ...],
        predictions: npt.NDArray[np.void],
        *,
        group_kind: str | None = None,
    ) -> None:
        self.model_name = model_name
        self.dataset_name = dataset_name
        self.content_hash = content_hash
        self.classes = classes
        self.protocol = protocol
        self.folds = folds
        self.predictions = predictions
        self.group_kind = group_kind
        parts = [self.fold_predictions(k) for k in range(len(folds))]
        self.fold_metrics = [metrics.score(p["target"], p["probability"]) for p in parts]

    def fold_predictions(self, fold: int) -> npt.NDArray[np.void]:
        """Return the rows of one fold.

        Parameters
        ----------
        fold
            Number of the fold; the first is 0.

        Returns
        -------
        structured array
            With the fields of ``predictions``.
        """
        rows: npt.NDArray[np.void] = self.predictions[self.predictions["fold"] == fold]
        return rows

    def summary(self) -> dict[str, tuple[float, float]]:
        """Average each metric over the folds.

        Returns
        -------
        dict
            Metric to (mean, sample standard deviation over folds), as fractions. The deviation
            is no confidence interval; see :meth:`intervals`.
        """
        return metrics.summarize(self.fold_metrics)

    def intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Bootstrap confidence intervals of the metrics' means over the folds.

        Whole groups are drawn where groups are known, since their slices are alike, and single
        slices elsewhere. They hold for the networks as they are fitted.

        Parameters
        ----------
        level
            Coverage of the intervals.

        Returns
        -------
        dict
            Metric to (low, high), as fractions.
        """
        rows = self.predictions
        return intervals.bootstrap(
            rows["target"],
            rows["probability"],
            groups=self._units(),
            folds=rows["fold"],
            level=level,
        )

    @property
    def resampling(self) -> str:
        """What :meth:`intervals` come from, as the end of a sentence."""
        unit = self.unit if self.has_groups else "slice"
        return describe_resampling(unit, len(np.unique(self._units().astype(np.str_))))

    def _units(self) -> npt.NDArray[Any]:
        """Return what is drawn as a whole: the group of each row, or its slice."""
        units: npt.NDArray[Any] = self.predictions["group" if self.has_groups else "index"]
        return units

    @property
    def settings(self) -> dict[str, object]:
        """What else was chosen than network, dataset and protocol; empty for merged runs."""
        return {}

    @property
    def has_groups(self) -> bool:
        """Whether it is known which slices belong together."""
        return bool((self.predictions["group"] != "").all())

    def pooled_predictions(self) -> npt.NDArray[np.void]:
        """Return one row for each slice: its mean over the folds that tested it.

        Returns
        -------
        structured array
            With the fields of ``predictions``, in the order of the dataset.
        """
        order = np.argsort(self.predictions["index"], kind="stable")
        rows = self.predictions[order]
        _, first, inverse, counts = np.unique(
            rows["index"], return_index=True, return_inverse=True, return_counts=True
        )
        pooled = rows[first].copy()
        for field in ("probability", "logit"):
            pooled[field] = np.bincount(inverse, weights=rows[field]) / counts
        return pooled

    @property
    def unit(self) -> str:
        """What a group of slices is called in a sentence, such as ``"patient"``."""
        made, kind = self.protocol.partition("grouped by ")[1:]
        kind = kind if made else self.group_kind or "group"
        return {"near-duplicate": _LOOKALIKES, "given groups": "group"}.get(kind, kind)

    @property
    def has_patients(self) -> bool:
        """Whether groups are known that are more than slices that look alike."""
        return self.has_groups and self.unit != _LOOKALIKES

    def patient_metrics(self) -> list[dict[str, float]] | None:
        """Score groups instead of slices, fold by fold: the mean probability of their slices.

        Returns
        -------
        list of dict or None
            As ``fold_metrics``; None where groups are unknown, or one has slices of both classes.
        """
        rows = self._patients()
        if rows is None:
            return None
        parts = [rows[rows["fold"] == k] for k in range(len(self.folds))]
        return [metrics.score(part["target"], part["probability"]) for part in parts]

    def patient_intervals(self, *, level: float = 0.95) -> dict[str, Interval] | None:
        """Confidence intervals of the metrics of :meth:`patient_metrics`, as means over the folds.

        Wilson's for shares of patients, which is sound also where all are called rightly; for
        other metrics a bootstrap over patients.

        Parameters
        ----------
        level
            Coverage of the intervals.

        Returns
        -------
        dict or None
            Metric to (low, high), as fractions; None where there are no such metrics.
        """
        rows = self._patients()
        if rows is None:
            return None
        found = intervals.bootstrap(
            rows["target"],
            rows["probability"],
            groups=rows["group"],
            folds=rows["fold"],
            level=level,
        )
        means = metrics.summarize(self.patient_metrics() or [])
        patients = dict(zip(rows["group"], rows["target"], strict=True))
        negatives, positives = np.bincount(list(patients.values()), minlength=2)
        shares = {"accuracy": len(patients), "recall": positives, "specificity": negatives}
        return found | {
            name: intervals.wilson(means[name][0] * n, n, level=level)
            for name, n in shares.items()
            if not np.isnan(means[name][0])
        }

    def _patients(self) -> npt.NDArray[np.void] | None:
        """Return a row for each group of each test fold, or None if they can't be scored."""
        rows = self.predictions
        pairs = set(zip(rows["group"], rows["target"], strict=True))
        if not self.has_groups or len(pairs) > len({group for group, _ in pairs}):
            return None
        merged = []
        for k in range(len(self.folds)):
            part = self.fold_predictions(k)
            _, probabilities, _ = metrics.per_group(
                part["target"], part["probability"], part["group"].astype(np.str_)
            )
            _, first = np.unique(part["group"].astype(np.str_), return_index=True)
            table = part[first].copy()
            table["probability"] = probabilities
            merged.append(table)
        return np.concatenate(merged)

    def confusion_matrix(self, fold: int | None = None) -> npt.NDArray[np.float64]:
        """Count slices by true and predicted class.

        Parameters
        ----------
        fold
            One fold; by default the average over the folds, as in Figs. 9 and 10 of the paper.

        Returns
        -------
        ndarray
            [[true negatives, false positives], [false negatives, true positives]].
        """
        numbers = range(len(self.folds)) if fold is None else [fold]
        parts = map(self.fold_predictions, numbers)
        counts = [metrics.confusion_matrix(p["target"], p["probability"]) for p in parts]
        return np.asarray(np.mean(counts, axis=0), dtype=np.float64)

    def table(self, style: str = "text") -> str:
        """Lay out the metrics of all folds in percent: mean ± standard deviation, and interval.

        Parameters
        ----------
        style
            ``"text"``, with a line per metric, which a terminal has the width for; or, with a
            line per fold, ``"markdown"``, ``"latex"`` or ``"csv"``.

        Returns
        -------
        str
            The table.
        """
        rows = [
            [str(k), *(percent(scores[name]) for name in TABLE_METRICS)]
            for k, scores in enumerate(self.fold_metrics)
        ]
        summary, ends = self.summary(), self.intervals()
        mean = [percent(*summary[name]) for name in TABLE_METRICS]
        interval = [percent_range(*ends[name]) for name in TABLE_METRICS]
        header = ["fold", *(metrics.METRICS[name].title for name in TABLE_METRICS)]
        lines = [header, *rows, ["mean ± sd", *mean], ["95 % interval", *interval]]
        if style == "text":
            lines = [list(column) for column in zip(*lines, strict=True)]
        return Table(lines[0], lines[1:]).render(style)

    def to_dict(self) -> dict[str, Any]:
        """Collect the metrics for JSON.

        Returns
        -------
        dict
            Plain values; what is undefined is None.
        """
        summary = {name: {"mean": m, "sd": sd} for name, (m, sd) in self.summary().items()}
        content = {
            "model": self.model_name,
            "dataset": self.dataset_name,
            "protocol": self.protocol,
            "summary": summary,
            "folds": self.fold_metrics,
            "intervals_95": self.intervals(),
            "patients": self.patient_metrics(),
            "patient_intervals_95": self.patient_intervals(),
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        title = f"{self.model_name} on {self.dataset_name}, protocol: {self.protocol} (percent)"
        return "\n".join([title, self.table(), *self._notes()])

    def _notes(self) -> Iterator[str]:
        yield (
            "sd: sample standard deviation over folds, no confidence interval. Interval of the "
            f"mean: {self.resampling}."
        )
        patients, ends = self.patient_metrics(), self.patient_intervals()
        if patients and ends and self.has_patients:
            means = metrics.summarize(patients)
            yield f"Per {self.unit}, by the mean probability of its slices: " + ", ".join(
                f"{metrics.METRICS[name].title.lower()} {percent(means[name][0])} "
                f"({percent_range(*ends[name])})"
                for name in ("accuracy", "recall", "specificity")
            )
        if self.protocol == "grouped by near-duplicate":
            sizes = np.unique(self.pooled_predictions()["group"], return_counts=True)[1]
            several = sizes[sizes > 1]
            yield (
                f"Kept together: {len(several):,} groups of near-duplicates with "
                f"{several.sum():,} slices, the largest of {several.max(initial=0):,}. They are a "
                "lower bound on what belongs together."
            )
        if self.protocol == "paper":
            yield (
                "Split at random, so that slices of one patient may stand on both sides; this run "
                "does not say what a grouped split gives."
            )
        yield from metrics.undefined_notes(self.fold_metrics)

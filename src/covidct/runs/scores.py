"""Scored folds: what any set of out-of-fold predictions tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import json_ready
from ..evaluation import intervals, metrics
from ..evaluation.intervals import Interval
from .splits import Fold
from .tables import percent, render_table, undefined_notes

__all__ = ["ScoredFolds"]

_SHOWN = (*metrics.PAPER_METRICS, "auc", "balanced_accuracy", "mcc")


class ScoredFolds:
    """Out-of-fold predictions and what follows from them: tables, intervals, counts.

    The common part of a run (:class:`covidct.CrossValidationResult`) and of an average of runs
    (:class:`covidct.runs.ensemble.Ensemble`). Printing it gives the table of folds in per cent.

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

    Attributes
    ----------
    fold_metrics : list of dict
        The metrics of each fold, as fractions; NaN where one is undefined.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.run_directory import PREDICTION_FIELDS
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
    ) -> None:
        self.model_name = model_name
        self.dataset_name = dataset_name
        self.content_hash = content_hash
        self.classes = classes
        self.protocol = protocol
        self.folds = folds
        self.predictions = predictions
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
        """Bootstrap confidence intervals of the metrics of the out-of-fold predictions.

        Whole groups are drawn where groups are known, since their slices are alike, and single
        slices elsewhere.

        Parameters
        ----------
        level
            Coverage of the intervals.

        Returns
        -------
        dict
            Metric to (low, high), as fractions.
        """
        pooled = self.pooled_predictions()
        groups = pooled["group"] if self.has_groups else None
        return intervals.bootstrap(
            pooled["target"], pooled["probability"], groups=groups, level=level
        )

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

    def patient_metrics(self) -> list[dict[str, float]] | None:
        """Score groups instead of slices, fold by fold: the mean probability of their slices.

        Returns
        -------
        list of dict or None
            As ``fold_metrics``; None where groups are unknown, or one has slices of both classes.
        """
        pooled = self.pooled_predictions()
        pairs = {(row["group"], row["target"]) for row in pooled}
        if not self.has_groups or len(pairs) > len({group for group, _ in pairs}):
            return None
        scores = []
        for k in range(len(self.folds)):
            part = self.fold_predictions(k)
            targets, probabilities, _ = metrics.per_group(
                part["target"], part["probability"], part["group"].astype(np.str_)
            )
            scores.append(metrics.score(targets, probabilities))
        return scores

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
        """Lay out the metrics of all folds in per cent, with mean ± standard deviation.

        Parameters
        ----------
        style
            ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.

        Returns
        -------
        str
            The table.
        """
        rows = [
            [str(k), *(percent(scores[name]) for name in _SHOWN)]
            for k, scores in enumerate(self.fold_metrics)
        ]
        summary = self.summary()
        mean = [percent(*summary[name]) for name in _SHOWN]
        header = ["fold", *(metrics.METRICS[name].title for name in _SHOWN)]
        return render_table(header, [*rows, ["mean ± sd", *mean]], style=style)

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
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        title = f"{self.model_name} on {self.dataset_name}, protocol: {self.protocol} (per cent)"
        random = (
            "Split at random, so that slices of one patient may stand on both sides; this run does "
            "not say what a grouped split gives."
        )
        notes = [random] if self.protocol == "paper" else []
        notes += undefined_notes(self.fold_metrics)
        return "\n".join([title, self.table(), "sd: sample standard deviation.", *notes])

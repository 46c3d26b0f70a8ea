"""Scores of the label with the highest probability, for a network with several labels.

Unlike in the other modules of this package, the recall and the precision of a label are those of
the label against the rest. They are averaged over the folds, with the intervals of
:func:`covidct.evaluation.intervals.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ._inputs import Floats, Ints, group_codes
from ._weighted_counts import ratio
from .intervals import Interval, bootstrap, cluster_bootstrap, describe_resampling
from .metrics import METRICS, summarize, weighted_scores
from .metrics import score as score_binary
from .tables import Table, percent, percent_range

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelScores"]

_METRICS = ("recall", "precision", "f1")
_MIN_GROUPS_OF_A_LABEL = 5  # as for the metrics of COVID-19 against the rest


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelScores:
    """Confusion matrix, recall, precision and F1 of labels, with intervals.

    The predicted label of a slice is the one with the highest probability. It can be COVID-19
    although the probability of COVID-19 is below 0.5: a probability of 0.4 is the highest if two
    other labels have 0.3 each.

    Parameters
    ----------
    classes : tuple of str
        Labels, in the order of their codes.
    codes, calls : ndarray of int of shape (n_slices,)
        Codes of the true and of the predicted label of each slice.
    folds : ndarray of shape (n_slices,)
        Fold of each prediction.
    groups : ndarray of shape (n_slices,)
        Group that is resampled as a whole, such as the patient.
    unit : str, default="slice"
        Noun for a group, such as ``"patient"``.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.evaluation import LabelScores
    >>> codes = np.repeat([0, 1, 2], 20)
    >>> calls = np.where(np.arange(60) % 5 == 0, (codes + 1) % 3, codes)
    >>> scores = LabelScores(classes=("CAP", "COVID-19", "normal"), codes=codes, calls=calls,
    ...                      folds=np.arange(60) % 2, groups=np.arange(60))
    >>> scores.confusion_matrix(normalize=True).round(2).tolist()
    [[0.8, 0.2, 0.0], [0.0, 0.8, 0.2], [0.2, 0.0, 0.8]]
    >>> round(scores.macro_f1, 2)
    0.8
    """

    classes: tuple[str, ...]
    codes: Ints
    calls: Ints
    folds: npt.NDArray[np.integer]
    groups: npt.NDArray[np.generic]
    unit: str = "slice"

    @classmethod
    def of(
        cls,
        labels: npt.ArrayLike,
        probabilities: Mapping[str, npt.ArrayLike],
        *,
        folds: npt.ArrayLike,
        groups: npt.ArrayLike,
        unit: str = "slice",
    ) -> LabelScores:
        """Create the scores from the probabilities of the labels.

        Parameters
        ----------
        labels : array-like of str of shape (n_slices,)
            True labels.
        probabilities : mapping of str to array-like of shape (n_slices,)
            Probability of each label.
        folds, groups, unit
            As in the class.

        Returns
        -------
        LabelScores
            The scores.

        Raises
        ------
        ValueError
            If a true label has no probabilities.
        """
        classes = tuple(probabilities)
        true = np.asarray(labels, dtype=str)
        unknown = sorted({str(name) for name in np.unique(true)} - set(classes))
        if unknown:
            raise ValueError(
                f"the label {unknown[0]!r} has no probabilities; they are of "
                f"{', '.join(map(repr, classes))}"
            )
        position = {name: code for code, name in enumerate(classes)}
        columns = np.stack([np.asarray(probabilities[name]) for name in classes], axis=1)
        return cls(
            classes=classes,
            codes=np.array([position[name] for name in true]),
            calls=columns.argmax(axis=1).astype(np.int64),
            folds=np.asarray(folds),
            groups=np.asarray(groups),
            unit=unit,
        )

    def confusion_matrix(self, fold: int | None = None, *, normalize: bool = False) -> Floats:
        """Count slices by true and predicted label.

        Parameters
        ----------
        fold : int or None, default=None
            Number of a fold. None: mean over the folds.
        normalize : bool, default=False
            Return shares of the true label, whose rows add up to 1, instead of counts. A row
            without slices is NaN.

        Returns
        -------
        ndarray of shape (n_labels, n_labels)
            Entry (i, j): slices of label i that were predicted as label j.
        """
        n = len(self.classes)
        chosen = np.unique(self.folds) if fold is None else np.array([fold])
        cells = n * self.codes + self.calls
        counts = [np.bincount(cells[self.folds == k], minlength=n * n) for k in chosen]
        matrix = np.mean(counts, axis=0).reshape(n, n)
        if not normalize:
            return np.asarray(matrix)
        totals = matrix.sum(axis=1, keepdims=True)
        return ratio(matrix, totals)

    @cached_property
    def means(self) -> dict[str, dict[str, float]]:
        """Recall, precision and F1 of each label, as means over the folds; NaN if undefined."""
        return {
            name: {metric: mean for metric, (mean, _) in self._of_folds(code).items()}
            for code, name in enumerate(self.classes)
        }

    def _of_folds(self, code: int) -> dict[str, tuple[float, float]]:
        true, called = (self.codes == code).astype(int), (self.calls == code).astype(float)
        folds = [self.folds == k for k in np.unique(self.folds)]
        scores = [score_binary(true[fold], called[fold]) for fold in folds]
        return summarize([{name: fold[name] for name in _METRICS} for fold in scores])

    @cached_property
    def intervals(self) -> dict[str, dict[str, Interval]]:
        """95 % intervals of `means`, by resampling whole groups."""
        return {
            name: bootstrap(
                (self.codes == code).astype(int),
                (self.calls == code).astype(float),
                groups=self.groups,
                folds=self.folds,
                names=_METRICS,
            )
            for code, name in enumerate(self.classes)
        }

    @property
    def macro_f1(self) -> float:
        """Unweighted mean over the labels of their F1; labels with undefined F1 are left out."""
        return float(np.nanmean([row["f1"] for row in self.means.values()]))

    @cached_property
    def macro_f1_interval(self) -> Interval:
        """95 % interval of `macro_f1`, by resampling whole groups."""
        units = group_codes(self.groups, len(self.codes))
        counts = [len(np.unique(units[self.codes == code])) for code in range(len(self.classes))]
        if min(counts) < _MIN_GROUPS_OF_A_LABEL:
            reason = f"a label occurs in fewer than {_MIN_GROUPS_OF_A_LABEL} {{unit}}s"
            return Interval(np.nan, np.nan, reason=reason)
        pairs = [
            ((self.codes == code).astype(np.int64), (self.calls == code).astype(np.float64))
            for code in range(len(self.classes))
        ]

        def statistic(weights: Floats) -> dict[str, Floats]:
            rows = [
                weighted_scores(true, called, weights=weights, folds=self.folds, names=("f1",))
                for true, called in pairs
            ]
            return {"macro_f1": np.nanmean([row["f1"] for row in rows], axis=0)}

        return cluster_bootstrap(statistic, units)["macro_f1"]

    def to_frame(self) -> pd.DataFrame:
        """Return the scores of the labels as a table of numbers.

        Returns
        -------
        DataFrame
            One row per label: ``slices`` (predictions), ``groups``, and ``recall``, ``precision``
            and ``f1``, each with ``_low`` and ``_high``, as fractions.
        """
        import pandas as pd

        found: dict[str, dict[str, float]] = {}
        for code, name in enumerate(self.classes):
            own = self.codes == code
            row: dict[str, float] = {
                "slices": int(own.sum()),
                "groups": len(np.unique(self.groups[own])),
            }
            for metric in _METRICS:
                low, high = self.intervals[name][metric]
                row |= {metric: self.means[name][metric]}
                row |= {f"{metric}_low": low, f"{metric}_high": high}
            found[name] = row
        return pd.DataFrame.from_dict(found, orient="index").rename_axis(index="label")

    def table(self) -> Table:
        """Return recall, precision and F1 of each label, and shares of its predictions, in percent.

        Returns
        -------
        Table
            A row per label; the footer has the macro F1.
        """
        shares = self.confusion_matrix(normalize=True)
        header = ("label", *(f"as {name}" for name in self.classes))
        header += tuple(METRICS[metric].title for metric in _METRICS)
        rows = [
            (
                name,
                *(percent(share) for share in shares[code]),
                *(
                    f"{percent(self.means[name][metric])} "
                    f"({percent_range(*self.intervals[name][metric])})"
                    for metric in _METRICS
                ),
            )
            for code, name in enumerate(self.classes)
        ]
        resampling = describe_resampling(self.unit, len(np.unique(self.groups)))
        intervals = f"In brackets: 95 % intervals of the mean over folds, {resampling}."
        blank = [""] * (len(header) - 2)
        macro = f"{percent(self.macro_f1)} ({percent_range(*self.macro_f1_interval)})"
        return Table(
            header,
            rows,
            [("macro F1", *blank, macro)],
            caption="Labels, by the label with the highest probability, in percent",
            notes=(f"Columns “as …”: shares of the slices of a label in all folds. {intervals}",),
        )

    def to_dict(self) -> dict[str, object]:
        """Return the scores as plain values.

        Returns
        -------
        dict
            Counts, means and intervals by label, and the macro F1; undefined values are NaN.
        """
        return {
            "confusion_matrix": self.confusion_matrix().tolist(),
            "labels": list(self.classes),
            "means": self.means,
            "intervals_95": {
                name: {metric: list(ends) for metric, ends in row.items()}
                for name, row in self.intervals.items()
            },
            "macro_f1": self.macro_f1,
            "macro_f1_interval_95": list(self.macro_f1_interval),
        }

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table().render("html")

"""External tests: evaluation of the fitted folds of a run on slices of another source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._display import Displayed, paragraphs
from .._files import json_ready
from ..errors import UnknownNameError
from ..evaluation import intervals, metrics
from ..evaluation.decision_rule import Criterion, DecisionRule
from ..evaluation.intervals import Interval, describe_intervals, describe_resampling
from ..evaluation.metrics import TABLE_METRICS
from ..evaluation.operating_points import OperatingPoints, operating_point
from ..evaluation.tables import Table, percent, percent_range
from .protocol import NARROW_INTERVALS, group_unit
from .subgroup_gaps import Scored, compare, gap_frame
from .subgroups import describe_labels, subgroup_frame, subgroup_names

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExternalEvaluation"]


@dataclass(frozen=True, eq=False, repr=False)
class ExternalEvaluation(Displayed):
    """Scores of a run's fitted folds on slices of another source.

    Returned by :meth:`covidct.CrossValidationResult.evaluate`; printed as tables.

    Parameters
    ----------
    trained_on, tested_on : str
        Names of the datasets.
    probabilities : ndarray of float64 of shape (n_folds, n_slices)
        Probability of COVID-19, predicted by the network of each fold.
    targets : ndarray of int64 of shape (n_slices,)
        1 for COVID-19, else 0.
    groups : ndarray of str of shape (n_slices,), or None
        Group of each slice, which intervals resample as a whole; None if unknown.
    group_kind : str, default="patient"
        Kind of the groups; ``"near-duplicate"`` if they replace unknown patients.
    seen : tuple of str, default=()
        Names of slices that were used for training, which do not belong in an external test. If a
        training part has more than 2,000 slices, a random sample of 2,000 is recognized.
    columns : DataFrame or None, default=None
        The `table` of the dataset, whose columns can be given to :meth:`by`.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.external_test import ExternalEvaluation
    >>> probabilities = np.array([[0.1, 0.9, 0.4], [0.2, 0.8, 0.8]])
    >>> found = ExternalEvaluation("a", "b", probabilities, np.array([0, 1, 1]), None)
    >>> round(found.summary()["accuracy"][0], 3), found.ensemble_metrics["accuracy"]
    (0.833, 1.0)
    """

    trained_on: str
    tested_on: str
    probabilities: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.str_] | None
    group_kind: str = "patient"
    seen: tuple[str, ...] = ()
    columns: pd.DataFrame | None = None

    @property
    def fold_metrics(self) -> list[dict[str, float]]:
        """Metrics of each fold's network, as fractions."""
        return [metrics.score(self.targets, row) for row in self.probabilities]

    @property
    def ensemble_metrics(self) -> dict[str, float]:
        """Metrics of the mean probability over the folds, as fractions."""
        return metrics.score(self.targets, self.probabilities.mean(axis=0))

    def summary(self) -> dict[str, tuple[float, float]]:
        """Average each metric over the folds' networks.

        Returns
        -------
        dict of str to (float, float)
            Metric to mean and sample standard deviation, as fractions.
        """
        return metrics.summarize(self.fold_metrics)

    def intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Compute bootstrap intervals of the ensemble's metrics.

        Groups are resampled as a whole if they are known, slices otherwise.

        Parameters
        ----------
        level : float, default=0.95
            Coverage, in (0, 1).

        Returns
        -------
        dict of str to Interval
            Metric to (low, high), as fractions.
        """
        return intervals.bootstrap(
            self.targets, self.probabilities.mean(axis=0), groups=self.groups, level=level
        )

    def fold_intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Compute bootstrap intervals of the means that :meth:`summary` returns.

        Parameters
        ----------
        level : float, default=0.95
            Coverage, in (0, 1).

        Returns
        -------
        dict of str to Interval
            Metric to (low, high), as fractions.
        """
        rows = self._scored()
        return intervals.bootstrap(
            rows.targets, rows.probabilities, groups=rows.units, folds=rows.folds, level=level
        )

    def by(self, column: str | pd.Series[Any] | npt.ArrayLike) -> pd.DataFrame:
        """Return the metrics of subgroups of the slices.

        Parameters
        ----------
        column : str, Series or array-like of shape (n_slices,)
            Column of the dataset's `table`, such as ``"label"`` or ``"source"``, or one value per
            slice; see :meth:`covidct.CrossValidationResult.by`.

        Returns
        -------
        DataFrame
            One row per subgroup: ``slices``, ``groups``, and for each metric the mean over the
            folds' networks with the ends of its 95 % interval.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        ValueError
            If the column has more than 50 different texts, or not one value per slice.

        Examples
        --------
        >>> import numpy as np
        >>> from covidct.runs.external_test import ExternalEvaluation
        >>> probabilities = np.array([[0.1, 0.9, 0.4, 0.8]])
        >>> found = ExternalEvaluation("a", "b", probabilities, np.array([0, 1, 0, 0]), None)
        >>> found.by(["normal", "COVID", "pneumonia", "pneumonia"])["specificity"].to_dict()
        {'COVID': nan, 'normal': 1.0, 'pneumonia': 0.5}
        """
        return subgroup_frame(self._scored(), *self._subgroups(column))

    def gaps(self, column: str | pd.Series[Any] | npt.ArrayLike) -> pd.DataFrame:
        """Return the largest difference of each metric between subgroups, with a test.

        Parameters
        ----------
        column : str, Series or array-like of shape (n_slices,)
            Subgroup of each slice, as in :meth:`by`.

        Returns
        -------
        DataFrame
            As :meth:`covidct.CrossValidationResult.gaps` returns it.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        ValueError
            As in :meth:`by`.
        """
        names, _ = self._subgroups(column)
        return gap_frame(compare(self._scored(), names))

    def _scored(self) -> Scored:
        n_folds, n = self.probabilities.shape
        return Scored(
            np.tile(self.targets, n_folds),
            self.probabilities.ravel(),
            np.tile(np.arange(n), n_folds),
            np.tile(self._units, n_folds),
            np.repeat(np.arange(n_folds), n),
        )

    @property
    def _units(self) -> npt.NDArray[Any]:
        """Resampled unit of each slice: its group, or the slice itself."""
        return np.arange(len(self.targets)) if self.groups is None else self.groups

    @property
    def _unit(self) -> str:
        """Noun for one of these units."""
        return "slice" if self.groups is None else group_unit(self.group_kind)

    @property
    def has_patients(self) -> bool:
        """True if groups are known that are not near-duplicates."""
        return self.groups is not None and self.group_kind != "near-duplicate"

    def _subgroups(
        self, column: str | pd.Series[Any] | npt.ArrayLike
    ) -> tuple[npt.NDArray[np.str_], str]:
        n_folds, n = self.probabilities.shape
        name, values = str(getattr(column, "name", None) or "subgroup"), column
        if isinstance(column, str):
            known = [] if self.columns is None else [str(c) for c in self.columns]
            if self.columns is None or column not in known:
                raise UnknownNameError.among("column", column, known)
            name, values = column, self.columns[column]
        return np.tile(subgroup_names(values, name, count=n), n_folds), name

    @property
    def _has_labels(self) -> bool:
        """True if there are more labels than the two classes."""
        return self.columns is not None and self.columns["label"].nunique() > 2

    def patients(self) -> ExternalEvaluation | None:
        """Score patients, or other groups, by the mean probability of their slices.

        A patient with any COVID-19 slice is a COVID-19 patient: other slices of the same patient
        may show no lesion.

        Returns
        -------
        ExternalEvaluation or None
            One column of probabilities per patient; None if patients are unknown.
        """
        if self.groups is None or not self.has_patients:
            return None
        merged = [metrics.per_group(self.targets, row, self.groups) for row in self.probabilities]
        targets, _, names = merged[0]
        return replace(
            self,
            probabilities=np.stack([probabilities for _, probabilities, _ in merged]),
            targets=targets,
            groups=names,
            seen=(),  # names of slices
            columns=None,
        )

    def decide(self, rule: DecisionRule) -> OperatingPoints:
        """Evaluate a decision rule that was fitted to the run.

        The rule is applied as by :class:`covidct.Predictor`: to the mean probability of the
        networks, and, for a rule of patients, to its mean over the slices of a patient.

        Parameters
        ----------
        rule : DecisionRule
            Rule of :meth:`covidct.CrossValidationResult.decision_rule`.

        Returns
        -------
        OperatingPoints
            Sensitivity, specificity, PPV and NPV with intervals.

        Raises
        ------
        ValueError
            If the rule applies to patients, and patients are unknown.
        """
        scored = self.patients() if rule.per == "patient" else self
        if scored is None:
            raise ValueError(
                f"the rule applies to patients, which are unknown in {self.tested_on!r}; pass "
                "groups to load_dataset, or fit the rule with per='slice'"
            )
        mean = np.clip(scored.probabilities.mean(axis=0), 0, 1)
        return OperatingPoints(
            (
                operating_point(
                    scored.targets,
                    rule.calibrate(mean),
                    Criterion("threshold", rule.threshold),
                    folds=np.zeros(len(mean)),
                    groups=scored.groups,
                ),
            ),
            unit=rule.per,
            group=scored._unit,
            n_groups=len(set(scored._units)),
            fitted_on=self.trained_on,
        )

    def table(self) -> Table:
        """Return the scores in a table with a row per metric.

        Returns
        -------
        Table
            Percentages: mean ± sample standard deviation over the folds' networks and metric of
            their mean probability, with 95 % confidence intervals; :meth:`summary` has all metrics.
        """
        of_folds, of_ensemble = (
            {name: ends[name] for name in TABLE_METRICS}
            for ends in (self.fold_intervals(), self.intervals())
        )
        summary, ensemble = self.summary(), self.ensemble_metrics
        rows = [
            [
                metrics.METRICS[name].title,
                percent(*summary[name]),
                percent_range(*of_folds[name]),
                percent(ensemble[name]),
                percent_range(*of_ensemble[name]),
            ]
            for name in TABLE_METRICS
        ]
        known = [{name: scores[name] for name in TABLE_METRICS} for scores in self.fold_metrics]
        header = ["metric", "folds", "95 % interval", "ensemble", "95 % interval"]
        notes = dict.fromkeys(
            [
                *metrics.undefined_notes(known),
                *(f"Folds: {note}" for note in self._describe(of_folds)),
                *(f"Ensemble: {note}" for note in self._describe(of_ensemble)),
                *([] if self.has_patients else [NARROW_INTERVALS[self.groups is not None]]),
            ]
        )
        return Table(header, rows, notes=list(notes))

    def _describe(self, ends: Mapping[str, Interval]) -> list[str]:
        return describe_intervals(ends, unit=self._unit, count=len(set(self._units)))

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain values for JSON.

        Returns
        -------
        dict
            Metrics of each fold and of the ensemble, per slice and per group, with intervals;
            undefined values are None.
        """
        patients = self.patients()
        content = {
            "trained_on": self.trained_on,
            "tested_on": self.tested_on,
            "seen": self.seen,
            "folds": self.fold_metrics,
            "fold_intervals_95": self.fold_intervals(),
            "ensemble": self.ensemble_metrics,
            "intervals_95": self.intervals(),
            "patients": None
            if patients is None
            else {
                "folds": patients.fold_metrics,
                "ensemble": patients.ensemble_metrics,
                "intervals_95": patients.intervals(),
            },
            "labels": self.by("label").to_dict("index") if self._has_labels else None,
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    @property
    def caveat(self) -> str:
        """Warning that test slices were used for training; empty if none were."""
        if not self.seen:
            return ""
        more = f" and {len(self.seen) - 3:,} more" if len(self.seen) > 3 else ""
        return (
            f"{len(self.seen):,} of {len(self.targets):,} slices of {self.tested_on} were used for "
            f"training ({', '.join(self.seen[:3])}{more}), which makes the result too optimistic; "
            "remove them from the external test"
        )

    def _title(self) -> str:
        return f"trained on {self.trained_on}, tested on {self.tested_on} (percent)"

    def _tables(self) -> list[Table]:
        patients = self.patients()
        parts = [(f"Per slice ({len(self.targets):,})", self)]
        if patients is not None:
            parts.append((f"Per {self.group_kind} ({len(patients.targets):,})", patients))
        return [replace(part.table(), caption=caption) for caption, part in parts]

    def _legend(self) -> list[str]:
        legend = (
            f"folds: mean ± sample standard deviation over {len(self.probabilities)} fitted "
            f"networks; ensemble: metric of their mean probability. Intervals: "
            f"{describe_resampling(self._unit, len(set(self._units)))}."
        )
        labels = ""
        if self._has_labels:
            labels = f"By label (folds): {', '.join(describe_labels(self.by('label')))}."
        return [text for text in (labels, legend, self.caveat) if text]

    def __str__(self) -> str:
        return "\n\n".join([self._title(), *map(str, self._tables()), *self._legend()])

    def _repr_html_(self) -> str:
        tables = "".join(table.render("html") for table in self._tables())
        title = f"<p><strong>{escape(self._title())}</strong></p>"
        return title + tables + paragraphs(self._legend())

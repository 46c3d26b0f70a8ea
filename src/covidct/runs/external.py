"""Fitted folds on slices of another source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import json_ready
from ..evaluation import intervals, metrics
from ..evaluation.intervals import Interval
from ..evaluation.tables import percent, percent_range, render_table, resampling

__all__ = ["ExternalEvaluation"]


@dataclass(frozen=True)
class ExternalEvaluation:
    """What the fitted folds of a run make of other slices.

    Attributes
    ----------
    trained_on, tested_on
        Names of the datasets.
    probabilities
        (K, N): each fold's probability of COVID-19 for each slice.
    targets
        (N,) of 0 and 1.
    groups
        (N,) labels, or None.
    group_kind
        What a group is, such as ``"patient"``.
    seen
        Names of the slices that a network was trained on, as far as the folds kept them (2,000
        each): no part of an external test. None where they kept none.
    """

    trained_on: str
    tested_on: str
    probabilities: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.str_] | None
    group_kind: str = "patient"
    seen: tuple[str, ...] | None = ()

    @property
    def fold_metrics(self) -> list[dict[str, float]]:
        """The metrics of each fold's network."""
        return [metrics.score(self.targets, row) for row in self.probabilities]

    @property
    def ensemble_metrics(self) -> dict[str, float]:
        """The metrics of the folds' mean probability."""
        return metrics.score(self.targets, self.probabilities.mean(axis=0))

    def summary(self) -> dict[str, tuple[float, float]]:
        """Average each metric over the folds' networks.

        Returns
        -------
        dict
            Name of the metric -> (mean, sample standard deviation), as fractions.
        """
        return metrics.summarize(self.fold_metrics)

    def intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Bootstrap intervals of the ensemble's metrics, over groups where they are known.

        Parameters
        ----------
        level
            The share of resamples inside, in (0, 1).

        Returns
        -------
        dict
            Name of the metric -> (low, high), as fractions.
        """
        return intervals.bootstrap(
            self.targets, self.probabilities.mean(axis=0), groups=self.groups, level=level
        )

    def fold_intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Bootstrap intervals of the metrics' means over the folds' networks, as `summary` has.

        Parameters
        ----------
        level
            Coverage, in (0, 1).

        Returns
        -------
        dict
            Metric -> (low, high), as fractions.
        """
        n_folds, n = self.probabilities.shape
        return intervals.bootstrap(
            np.tile(self.targets, n_folds),
            self.probabilities.ravel(),
            groups=np.tile(np.arange(n) if self.groups is None else self.groups, n_folds),
            folds=np.repeat(np.arange(n_folds), n),
            level=level,
        )

    def patients(self) -> ExternalEvaluation | None:
        """Merge the slices of each group, such as a patient, into one: their mean probability.

        Returns
        -------
        ExternalEvaluation or None
            The same with a group in place of a slice; None where groups are unknown, or one has
            slices of both classes.
        """
        if self.groups is None or len(set(zip(self.groups, self.targets, strict=True))) > len(
            set(self.groups)
        ):
            return None
        merged = [metrics.per_group(self.targets, row, self.groups) for row in self.probabilities]
        targets, _, names = merged[0]
        return replace(
            self,
            probabilities=np.stack([probabilities for _, probabilities, _ in merged]),
            targets=targets,
            groups=names,
            seen=(),  # these are of slices
        )

    def to_dict(self) -> dict[str, Any]:
        """Collect the metrics as plain values for JSON.

        Returns
        -------
        dict
            The metrics of each fold and of the ensemble, per slice and per group, with intervals;
            what is undefined is None.
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
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        patients = self.patients()
        parts = [(f"Per slice ({len(self.targets):,})", self)]
        if patients is not None:
            parts.append((f"Per {self.group_kind} ({len(patients.targets):,})", patients))
        tables = [f"{caption}\n{evaluation._table()}" for caption, evaluation in parts]
        title = f"trained on {self.trained_on}, tested on {self.tested_on} (percent)"
        units = np.arange(len(self.targets)) if self.groups is None else self.groups
        drawn = resampling(self.group_kind if self.groups is not None else "slice", len(set(units)))
        legend = (
            f"folds: mean ± sample standard deviation over {len(self.probabilities)} fitted "
            f"networks; ensemble: of their mean probability. Intervals: {drawn}."
        )
        return "\n\n".join(filter(None, [title, *tables, legend, self.caveat]))

    @property
    def caveat(self) -> str:
        """What speaks against calling this an external test; empty where nothing does."""
        slices = f"slices of {self.tested_on}"
        if self.seen is None:
            return (
                f"whether {slices} were trained on is not known: the run kept none to compare with"
            )
        if not self.seen:
            return ""
        more = f" and {len(self.seen) - 3:,} more" if len(self.seen) > 3 else ""
        return (
            f"{len(self.seen):,} of {len(self.targets):,} {slices} were trained on "
            f"({', '.join(self.seen[:3])}{more}); this flatters the result, and an external test "
            "has to leave them out"
        )

    def _table(self) -> str:
        of_folds, of_ensemble = self.fold_intervals(), self.intervals()
        rows = [
            [
                metrics.METRICS[name].title,
                percent(mean, sd),
                percent_range(*of_folds[name]),
                percent(self.ensemble_metrics[name]),
                percent_range(*of_ensemble[name]),
            ]
            for name, (mean, sd) in self.summary().items()
        ]
        header = ["metric", "folds", "95 % interval", "ensemble", "95 % interval"]
        return "\n".join([render_table(header, rows), *metrics.undefined_notes(self.fold_metrics)])

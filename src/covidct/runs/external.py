"""Fitted folds on slices of another source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import json_ready
from ..evaluation import intervals, metrics
from ..evaluation.intervals import Interval
from .tables import percent, render_table, undefined_notes

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
    """

    trained_on: str
    tested_on: str
    probabilities: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.str_] | None

    @property
    def fold_metrics(self) -> list[dict[str, float]]:
        """The metrics of each fold's network."""
        return [metrics.score(self.targets, row) for row in self.probabilities]

    @property
    def ensemble_metrics(self) -> dict[str, float]:
        """The metrics of the folds' mean probability."""
        return metrics.score(self.targets, self.probabilities.mean(axis=0))

    def summary(self) -> dict[str, tuple[float, float]]:
        """Average each metric over the folds' networks: (mean, sample standard deviation)."""
        return metrics.summarize(self.fold_metrics)

    def intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Bootstrap intervals of the ensemble's metrics, over groups where they are known."""
        return intervals.bootstrap(
            self.targets, self.probabilities.mean(axis=0), groups=self.groups, level=level
        )

    def to_dict(self) -> dict[str, Any]:
        """Collect the metrics as plain values for JSON; what is undefined is None."""
        content = {
            "trained_on": self.trained_on,
            "tested_on": self.tested_on,
            "folds": self.fold_metrics,
            "ensemble": self.ensemble_metrics,
            "intervals_95": self.intervals(),
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        ends = self.intervals()
        rows = [
            [
                metrics.METRICS[name].title,
                percent(mean, sd),
                percent(self.ensemble_metrics[name]),
                " to ".join(map(percent, ends[name])),
            ]
            for name, (mean, sd) in self.summary().items()
        ]
        title = f"trained on {self.trained_on}, tested on {self.tested_on} (per cent)"
        header = ["metric", "folds", "ensemble", "95 % interval"]
        return "\n".join([title, render_table(header, rows), *undefined_notes(self.fold_metrics)])

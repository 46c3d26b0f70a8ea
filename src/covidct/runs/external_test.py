"""Fitted folds on slices of another source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._files import json_ready
from ..evaluation import intervals, metrics
from ..evaluation.intervals import Interval, describe_resampling
from ..evaluation.tables import Table, percent, percent_range

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from .result import CrossValidationResult

__all__ = ["CrossDatasetMatrix", "ExternalEvaluation", "evaluate_across"]


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
    seen: tuple[str, ...] = ()

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
        drawn = describe_resampling(
            self.group_kind if self.groups is not None else "slice", len(set(units))
        )
        legend = (
            f"folds: mean ± sample standard deviation over {len(self.probabilities)} fitted "
            f"networks; ensemble: of their mean probability. Intervals: {drawn}."
        )
        return "\n\n".join(filter(None, [title, *tables, legend, self.caveat]))

    @property
    def caveat(self) -> str:
        """What speaks against calling this an external test; empty where nothing does."""
        slices = f"slices of {self.tested_on}"
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
        return Table(header, rows, notes=metrics.undefined_notes(self.fold_metrics)).render()


@dataclass(frozen=True)
class CrossDatasetMatrix:
    """Each run on each dataset; printing it gives accuracy and AUC.

    Attributes
    ----------
    cells
        (run, dataset) to what was found: on the slices that a run was made of, the run itself,
        whose predictions are out of fold; on others the evaluation of its fitted folds.
    """

    cells: Mapping[tuple[str, str], CrossValidationResult | ExternalEvaluation]

    def table(self, style: str = "text", *, metric: str = "accuracy") -> str:
        """Lay out the runs in rows and the datasets in columns.

        Parameters
        ----------
        style
            ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.
        metric
            A name out of ``covidct.evaluation.metrics.METRICS``.

        Returns
        -------
        str
            The table, in percent: mean ± sd over the fitted folds and, in brackets, the 95 %
            confidence interval of the mean. A star marks slices that the run was made of, a dagger
            those of which some were, or may have been, trained on.
        """
        name = metrics.find_metric(metric).name
        runs, datasets = (list(dict.fromkeys(names)) for names in zip(*self.cells, strict=True))
        rows = [[run, *(self._text(run, dataset, name) for dataset in datasets)] for run in runs]
        return Table(["trained", *(f"on {name}" for name in datasets)], rows).render(style)

    def _text(self, run: str, dataset: str, metric: str) -> str:
        found = self.cells[run, dataset]
        star = ("†" if found.caveat else "") if isinstance(found, ExternalEvaluation) else "*"
        ends = percent_range(*_intervals(found)[metric])
        return f"{percent(*found.summary()[metric])} ({ends}){star}"

    def to_dict(self) -> list[dict[str, Any]]:
        """Collect the cells for JSON.

        Returns
        -------
        list of dict
            Plain values; what is undefined is None.
        """
        content = [
            {
                "run": run,
                "tested_on": dataset,
                "out_of_fold": not isinstance(found, ExternalEvaluation),
                "seen": found.seen if isinstance(found, ExternalEvaluation) else (),
                "summary": {
                    name: {"mean": mean, "sd": sd} for name, (mean, sd) in found.summary().items()
                },
                "intervals_95": _intervals(found),
            }
            for (run, dataset), found in self.cells.items()
        ]
        ready: list[dict[str, Any]] = json_ready(content)
        return ready

    def __str__(self) -> str:
        tables = [
            f"{metrics.METRICS[name].title}, percent\n{self.table(metric=name)}"
            for name in ("accuracy", "auc")
        ]
        legend = (
            "Mean ± sd over the fitted folds, and in brackets the 95 % interval of the mean.\n"
            "* out of fold, under the protocol of the run; elsewhere an external test."
        )
        caveats = [
            f"† {run} on {dataset}: {found.caveat}"
            for (run, dataset), found in self.cells.items()
            if isinstance(found, ExternalEvaluation) and found.caveat
        ]
        return "\n\n".join([*tables, "\n".join([legend, *caveats])])


def _intervals(found: CrossValidationResult | ExternalEvaluation) -> dict[str, Interval]:
    if isinstance(found, ExternalEvaluation):
        return found.fold_intervals()
    return found.intervals()


def evaluate_across(
    results: Mapping[str, CrossValidationResult], datasets: Mapping[str, CTDataset]
) -> CrossDatasetMatrix:
    """Test every run on every dataset.

    Nothing is fitted to the other source: neither weights nor threshold.

    Parameters
    ----------
    results
        The runs by name.
    datasets
        The datasets by name. One with the very slices of a run shows the run's own out-of-fold
        predictions.

    Returns
    -------
    CrossDatasetMatrix
        A cell for each pair.

    Raises
    ------
    ValueError
        If there is no run or no dataset.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.external_test import evaluate_across
    >>> a, b = (covidct.load_dataset("phantom", n=16, seed=seed) for seed in (0, 1))
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> matrix = evaluate_across({"A": cv.run(a), "B": cv.run(b)}, {"A": a, "B": b})
    >>> matrix.cells["A", "B"].tested_on, matrix.cells["B", "B"].protocol
    ('phantom', 'grouped by patient')
    """
    if not results or not datasets:
        raise ValueError(
            f"give at least one run and one dataset, got {len(results)} and {len(datasets)}"
        )
    hashes = {name: dataset.content_hash() for name, dataset in datasets.items()}
    return CrossDatasetMatrix(
        {
            (run, name): result if result.content_hash == hashes[name] else result.evaluate(dataset)
            for run, result in results.items()
            for name, dataset in datasets.items()
        }
    )

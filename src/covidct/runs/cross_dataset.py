"""Trained on one source, tested on another: every run on every dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._files import json_ready
from ..datasets.ct_dataset import CTDataset
from ..evaluation import metrics
from ..evaluation.intervals import Interval
from ..evaluation.tables import percent, percent_range, render_table
from .external import ExternalEvaluation
from .result import CrossValidationResult

__all__ = ["CrossDatasetMatrix", "evaluate_across"]


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
        return render_table(["trained", *(f"on {name}" for name in datasets)], rows, style=style)

    def _text(self, run: str, dataset: str, metric: str) -> str:
        found = self.cells[run, dataset]
        star = "*" if isinstance(found, CrossValidationResult) else "†" if found.caveat else ""
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
                "out_of_fold": isinstance(found, CrossValidationResult),
                "seen": () if isinstance(found, CrossValidationResult) else found.seen,
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
    if isinstance(found, CrossValidationResult):
        return found.intervals()
    return found.fold_intervals()


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
    >>> from covidct.runs.cross_dataset import evaluate_across
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

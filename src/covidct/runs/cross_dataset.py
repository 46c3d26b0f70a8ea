"""Evaluation of several runs on several datasets, out of fold or as external tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._display import Displayed, paragraphs
from .._files import json_ready
from ..datasets._overlap import OverlapError
from ..datasets.ct_dataset import CTDataset
from ..evaluation import metrics
from ..evaluation.intervals import Interval
from ..evaluation.tables import Table, percent, percent_range
from .external_test import ExternalEvaluation
from .scores import ScoredFolds, check_named

if TYPE_CHECKING:
    import pandas as pd

    from .result import CrossValidationResult

__all__ = ["CrossDatasetMatrix", "Refusal", "evaluate_across"]


@dataclass(frozen=True)
class Refusal:
    """External test that was not performed, since run and dataset are known to share slices.

    Parameters
    ----------
    reason : str
        The reason.

    Examples
    --------
    >>> from covidct.runs import Refusal
    >>> Refusal("'covidx-ct' contains 'covid-ct-md'").reason
    "'covidx-ct' contains 'covid-ct-md'"
    """

    reason: str


@dataclass(frozen=True, repr=False)
class CrossDatasetMatrix(Displayed):
    """Scores of each run on each dataset, printed as tables of accuracy and AUC.

    Returned by :func:`evaluate_across`.

    Parameters
    ----------
    cells : mapping of (str, str) to CrossValidationResult, ExternalEvaluation or Refusal
        Scores by names of run and dataset: for the dataset of the run, the run itself with its
        out-of-fold predictions; for another dataset, the evaluation of the fitted folds; a refusal
        if the dataset is known to overlap with that of the run.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.cross_dataset import evaluate_across
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> others = {"other": covidct.load_dataset("phantom", n=8, seed=1)}
    >>> matrix = evaluate_across({"mine": cv.run(slices)}, others)
    >>> matrix.table().header
    ('trained', 'on other')
    """

    cells: Mapping[tuple[str, str], CrossValidationResult | ExternalEvaluation | Refusal]

    def table(self, *, metric: str = "accuracy") -> Table:
        """Return the scores in a table with a row per run and a column per dataset.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in ``covidct.evaluation.metrics.METRICS``.

        Returns
        -------
        Table
            Percentages: mean ± standard deviation over the fitted folds and, in brackets, the 95 %
            confidence interval of the mean. A star marks out-of-fold scores, and a dagger datasets
            that contain training slices of the run; "refused" marks datasets that are known to
            overlap with that of the run.

        Raises
        ------
        UnknownNameError
            If `metric` is unknown.
        """
        found = metrics.find_metric(metric)
        runs, datasets = (list(dict.fromkeys(names)) for names in zip(*self.cells, strict=True))
        rows = [
            [run, *(self._text(run, dataset, found.name) for dataset in datasets)] for run in runs
        ]
        return Table(
            ["trained", *(f"on {name}" for name in datasets)],
            rows,
            caption=f"{found.title}, percent",
        )

    def _text(self, run: str, dataset: str, metric: str) -> str:
        found = self.cells[run, dataset]
        if isinstance(found, Refusal):
            return "refused"
        mark = ("†" if found.caveat else "") if isinstance(found, ExternalEvaluation) else "*"
        ends = percent_range(*_intervals(found)[metric])
        return f"{percent(*found.summary()[metric])} ({ends}){mark}"

    def to_frame(self) -> pd.DataFrame:
        """Return the scores as a table of numbers.

        Returns
        -------
        DataFrame
            One row per run, dataset and metric: ``run``, ``tested_on``, ``metric``, ``mean`` and
            ``sd`` over the fitted folds, the ends ``low`` and ``high`` of the 95 % interval of the
            mean, as fractions, and ``out_of_fold``. Refused tests have no rows.
        """
        import pandas as pd

        rows = []
        for (run, dataset), found in self.cells.items():
            if isinstance(found, Refusal):
                continue
            ends, own = _intervals(found), not isinstance(found, ExternalEvaluation)
            rows += [
                (run, dataset, metric, mean, sd, *ends[metric], own)
                for metric, (mean, sd) in found.summary().items()
            ]
        columns = ["run", "tested_on", "metric", "mean", "sd", "low", "high", "out_of_fold"]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the scores as plain values for JSON.

        Returns
        -------
        list of dict
            One entry per run and dataset; undefined values are None. Refused tests have the reason
            as ``"refused"``.
        """
        content = [
            {"run": run, "tested_on": dataset, "refused": found.reason}
            if isinstance(found, Refusal)
            else {
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

    def _legend(self) -> list[str]:
        legend = (
            "Mean ± standard deviation over the fitted folds; in brackets the 95 % interval of the "
            "mean.\n"
            "* out-of-fold, under the protocol of the run; all other cells are external tests."
        )
        refused = [
            f"refused: {found.reason}."
            for found in self.cells.values()
            if isinstance(found, Refusal)
        ]
        caveats = [
            f"† {run} on {dataset}: {found.caveat}"
            for (run, dataset), found in self.cells.items()
            if isinstance(found, ExternalEvaluation) and found.caveat
        ]
        return [*legend.split("\n"), *caveats, *refused]

    def _tables(self) -> list[Table]:
        return [self.table(metric=name) for name in ("accuracy", "auc")]

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self._tables()), "\n".join(self._legend())])

    def _repr_html_(self) -> str:
        tables = "".join(table.render("html") for table in self._tables())
        return tables + paragraphs(self._legend())


def _intervals(found: CrossValidationResult | ExternalEvaluation) -> dict[str, Interval]:
    if isinstance(found, ExternalEvaluation):
        return found.fold_intervals()
    return found.intervals()


def evaluate_across(
    results: Mapping[str, CrossValidationResult], datasets: Mapping[str, CTDataset]
) -> CrossDatasetMatrix:
    """Evaluate every run on every dataset.

    Neither weights nor threshold are adapted to the other source.

    Parameters
    ----------
    results : mapping of str to CrossValidationResult
        Runs by name.
    datasets : mapping of str to CTDataset
        Datasets by name. On the dataset of a run, its out-of-fold predictions are scored.

    Returns
    -------
    CrossDatasetMatrix
        Scores for each pair of run and dataset.

    Raises
    ------
    TypeError
        If `results` or `datasets` is not such a mapping.
    ValueError
        If `results` or `datasets` is empty.
    InvalidFileError
        If a file of a run is missing or damaged.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.cross_dataset import evaluate_across
    >>> a, b = (covidct.load_dataset("phantom", n=16, seed=seed) for seed in (0, 1))
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> matrix = evaluate_across({"A": cv.run(a), "B": cv.run(b)}, {"A": a, "B": b})
    >>> matrix.cells["A", "B"].tested_on, matrix.table().header
    ('phantom', ('trained', 'on A', 'on B'))
    """
    check_named("results", results, ScoredFolds)
    check_named("datasets", datasets, CTDataset)
    if not results or not datasets:
        raise ValueError(
            f"at least one run and one dataset are needed, got {len(results)} and {len(datasets)}"
        )
    hashes = {name: dataset.content_hash() for name, dataset in datasets.items()}
    return CrossDatasetMatrix(
        {
            (run, name): _cell(result, dataset, hashes[name])
            for run, result in results.items()
            for name, dataset in datasets.items()
        }
    )


def _cell(
    result: CrossValidationResult, dataset: CTDataset, content_hash: str
) -> CrossValidationResult | ExternalEvaluation | Refusal:
    if result.content_hash == content_hash:
        return result
    try:
        return result.evaluate(dataset)
    except OverlapError as error:
        return Refusal(str(error))

"""Result of a sweep: its finished runs, and tables that compare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Self

from ..._display import Displayed
from ...errors import InvalidFileError
from ...evaluation.tables import Table
from ..comparison_table import published_comparison, side_by_side
from ..paired_tests import PairedTests, compare_runs, same_folds
from ..result import CrossValidationResult
from .planning import PlannedRun

__all__ = ["SweepResult"]


@dataclass(frozen=True, repr=False)
class SweepResult(Displayed):
    """Result of a sweep: its finished runs, and tables that compare them.

    Parameters
    ----------
    results : mapping of PlannedRun to CrossValidationResult
        The finished runs.
    failures : mapping of PlannedRun to str, default={}
        The failed runs with their error messages.

    Examples
    --------
    >>> from covidct.runs.sweep import SweepResult
    >>> len(SweepResult({}).table().rows)
    0
    """

    results: Mapping[PlannedRun, CrossValidationResult]
    failures: Mapping[PlannedRun, str] = field(default_factory=dict)

    def __str__(self) -> str:
        failures = [f"failed: {run}: {error}" for run, error in self.failures.items()]
        return "\n".join([str(self.table()), *failures])

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """Read the finished runs of a sweep; unfinished runs are left out.

        Parameters
        ----------
        folder : str or path-like
            Folder of the sweep.

        Returns
        -------
        SweepResult
            The runs, sorted by dataset, network and variant.

        Raises
        ------
        InvalidFileError
            If a file of a run was damaged or edited.
        """
        found = {}
        for path in sorted(Path(folder).glob("*/*/*/run.json")):
            try:
                result = CrossValidationResult.load(path.parent)
            except InvalidFileError:
                raise
            except ValueError:
                continue  # folds are missing
            weights = result.spec.weights
            planned = PlannedRun(
                dataset=path.parts[-4],
                model=result.model_name,
                variant=path.parts[-2],
                recipe=result.recipe,
                protocol=result.protocol.id,
                weights=None if weights is None else weights.name,
            )
            found[planned] = result
        return cls(found)

    def table(self, *, metric: str = "accuracy") -> Table:
        """Return a table of the runs, as :func:`covidct.runs.comparison_table.side_by_side` does.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in :data:`covidct.evaluation.metrics.METRICS`; the AUC is shown too.

        Returns
        -------
        Table
            One row per finished run, in percent.
        """
        labels = [planned.variant for planned in self.results]
        return side_by_side(list(self.results.values()), metric=metric, variants=labels)

    def published(self, *, metric: str = "accuracy") -> Table:
        """Compare the runs with the paper's results of the same networks.

        Parameters
        ----------
        metric : {"accuracy", "precision", "recall", "specificity", "f1"}, default="accuracy"
            One of the metrics that the paper reports.

        Returns
        -------
        Table
            Percentages, and the deviations of each run from the paper's experiment. Runs without
            a published result are left out.
        """
        rows = []
        for planned, result in self.results.items():
            comparison = published_comparison(result)
            if comparison is None:
                continue
            rows += [
                [str(planned), *row.texts()[1:], "; ".join(comparison.deviations) or "–"]
                for row in comparison.rows
                if row.metric == metric
            ]
        header = ["run", "result", "published", "difference", "in published sd", "deviations"]
        return Table(header, rows)

    def compare(
        self, metric: str = "accuracy", *, baseline: str = "paper", n_permutations: int = 10_000
    ) -> PairedTests:
        """Test differences between runs on the same folds.

        Networks of one variant are compared with each other, and variants of one network with the
        baseline. P-values are corrected for the number of tests in the sweep.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in :data:`covidct.evaluation.metrics.METRICS`.
        baseline : str, default="paper"
            Variant with which the other variants are compared.
        n_permutations : int, default=10_000
            As in :func:`covidct.evaluation.significance.permutation_test`.

        Returns
        -------
        PairedTests
            One test per pair of runs; empty if no two runs can be compared.
        """
        pairs = [
            (str(a), str(b))
            for a, b in combinations(self.results, 2)
            if same_folds(self.results[a], self.results[b])
            and (
                a.variant == b.variant
                or (a.model == b.model and baseline in (a.variant, b.variant))
            )
        ]
        runs = {str(planned): result for planned, result in self.results.items()}
        return compare_runs(runs, metric=metric, pairs=pairs, n_permutations=n_permutations)

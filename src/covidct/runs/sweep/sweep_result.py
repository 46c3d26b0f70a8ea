"""Finished runs of a sweep, and the tables made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Self

from ...errors import InvalidFileError
from ...evaluation.tables import Table
from ..comparison_table import published_comparison, side_by_side
from ..paired_tests import PairedTests, compare_runs, same_folds
from ..result import CrossValidationResult
from .planning import PlannedRun

__all__ = ["SweepResult"]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Parameters
    ----------
    results
        The finished cells and their runs.
    failures
        The cells that failed, and why.

    Examples
    --------
    >>> from covidct.runs.sweep import SweepResult
    >>> SweepResult({}).table()
    'no cell is finished'
    """

    results: Mapping[PlannedRun, CrossValidationResult]
    failures: Mapping[PlannedRun, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """Read all finished cells of a folder; those under way are passed over.

        Parameters
        ----------
        folder
            Of the sweep.

        Returns
        -------
        SweepResult
            Its runs, by dataset, network and variant.

        Raises
        ------
        InvalidFileError
            If a run was damaged.
        """
        found = {}
        for path in sorted(Path(folder).glob("*/*/*/run.json")):
            try:
                result = CrossValidationResult.load(path.parent)
            except InvalidFileError:
                raise
            except ValueError:
                continue  # folds are missing
            cell = PlannedRun(
                dataset=path.parts[-4],
                model=result.model_name,
                variant=path.parts[-2],
                recipe=result.recipe,
                protocol=result.protocol.id,
                weights=None if result.spec.weights is None else result.spec.weights.name,
            )
            found[cell] = result
        return cls(found)

    def table(self, style: str = "text", *, metric: str = "accuracy") -> str:
        """Render the finished cells, as :func:`covidct.runs.comparison_table.side_by_side`.

        Parameters
        ----------
        style
            ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.
        metric
            The metric beside the AUC.

        Returns
        -------
        str
            The table.
        """
        if not self.results:
            return "no cell is finished"
        labels = [cell.variant for cell in self.results]
        table = side_by_side(list(self.results.values()), metric=metric, variants=labels)
        return table.render(style)

    def published(self, style: str = "text", *, metric: str = "accuracy") -> str:
        """Lay out the finished cells beside what the paper reports of their networks.

        Parameters
        ----------
        style
            ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.
        metric
            One of the five that the paper reports.

        Returns
        -------
        str
            The table, in percent, with what makes a row another experiment than the paper's;
            empty where the paper has none of the networks, or not the metric.
        """
        rows = []
        for cell, result in self.results.items():
            beside = published_comparison(result)
            if beside is None:
                continue
            rows += [
                [str(cell), *row.texts()[1:], "; ".join(beside.deviations) or "–"]
                for row in beside.rows
                if row.metric == metric
            ]
        header = ["run", "result", "published", "difference", "in published sd", "deviations"]
        return Table(header, rows).render(style) if rows else ""

    def compare(
        self, metric: str = "accuracy", *, baseline: str = "paper", n_permutations: int = 10_000
    ) -> PairedTests:
        """Test the differences between cells, corrected for the number of tests in the sweep.

        Compared are cells on the same folds: networks of one variant with each other, and variants
        of one network with the baseline.

        Parameters
        ----------
        metric
            A name out of ``covidct.evaluation.metrics.METRICS``.
        baseline
            The variant with which others are compared.
        n_permutations
            As for :func:`covidct.evaluation.significance.permutation_test`.

        Returns
        -------
        PairedTests
            None of them where no two cells can be compared.
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
        runs = {str(cell): result for cell, result in self.results.items()}
        return compare_runs(runs, metric=metric, pairs=pairs, n_permutations=n_permutations)

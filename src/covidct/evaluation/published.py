"""Published results on the same datasets, for comparison with a run.

`TABLE_2` contains the paper's Table 2: its twelve networks and the works that it quotes. `LATER`
contains results published after the paper. Each entry states if its protocol is covidct's default,
and if not, why a comparison would be misleading. The values of the paper's Table 1 are in the
registry of networks (`covidct.model_info`).

Examples
--------
>>> from covidct.evaluation import published
>>> paper, = published.results(dataset="covid19-ct", network="densenet201")
>>> paper.metrics["accuracy"]
Spread(mean=0.929, sd=0.022)
>>> best = max(published.results(dataset="sars-cov-2-ct", comparable=True),
...            key=lambda result: result.metrics["recall"])
>>> best.network
'inception_v3'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isnan, nan
from typing import Any, NamedTuple

from .._display import Displayed
from .._files import json_ready
from ..errors import UnknownNameError
from ._published_tables import (
    PublishedResult,
    Spread,
    later_results,
    paper_results,
    quoted_results,
)
from .tables import Table, percent

__all__ = [
    "LATER",
    "TABLE_2",
    "Comparison",
    "ComparisonRow",
    "PublishedResult",
    "Spread",
    "compare",
    "results",
]

TABLE_2: tuple[PublishedResult, ...] = (*paper_results(), *quoted_results())
"""The paper's Table 2: twelve networks on two datasets, and the works that it quotes."""

LATER: tuple[PublishedResult, ...] = tuple(later_results())
"""Results published after the paper."""


def results(
    *, dataset: str = "*", network: str = "*", comparable: bool | None = None
) -> tuple[PublishedResult, ...]:
    """Select published results by dataset, network and comparability.

    Parameters
    ----------
    dataset, network : str, default="*"
        Names, or shell-style patterns such as ``"densenet*"``.
    comparable : bool or None, default=None
        If True or False, select the results that are, or are not, comparable with a run under
        covidct's default protocol. If None, select both.

    Returns
    -------
    tuple of PublishedResult
        In the order of the tables; empty if no result matches.

    Examples
    --------
    >>> from covidct.evaluation import published
    >>> [r.network for r in published.results(dataset="covid19-ct", network="resnet*")]
    ['resnet18', 'resnet50', 'resnet101']
    >>> (xdnn,) = published.results(dataset="sars-cov-2-ct", network="xDNN")
    >>> xdnn.metrics["f1"].mean, xdnn.comparable
    (0.973, False)
    """
    return tuple(
        result
        for result in (*TABLE_2, *LATER)
        if fnmatchcase(result.dataset, dataset)
        and fnmatchcase(result.network, network)
        and comparable in (None, result.comparable)
    )


class ComparisonRow(NamedTuple):
    """One metric of a run and of the paper, as fractions.

    Attributes
    ----------
    metric : str
        Name of the metric.
    run, published : Spread
        Mean and standard deviation over the folds of the run, and in the paper.
    difference : float
        Mean of the run minus published mean.
    difference_in_sds : float
        Difference divided by the published standard deviation; NaN where that is missing or 0.
    """

    metric: str
    run: Spread
    published: Spread
    difference: float
    difference_in_sds: float

    def texts(self) -> tuple[str, ...]:
        """Format the row for a table.

        Returns
        -------
        tuple of str
            Metric, run, published value and difference in percent, and the difference in
            published standard deviations.
        """
        return (
            self.metric,
            percent(*self.run),
            percent(*self.published),
            f"{100 * self.difference:+.1f}",
            "–" if isnan(self.difference_in_sds) else f"{self.difference_in_sds:+.1f}",
        )


@dataclass(frozen=True, repr=False)
class Comparison(Displayed):
    """Comparison of a run with the paper, printed as a table in percent with caveats.

    Attributes
    ----------
    published : PublishedResult
        Result of the paper.
    protocol : str
        Protocol of the run.
    rows : tuple of ComparisonRow
        One row for each metric that both report.
    caveats : tuple of str
        Sentences that should accompany the rows.
    deviations : tuple of str, default=()
        Differences between the run's experiment and the paper's, its protocol included, such as
        ``"random weights instead of ImageNet's"``.
    """

    published: PublishedResult
    protocol: str
    rows: tuple[ComparisonRow, ...]
    caveats: tuple[str, ...]
    deviations: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """True if the run repeats the paper's experiment, as far as the paper describes it."""
        return not self.deviations

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values for JSON.

        Returns
        -------
        dict
            Undefined values are None.
        """
        content = {
            "network": self.published.network,
            "dataset": self.published.dataset,
            "protocol": self.protocol,
            "citation": self.published.citation,
            "comparable": self.comparable,
            "deviations": self.deviations,
            "rows": {
                row.metric: {
                    "run": row.run._asdict(),
                    "published": row.published._asdict(),
                    "difference": row.difference,
                    "difference_in_sds": row.difference_in_sds,
                }
                for row in self.rows
            },
            "caveats": self.caveats,
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        table = Table(
            ("", "run", "published", "difference", "in published sd"),
            [row.texts() for row in self.rows],
        )
        limits = "" if self.comparable else " (not comparable, see below)"
        lines = [
            f"{self.published.network} on {self.published.dataset}, percent{limits}",
            f"run:       protocol {self.protocol!r}",
            f"published: {self.published.citation}",
            "",
            str(table),
            "",
            *(f"- {caveat}" for caveat in self.caveats),
        ]
        return "\n".join(lines)


def compare(
    summary: Mapping[str, tuple[float, float]],
    network: str,
    dataset: str,
    *,
    protocol: str = "paper",
    deviations: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Comparison:
    """Compare a cross-validation of one network with the paper's Table 2.

    Parameters
    ----------
    summary : mapping of str to (float, float)
        Mean and standard deviation of each metric as fractions, as
        ``CrossValidationResult.summary()`` returns them.
    network : str
        One of the paper's twelve networks.
    dataset : {"covid19-ct", "sars-cov-2-ct"}
        Dataset of the run.
    protocol : str, default="paper"
        Protocol of the run. Any value but ``"paper"`` makes the results not comparable.
    deviations : iterable of str, default=()
        Further differences from the paper's experiment, such as ``"30 epochs instead of 100"``.
        Any of them makes the results not comparable.
    notes : iterable of str, default=()
        Additional caveats.

    Returns
    -------
    Comparison

    Raises
    ------
    UnknownNameError
        If the paper has no result for `network` or `dataset`; `results` returns an empty tuple
        in that case.

    Examples
    --------
    >>> from covidct.evaluation import published
    >>> summary = {"accuracy": (0.861, 0.029), "recall": (0.846, 0.041)}
    >>> print(published.compare(summary, "squeezenet", "covid19-ct"))  # doctest: +ELLIPSIS
    squeezenet on covid19-ct, percent
    run:       protocol 'paper'
    published: Alshazly, Linse, Barth, Martinetz: ..., Table 2
    <BLANKLINE>
                     run   published  difference  in published sd
    accuracy  86.1 ± 2.9  87.3 ± 3.2        -1.2             -0.4
    recall    84.6 ± 4.1  86.5 ± 2.3        -1.9             -0.8
    <BLANKLINE>
    - The published standard deviation is over five folds ...
    """
    paper = _paper_result(network, dataset)
    rows = tuple(
        _row(name, Spread(*summary[name]), value)
        for name, value in paper.metrics.items()
        if name in summary
    )
    others = tuple(deviations)
    caveats = (*_caveats(paper, protocol, others), *notes)
    changed = () if protocol == "paper" else (f"protocol {protocol!r}",)
    return Comparison(paper, protocol, rows, caveats, (*changed, *others))


def _paper_result(network: str, dataset: str) -> PublishedResult:
    comparable = results(comparable=True)
    for kind, name, known in (
        ("dataset of the paper", dataset, {r.dataset for r in comparable}),
        ("network of the paper", network, {r.network for r in comparable}),
    ):
        if name not in known:
            raise UnknownNameError.among(kind, name, known)
    (found,) = (r for r in comparable if (r.network, r.dataset) == (network, dataset))
    return found


def _row(name: str, run: Spread, published: Spread) -> ComparisonRow:
    difference = run.mean - published.mean
    in_sds = difference / published.sd if published.sd > 0 else nan
    return ComparisonRow(name, run, published, difference, in_sds)


def _caveats(paper: PublishedResult, protocol: str, deviations: Sequence[str]) -> tuple[str, ...]:
    applies = {
        "The published standard deviation is over five folds (the paper does not state if it is of "
        "the sample or the population). It measures how much folds differ; it is not a standard "
        "error, so a difference in units of it is not a test.": True,
        "Both experiments split slices at random, so slices of one patient can be in training "
        "and test: both results are too optimistic for new patients.": protocol == "paper",
        f"The protocols differ: the run used {protocol!r}, the paper split slices at random, "
        "which is easier if patients have several slices. The difference cannot be attributed "
        "to the network.": protocol != "paper",
        f"The experiments differ: the run has {'; '.join(deviations)}.": bool(deviations),
        "The paper does not report the ranges of its augmentations, its implementation of LAMB "
        "and the epoch that it evaluates; these choices may explain a difference.": True,
        "The paper counts 2,482 slices; the published dataset has 2,481 files.": (
            paper.dataset == "sars-cov-2-ct"
        ),
        paper.note: bool(paper.note),
    }
    return tuple(sentence for sentence, condition in applies.items() if condition)

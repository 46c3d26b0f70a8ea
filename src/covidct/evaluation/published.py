"""What others have published on the same slices, to hold one's own results against.

`TABLE_2` is that of the paper, both its twelve networks and the works that it quotes; `LATER`
is what came after, mostly under splits that keep patients apart. (The paper's Table 1 is the
registry of networks: `covidct.model_info`.) Of each entry it is said whether its protocol is the
one that covidct follows by default, and if not, why a comparison would mislead.

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isnan, nan
from types import MappingProxyType
from typing import NamedTuple

from ..errors import UnknownNameError
from ._published_tables import (
    CITATION,
    COVIDNETS,
    HEADER,
    NOTES,
    PAPER_ROWS,
    PROTOCOL,
    QUOTED_ROWS,
    SIBLING_ROWS,
)

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


class Spread(NamedTuple):
    """A mean over folds with its standard deviation, as fractions.

    Attributes
    ----------
    mean
        The mean.
    sd
        The standard deviation; NaN where none is given.
    """

    mean: float
    sd: float = nan


@dataclass(frozen=True)
class PublishedResult:
    """One row of somebody's table.

    Attributes
    ----------
    network
        covidct's name of one of the paper's twelve networks, else what its authors call theirs.
    dataset
        covidct's name of the dataset, or another where the slices are others.
    metrics
        What is given of `covidct.evaluation.metrics.METRICS`, as fractions.
    protocol
        How slices were split into training and test.
    citation
        Where the figures stand.
    comparable
        Whether a run of covidct with ``protocol="paper"`` measures the same.
    reason
        Why it is or is not comparable.
    note
        What else is to be known, such as a misprint; often empty.
    """

    network: str
    dataset: str
    metrics: Mapping[str, Spread]
    protocol: str
    citation: str
    comparable: bool
    reason: str
    note: str = ""


def _spread(cell: str) -> Spread:
    mean, _, sd = cell.partition("±")
    # Rounding, since 0.01 * 88.1 is 0.8809999999999999.
    return Spread(round(float(mean) / 100, 6), round(float(sd) / 100, 6) if sd else nan)


def _metrics(cells: Sequence[str], names: Sequence[str] = HEADER) -> Mapping[str, Spread]:
    given = zip(names, cells, strict=True)
    return MappingProxyType({name: _spread(cell) for name, cell in given if cell != "–"})


def _paper() -> list[PublishedResult]:
    return [
        PublishedResult(
            network=network,
            dataset=dataset,
            metrics=_metrics(cells),
            protocol=PROTOCOL,
            citation=f"{CITATION}, Table 2",
            comparable=True,
            reason="the same five-fold split of slices at random, stratified by class",
            note=NOTES.get((dataset, network), ""),
        )
        for dataset, rows in PAPER_ROWS.items()
        for network, *cells in (line.split() for line in rows.strip().splitlines())
    ]


def _quoted() -> list[PublishedResult]:
    return [
        PublishedResult(
            network=network.strip(),
            dataset=dataset,
            metrics=_metrics(cells.split()),
            protocol="that of the quoted work, which the quotation does not state",
            citation=f"{source.strip()}, quoted in Table 2 of {CITATION}",
            comparable=False,
            reason="another work's own splits and training, quoted without them",
        )
        for dataset, rows in QUOTED_ROWS.items()
        for network, source, cells in (line.split("|") for line in rows.strip().splitlines())
    ]


def _later() -> list[PublishedResult]:
    covidnets = PublishedResult(
        network="CovidDenseNet",
        dataset="covid19-ct",
        metrics=_metrics(COVIDNETS.split(), (*HEADER, "auc")),
        protocol="the set's own split into training, validation and test, patients apart",
        citation="Alshazly, Linse, Abdalla, Barth, Martinetz: COVID-Nets: deep CNN architectures "
        "for detecting COVID-19 using chest CT scans, PeerJ Computer Science 7 (2021) e655",
        comparable=False,
        reason="no patient stands on both sides, unlike in random slices",
    )
    sibling = [
        PublishedResult(
            network=network.strip(),
            dataset="sars-cov-2-ct-210-patients",
            metrics=_metrics([f1], ["f1"]),
            protocol=protocol,
            citation="unpublished notebook values",
            comparable=False,
            reason="a sibling of sars-cov-2-ct: 4,173 slices of 210 patients, whose ids are known",
        )
        for network, cells in (line.split("|") for line in SIBLING_ROWS.strip().splitlines())
        for f1, protocol in zip(
            cells.split(), ("random slices", "patients kept together"), strict=True
        )
    ]
    return [covidnets, *sibling]


TABLE_2: tuple[PublishedResult, ...] = (*_paper(), *_quoted())
"""The paper's Table 2: twelve networks on two datasets, and the works that it quotes."""

LATER: tuple[PublishedResult, ...] = tuple(_later())
"""What has been reported since, above all when patients are kept together."""


def results(
    *, dataset: str = "*", network: str = "*", comparable: bool | None = None
) -> tuple[PublishedResult, ...]:
    """Look published results up.

    Parameters
    ----------
    dataset, network
        Names, or shell-style patterns such as ``"densenet*"``.
    comparable
        Only those that are, or are not, comparable with covidct's default protocol.

    Returns
    -------
    tuple of PublishedResult
        In the order of the tables; empty where nothing is known.

    Examples
    --------
    >>> from covidct.evaluation import published
    >>> [r.network for r in published.results(dataset="covid19-ct", network="resnet*")]
    ['resnet18', 'resnet50', 'resnet101']
    >>> for r in published.results(dataset="sars-cov-2-ct-*", network="xDNN"):
    ...     print(r.protocol, r.metrics["f1"].mean)
    random slices 0.856
    patients kept together 0.653
    """
    return tuple(
        result
        for result in (*TABLE_2, *LATER)
        if fnmatchcase(result.dataset, dataset)
        and fnmatchcase(result.network, network)
        and comparable in (None, result.comparable)
    )


class ComparisonRow(NamedTuple):
    """One metric of ours beside theirs, as fractions.

    Attributes
    ----------
    metric
        Its name.
    ours, theirs
        What each gives.
    difference
        Ours less theirs.
    in_their_sds
        The same in their standard deviations; NaN where they give none or 0.
    """

    metric: str
    ours: Spread
    theirs: Spread
    difference: float
    in_their_sds: float


@dataclass(frozen=True)
class Comparison:
    """A run beside the paper's; printing it gives a table in per cent, with what limits it.

    Attributes
    ----------
    published
        The paper's entry.
    protocol
        Ours.
    rows
        One for each metric that both have.
    caveats
        Sentences that should stand wherever the rows do.
    """

    published: PublishedResult
    protocol: str
    rows: tuple[ComparisonRow, ...]
    caveats: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        """Whether both come from the same protocol."""
        return self.protocol == "paper"

    def __str__(self) -> str:
        head = (
            f"{self.published.network} on {self.published.dataset}, per cent\n"
            f"ours:   protocol {self.protocol!r}\ntheirs: {self.published.citation}"
        )
        names = ("", "ours", "theirs", "difference", "in their sd")
        cells = [names, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        table = ["  ".join(_aligned(line, widths)).rstrip() for line in cells]
        return "\n".join([head, "", *table, "", *(f"- {caveat}" for caveat in self.caveats)])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    return (
        row.metric,
        _percent(row.ours),
        _percent(row.theirs),
        f"{100 * row.difference:+.1f}",
        "–" if isnan(row.in_their_sds) else f"{row.in_their_sds:+.1f}",
    )


def _percent(value: Spread) -> str:
    sd = "" if isnan(value.sd) else f" ± {100 * value.sd:.1f}"
    return f"{100 * value.mean:.1f}{sd}"


def compare(
    summary: Mapping[str, tuple[float, float]],
    network: str,
    dataset: str,
    *,
    protocol: str = "paper",
) -> Comparison:
    """Hold a cross-validation of one network against the paper's.

    Parameters
    ----------
    summary
        Mean and standard deviation of each metric as fractions, as
        ``CrossValidationResult.summary()`` gives them.
    network
        One of the paper's twelve.
    dataset
        ``"covid19-ct"`` or ``"sars-cov-2-ct"``.
    protocol
        Ours, as ``CrossValidationResult.protocol`` names it. Anything but ``"paper"`` is another
        protocol, and the caveats say so.

    Returns
    -------
    Comparison

    Raises
    ------
    UnknownNameError
        If the paper has no such network or dataset; ask `results` first where it may not.

    Examples
    --------
    >>> from covidct.evaluation import published
    >>> ours = {"accuracy": (0.861, 0.029), "recall": (0.846, 0.041)}
    >>> print(published.compare(ours, "squeezenet", "covid19-ct"))  # doctest: +ELLIPSIS
    squeezenet on covid19-ct, per cent
    ours:   protocol 'paper'
    theirs: Alshazly, Linse, Barth, Martinetz: ..., Table 2
    <BLANKLINE>
                    ours      theirs  difference  in their sd
    accuracy  86.1 ± 2.9  87.3 ± 3.2        -1.2         -0.4
    recall    84.6 ± 4.1  86.5 ± 2.3        -1.9         -0.8
    <BLANKLINE>
    - Their standard deviation is over five folds ...
    """
    theirs = _of_the_paper(network, dataset)
    rows = tuple(
        _row(name, Spread(*summary[name]), value)
        for name, value in theirs.metrics.items()
        if name in summary
    )
    return Comparison(theirs, protocol, rows, _caveats(theirs, protocol))


def _of_the_paper(network: str, dataset: str) -> PublishedResult:
    comparable = results(comparable=True)
    for kind, name, known in (
        ("dataset of the paper", dataset, {r.dataset for r in comparable}),
        ("network of the paper", network, {r.network for r in comparable}),
    ):
        if name not in known:
            raise UnknownNameError.among(kind, name, known)
    (found,) = (r for r in comparable if (r.network, r.dataset) == (network, dataset))
    return found


def _row(name: str, ours: Spread, theirs: Spread) -> ComparisonRow:
    difference = ours.mean - theirs.mean
    return ComparisonRow(
        name, ours, theirs, difference, difference / theirs.sd if theirs.sd > 0 else nan
    )


def _caveats(theirs: PublishedResult, protocol: str) -> tuple[str, ...]:
    spread = (
        "Their standard deviation is over five folds (which kind is not stated): it says how much "
        "folds differ. It is no standard error, so a distance in it is no test."
    )
    unstated = (
        "The paper leaves open the ranges of its augmentations, the implementation of LAMB and "
        "which epoch is scored; such choices may account for a difference."
    )
    leaks = (
        "Both split slices at random, so that slices of one patient can stand on both sides: "
        "both are too good for new patients."
    )
    other = (
        f"Not the same protocol: ours is {protocol!r}, theirs splits slices at random, which is "
        "easier where patients have several. The difference is not the network's."
    )
    counts = "The paper counts 2,482 slices; the files that exist are 2,481."
    return (
        spread,
        leaks if protocol == "paper" else other,
        unstated,
        *([counts] if theirs.dataset == "sars-cov-2-ct" else []),
        *([theirs.note] if theirs.note else []),
    )

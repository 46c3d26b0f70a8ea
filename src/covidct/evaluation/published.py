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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isnan, nan
from typing import Any, NamedTuple

from .._files import json_ready
from ..errors import UnknownNameError
from ._published_tables import (
    PublishedResult,
    Spread,
    later_results,
    paper_results,
    quoted_results,
)
from .tables import percent, render_table

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

    def texts(self) -> tuple[str, ...]:
        """Write the row for a table.

        Returns
        -------
        tuple of str
            The metric, ours, theirs and the difference in percent, and that in their sd.
        """
        return (
            self.metric,
            percent(*self.ours),
            percent(*self.theirs),
            f"{100 * self.difference:+.1f}",
            "–" if isnan(self.in_their_sds) else f"{self.in_their_sds:+.1f}",
        )


@dataclass(frozen=True)
class Comparison:
    """A run beside the paper's; printing it gives a table in percent, with what limits it.

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
    departures
        In what else ours is not the paper's experiment, such as ``"random weights instead of
        ImageNet's"``.
    """

    published: PublishedResult
    protocol: str
    rows: tuple[ComparisonRow, ...]
    caveats: tuple[str, ...]
    departures: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether both are the same experiment, as far as the paper describes its own."""
        return not self.obstacles

    @property
    def obstacles(self) -> tuple[str, ...]:
        """What makes the two incomparable: another protocol, and the departures."""
        protocol = () if self.protocol == "paper" else (f"protocol {self.protocol!r}",)
        return (*protocol, *self.departures)

    def to_dict(self) -> dict[str, Any]:
        """Collect the rows for JSON.

        Returns
        -------
        dict
            Plain values; what is undefined is None.
        """
        content = {
            "network": self.published.network,
            "dataset": self.published.dataset,
            "protocol": self.protocol,
            "citation": self.published.citation,
            "comparable": self.comparable,
            "departures": self.departures,
            "rows": {
                metric: {
                    "ours": ours._asdict(),
                    "theirs": theirs._asdict(),
                    "difference": difference,
                    "in_their_sds": in_their_sds,
                }
                for metric, ours, theirs, difference, in_their_sds in self.rows
            },
            "caveats": self.caveats,
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        head = (
            f"{self.published.network} on {self.published.dataset}, percent"
            f"{'' if self.comparable else ' (not comparable, see below)'}\n"
            f"ours:   protocol {self.protocol!r}\ntheirs: {self.published.citation}"
        )
        names = ("", "ours", "theirs", "difference", "in their sd")
        table = render_table(names, [row.texts() for row in self.rows])
        return "\n".join([head, "", table, "", *(f"- {caveat}" for caveat in self.caveats)])


def compare(
    summary: Mapping[str, tuple[float, float]],
    network: str,
    dataset: str,
    *,
    protocol: str = "paper",
    departures: Iterable[str] = (),
    notes: Iterable[str] = (),
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
    departures
        In what else ours is not the paper's experiment, such as ``"30 epochs instead of 100"``;
        any makes the two not comparable.
    notes
        Further caveats.

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
    squeezenet on covid19-ct, percent
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
    departed = tuple(departures)
    caveats = (*_caveats(theirs, protocol, departed), *notes)
    return Comparison(theirs, protocol, rows, caveats, departed)


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


def _caveats(theirs: PublishedResult, protocol: str, departures: Sequence[str]) -> tuple[str, ...]:
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
    departed = f"Not the same experiment: ours has {'; '.join(departures)}."
    counts = "The paper counts 2,482 slices; the files that exist are 2,481."
    said = {
        spread: True,
        leaks: protocol == "paper",
        other: protocol != "paper",
        departed: bool(departures),
        unstated: True,
        counts: theirs.dataset == "sars-cov-2-ct",
        theirs.note: bool(theirs.note),
    }
    return tuple(sentence for sentence, applies in said.items() if applies)

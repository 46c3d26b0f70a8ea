"""What an audit has to say: findings, how grave they are, and the report that lists them."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .._text import shortened
from ..evaluation.tables import Table

__all__ = ["RULES", "AuditReport", "Finding", "Rule", "Severity"]

Severity = Literal["fatal", "warning", "note"]

_SEVERITIES: tuple[Severity, ...] = ("fatal", "warning", "note")
_WIDTH = 100
_EXAMPLES = 5
_LONGEST_CELL = 40


class Rule(NamedTuple):
    """From which value on a measurement is how grave; None: never.

    Attributes
    ----------
    measures : str
        What the value is.
    fatal : float or None
        No score on these slices can be believed until this is mended.
    warning : float or None
        It makes a score worth less than it looks, unless it is allowed for.
    note : float or None
        It is good to know.
    """

    measures: str
    fatal: float | None = None
    warning: float | None = None
    note: float | None = None

    def severity(self, value: float) -> Severity | None:
        """Return the gravest severity whose bound the value reaches, None where it reaches none."""
        for severity in _SEVERITIES:
            bound = getattr(self, severity)
            if bound is not None and value >= bound:
                return severity
        return None


#: How grave each finding is. Every value is the worse the greater it is.
RULES: dict[str, Rule] = {
    "one class": Rule("classes without a slice", fatal=1),
    "contradiction": Rule("pairs of files that show one slice under both labels", fatal=1),
    "likeness": Rule("pairs of similar slices under both labels", warning=1),
    "repetition": Rule("slices that repeat another of their class, pixel by pixel", warning=1),
    "near-duplicates": Rule("share of slices in groups of near-duplicates", note=0.0001),
    "unknown patients": Rule("1 where no patients are known", note=1),
    "strangers": Rule("pairs of files that show one slice in different patients", warning=1),
    "look-alikes": Rule("pairs of similar slices in different patients", note=1),
    "both labels": Rule("patients with slices of both labels", warning=1),
    "torn patients": Rule("patients in two parts of the official split", warning=1),
    "torn duplicates": Rule("pairs of near-duplicates that the official split parts", warning=1),
    "shortcut": Rule(
        "how far file properties alone lead from the base rate to 1 (lower end of the interval)",
        fatal=0.9,
        warning=0.1,
        note=0.0,
    ),
    "leak": Rule("accuracy of the nearest neighbor: random less grouped", warning=0.05, note=-1),
    "unmeasured": Rule("kinds of faults that could not be looked for", warning=1),
    "imbalance": Rule("share of the larger class", warning=0.8, note=0),
    "skipped": Rule("share of files left out", warning=0.01, note=0.0000001),
}


@dataclass(frozen=True)
class Finding:
    """One thing that the audit has found.

    Attributes
    ----------
    severity : {"fatal", "warning", "note"}
        By :data:`RULES`.
    title : str
        The finding in a sentence, without full stop.
    detail : str
        What it means, and what to do.
    evidence : mapping
        Numbers, names of files; JSON can hold it.
    """

    severity: Severity
    title: str
    detail: str
    evidence: Mapping[str, Any]

    @property
    def examples(self) -> tuple[str, ...]:
        """The first pairs of files that it is about, each with how alike they are; or none."""
        lines = []
        for pair in self.evidence.get("pairs", ())[:_EXAMPLES]:
            sign = "=" if pair["identical"] else f"~ {pair['similarity']:.2f}"
            lines.append(f"{pair['files'][0]}  {sign}  {pair['files'][1]}")
        return tuple(lines)


@dataclass(frozen=True)
class AuditReport:
    """What :func:`covidct.audit_dataset` found; printing it gives a readable text.

    Attributes
    ----------
    dataset : str
        Its name.
    subject : str
        It in a line: slices, classes, patients.
    findings : tuple of Finding
        The gravest first.
    groups : ndarray of int64, shape (N,)
        The group of near-duplicates of each slice: what a split should keep together where
        patients are unknown, and the least that it must.
    tables : mapping of str to tuple of mapping
        ``"shortcuts"``, ``"leakage"``, ``"patients"`` and ``"near-duplicate groups"``, row by row.
        Accuracies are fractions.

    Examples
    --------
    >>> import covidct
    >>> report = covidct.audit_dataset(covidct.load_dataset("phantom", n=24, seed=0))
    >>> len(report.groups), any(finding.severity == "fatal" for finding in report.findings)
    (24, False)
    """

    dataset: str
    subject: str
    findings: tuple[Finding, ...]
    groups: npt.NDArray[np.int64]
    tables: Mapping[str, tuple[Mapping[str, Any], ...]]

    @property
    def verdict(self) -> str:
        """What all of it amounts to, in a sentence or two."""
        titles = {
            severity: [_lowered(f.title) for f in self.findings if f.severity == severity]
            for severity in _SEVERITIES
        }
        if titles["fatal"]:
            opening = "No score on these slices can be believed until this is mended: "
            return opening + "; ".join(titles["fatal"]) + "." + _further(len(titles["warning"]))
        if titles["warning"]:
            opening = "A score on these slices may be worth less than it looks: "
            return opening + "; ".join(titles["warning"]) + "."
        return "Nothing was found that would make a score on these slices worth less than it looks."

    def to_dict(self) -> dict[str, Any]:
        """Return the whole report as what JSON can hold.

        Returns
        -------
        dict
            All but the groups' own slices, as plain values.
        """
        return {
            "dataset": self.dataset,
            "subject": self.subject,
            "verdict": self.verdict,
            "findings": [asdict(finding) for finding in self.findings],
            "tables": {name: [dict(row) for row in rows] for name, rows in self.tables.items()},
            "groups": self.groups.tolist(),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"Audit of {self.subject}"
        yield ""
        yield from _wrapped(f"Verdict: {self.verdict}")
        for finding in self.findings:
            yield ""
            yield from _paragraph(finding.title, heading=finding.severity.upper())
            yield from _paragraph(finding.detail)
            yield from (f"{'':10}{example}" for example in finding.examples)
        for printed in _PRINTED:
            rows = self.tables.get(printed.name, ())[: printed.most]
            if rows and rows[0].keys() >= set(printed.columns.values()):
                cells = [[_cell(row[key]) for key in printed.columns.values()] for row in rows]
                yield ""
                yield str(Table(tuple(printed.columns), cells, caption=printed.caption))


def _lowered(title: str) -> str:
    return title[:1].lower() + title[1:]


def _further(n_warnings: int) -> str:
    """Mention warnings behind what is fatal."""
    return {0: "", 1: " One warning follows."}.get(n_warnings, f" {n_warnings} warnings follow.")


def _paragraph(text: str, *, heading: str = "") -> list[str]:
    return _wrapped(text, f"{heading:<8}", " " * 8)


def _wrapped(text: str, first: str = "", others: str = "") -> list[str]:
    """Fit text to a narrow terminal; names of files are not broken at their hyphens."""
    return textwrap.wrap(
        text,
        min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns),
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
    )


class _Printed(NamedTuple):
    """A table of the report that is printed: heading of each column, and key of its values."""

    name: str
    caption: str
    columns: Mapping[str, str]
    most: int | None = None


_PRINTED = (
    _Printed(
        "patients",
        "What belongs together, as the dataset says: groups, and slices of the median and largest:",
        {"class": "class", "slices": "slices", "groups": "groups"}
        | {"median": "median slices", "largest": "most slices"},
    ),
    _Printed(
        "near-duplicate groups",
        "The largest groups of near-duplicates:",
        {"first file": "first", "last file": "last", "slices": "slices"},
        most=3,
    ),
    _Printed(
        "shortcuts",
        "Accuracy of a classifier that sees only properties of the files, cross-validated:",
        {"property": "sees", "accuracy": "accuracy", "95 % from": "low", "to": "high"}
        | {"base rate": "base_rate"},
    ),
    _Printed(
        "leakage",
        "Accuracy of one nearest neighbor on raw pixels, mean and range over draws of folds:",
        {"split": "split", "groups": "n_groups", "accuracy": "accuracy"}
        | {"least": "low", "greatest": "high"},
    ),
)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1%}"
    if isinstance(value, list):
        return " and ".join(value) if len(value) < 3 else "all of these together"
    return shortened(str(value), _LONGEST_CELL)

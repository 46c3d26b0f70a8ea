"""Findings of an audit, rules for their severity, and the report."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .._text import shortened
from ..evaluation.tables import Table, percent

__all__ = ["RULES", "AuditReport", "Finding", "Rule", "Severity"]

Severity = Literal["fatal", "warning", "note"]

_SEVERITIES: tuple[Severity, ...] = ("fatal", "warning", "note")
_HTML_COLORS = {"fatal": "#b00020", "warning": "#a15c00", "note": "#555555"}
_WIDTH = 100
_EXAMPLES = 5
_LONGEST_CELL = 40


class Rule(NamedTuple):
    """Thresholds from which a measured value is fatal, a warning or a note.

    Attributes
    ----------
    measures : str
        Description of the value.
    fatal : float or None, default=None
        Threshold from which no score on the dataset can be trusted until the problem is fixed.
    warning : float or None, default=None
        Threshold from which a score on the dataset is too optimistic, unless split or data are
        adapted.
    note : float or None, default=None
        Threshold from which the value is reported for information.
    shortcut : bool, default=False
        True if the finding is about a property, other than the lung, that predicts the class.
    """

    measures: str
    fatal: float | None = None
    warning: float | None = None
    note: float | None = None
    shortcut: bool = False

    def severity(self, value: float) -> Severity | None:
        """Return the highest severity whose threshold the value reaches.

        Parameters
        ----------
        value : float
            Measured value.

        Returns
        -------
        {"fatal", "warning", "note"} or None
            None if the value reaches no threshold.
        """
        for severity in _SEVERITIES:
            threshold = getattr(self, severity)
            if threshold is not None and value >= threshold:
                return severity
        return None


#: Rule of each kind of finding. Greater values are worse for all of them.
RULES: dict[str, Rule] = {
    "one class": Rule("number of classes without slices", fatal=1),
    "conflicting labels": Rule("pairs of files with the same slice under both labels", fatal=1),
    "similar across classes": Rule("pairs of similar slices in different classes", warning=1),
    "exact duplicates": Rule("files with the same pixels as another of their class", warning=1),
    "near-duplicates": Rule("share of slices in groups of near-duplicates", note=0.0001),
    "unknown patients": Rule("1 if patients are unknown", note=1),
    "same across patients": Rule("pairs of files with the same slice, two patients", warning=1),
    "similar across patients": Rule("pairs of similar slices of different patients", note=1),
    "patients in both classes": Rule("patients with slices of both classes", warning=1),
    "patients across split": Rule("patients in two parts of the official split", warning=1),
    "duplicates across split": Rule(
        "pairs of near-duplicates in two parts of the official split", warning=1
    ),
    "shortcut": Rule(
        "skill of the best shortcut: 0 at the base rate, 1 if perfect (lower bound below that)",
        fatal=0.9,
        warning=0.1,
        note=0.0,
        shortcut=True,
    ),
    "own origin": Rule(
        "1 if a class, 0.5 if another label has a source or file format of its own",
        fatal=1,
        warning=0.5,
        shortcut=True,
    ),
    "source and label": Rule(
        "Cramér's V of class and source, if it is not due to chance",
        warning=0.3,
        note=0.0,
        shortcut=True,
    ),
    "recognizable source": Rule(
        "skill of recognizing the source (lower bound), if it is not due to chance", note=0.0
    ),
    "masks": Rule(
        "share of files with two gray levels", fatal=0.1, warning=0.0000001, shortcut=True
    ),
    "leakage": Rule(
        "accuracy of a nearest neighbor: random minus grouped split; 0 if due to chance",
        warning=0.05,
        note=-1,
    ),
    "not measured": Rule("number of checks that were impossible", warning=1),
    "imbalance": Rule("share of the larger class", warning=0.8, note=0),
    "skipped files": Rule("share of files that were skipped", warning=0.01, note=0.0000001),
}


@dataclass(frozen=True)
class Finding:
    """One finding of an audit.

    Attributes
    ----------
    severity : {"fatal", "warning", "note"}
        Severity by the rule in `RULES`.
    title : str
        Summary in one sentence, without a full stop.
    detail : str
        Meaning of the finding and recommended action.
    evidence : mapping of str to object
        Name of the rule, its value, and numbers and file names, as values for JSON.
    """

    severity: Severity
    title: str
    detail: str
    evidence: Mapping[str, Any]

    @property
    def examples(self) -> tuple[str, ...]:
        """Lines with the first pairs of files and their similarity; empty without pairs."""
        lines = []
        for pair in self.evidence.get("pairs", ())[:_EXAMPLES]:
            sign = "=" if pair["identical"] else f"~ {pair['similarity']:.2f}"
            change = f"  ({pair['change']})" if pair["change"] else ""
            lines.append(f"{pair['files'][0]}  {sign}  {pair['files'][1]}{change}")
        return tuple(lines)


@dataclass(frozen=True, repr=False)
class AuditReport:
    """Result of `covidct.audit_dataset`, printed as a list of all findings and tables.

    Attributes
    ----------
    dataset : str
        Name of the dataset.
    subject : str
        Description of the dataset in one line: slices, classes and patients.
    findings : tuple of Finding
        Findings, the most severe first.
    groups : ndarray of int64 of shape (n_slices,)
        Group of near-duplicates of each slice. A split should keep these together if patients are
        unknown.
    tables : mapping of str to tuple of mapping
        Rows of the tables ``"shortcuts"``, ``"leakage"``, ``"patients"``, ``"sources"``,
        ``"source recognition"`` and ``"near-duplicate groups"``. Accuracies are fractions.
    properties : mapping of str to ndarray of shape (n_slices,)
        Properties of the files that vary: ``"file format"``, ``"color mode"`` and ``"image size"``
        (pixels). They can be given to :meth:`covidct.CrossValidationResult.by` as subgroups.

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
    properties: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Summary of the fatal findings or, without any, of the warnings."""
        titles = {
            severity: [_lower_first(f.title) for f in self.findings if f.severity == severity]
            for severity in _SEVERITIES
        }
        if titles["fatal"]:
            opening = "No score on this dataset can be trusted until this is fixed: "
            fatal = "; ".join(titles["fatal"])
            return f"{opening}{fatal}.{_warnings_follow(len(titles['warning']))}"
        if titles["warning"]:
            opening = "A score on this dataset may be too optimistic: "
            return opening + "; ".join(titles["warning"]) + "."
        if any(finding.evidence.get("rule") == "unknown patients" for finding in self.findings):
            return (
                "The patients of the slices are unknown, so that a score on this dataset may be "
                "too optimistic; the audit found no other reason."
            )
        return "The audit found no reason why a score on this dataset would be too optimistic."

    @property
    def known_shortcuts(self) -> tuple[str, ...]:
        """Titles of fatal findings and warnings about properties that predict the class."""
        return tuple(
            finding.title
            for finding in self.findings
            if finding.severity != "note" and _rule(finding).shortcut
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON.

        Returns
        -------
        dict
            Findings, tables, verdict and groups.
        """
        return {
            "dataset": self.dataset,
            "subject": self.subject,
            "verdict": self.verdict,
            "findings": [asdict(finding) for finding in self.findings],
            "tables": {name: [dict(row) for row in rows] for name, rows in self.tables.items()},
            "groups": self.groups.tolist(),
        }

    def __repr__(self) -> str:
        counts = Counter(finding.severity for finding in self.findings)
        numbers = ", ".join(f"{severity}: {counts[severity]}" for severity in _SEVERITIES)
        lines = [f"Audit of {self.subject}", f"Findings: {numbers}"]
        lines += [f"{f.severity.upper():<8}{f.title}" for f in self.findings]
        lines += ["print(report) shows the details."]
        return "\n".join(
            line if len(line) <= _WIDTH else f"{line[: _WIDTH - 4].rstrip()} ..." for line in lines
        )

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        parts = [f"<p><strong>Audit of {escape(self.subject)}</strong></p>"]
        parts.append(f"<p>{escape(self.verdict)}</p>")
        for finding in self.findings:
            examples = "".join(f"<li><code>{escape(line)}</code></li>" for line in finding.examples)
            color = _HTML_COLORS[finding.severity]
            parts.append(
                f'<details><summary><span style="color:{color};font-weight:bold">'
                f"{finding.severity}</span> {escape(finding.title)}</summary>"
                f'<p style="margin-left:1em;max-width:80em">{escape(finding.detail)}</p>'
                f"<ul>{examples}</ul></details>"
            )
        tables = "".join(table.render("html") for table in self._printed_tables())
        parts.append(f"<details><summary>Tables</summary>{tables}</details>" if tables else "")
        return "".join(parts)

    def _lines(self) -> Iterator[str]:
        yield f"Audit of {self.subject}"
        yield ""
        yield from _wrap(f"Verdict: {self.verdict}")
        for finding in self.findings:
            yield ""
            yield from _paragraph(finding.title, heading=finding.severity.upper())
            yield from _paragraph(finding.detail)
            yield from (f"{'':10}{example}" for example in finding.examples)
        for table in self._printed_tables():
            yield ""
            yield str(table)

    def _printed_tables(self) -> Iterator[Table]:
        for layout in _LAYOUTS:
            rows = self.tables.get(layout.name, ())[: layout.max_rows]
            if rows and rows[0].keys() >= set(layout.columns.values()):
                cells = [[_cell(row[key]) for key in layout.columns.values()] for row in rows]
                yield Table(tuple(layout.columns), cells, caption=layout.caption)


def _rule(finding: Finding) -> Rule:
    return RULES.get(str(finding.evidence.get("rule")), Rule(""))


def _lower_first(title: str) -> str:
    return title[:1].lower() + title[1:]


def _warnings_follow(n_warnings: int) -> str:
    """Return a sentence about the number of warnings after the fatal findings."""
    return {0: "", 1: " One warning follows."}.get(n_warnings, f" {n_warnings} warnings follow.")


def _paragraph(text: str, *, heading: str = "") -> list[str]:
    return _wrap(text, f"{heading:<8}", " " * 8)


def _wrap(text: str, first: str = "", following: str = "") -> list[str]:
    """Wrap text to the width of the terminal, without breaking file names at hyphens."""
    return textwrap.wrap(
        text,
        min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns),
        initial_indent=first,
        subsequent_indent=following,
        break_on_hyphens=False,
    )


class _Layout(NamedTuple):
    """Layout of a printed table: caption, and the key of the values below each heading."""

    name: str
    caption: str
    columns: Mapping[str, str]
    max_rows: int | None = None


_LAYOUTS = (
    _Layout(
        "patients",
        "Slices and groups of each class, with the median and largest number of slices per group:",
        {"class": "class", "slices": "slices", "groups": "groups"}
        | {"median": "median slices", "largest": "most slices"},
    ),
    _Layout(
        "sources",
        "Slices of each source, and the share of COVID-19 among them:",
        {"source": "source", "slices": "slices", "groups": "groups", "COVID-19": "positive share"},
    ),
    _Layout(
        "near-duplicate groups",
        "Largest groups of near-duplicates:",
        {"first file": "first", "last file": "last", "slices": "slices"},
        max_rows=3,
    ),
    _Layout(
        "shortcuts",
        "Cross-validated accuracy of a classifier that uses only these image properties:",
        {"property": "properties", "accuracy": "accuracy", "95 % from": "low", "to": "high"}
        | {"base rate": "base_rate"},
    ),
    _Layout(
        "leakage",
        "Accuracy of a nearest neighbor on raw pixels, mean and range over draws of the folds:",
        {"split": "split", "groups": "n_groups", "accuracy": "accuracy"}
        | {"lowest": "low", "highest": "high"},
    ),
)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{percent(value)} %"
    if isinstance(value, list):
        return " and ".join(value) if len(value) < 3 else "all of these together"
    return shortened(str(value), _LONGEST_CELL)

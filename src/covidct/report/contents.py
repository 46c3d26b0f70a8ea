"""Contents of the page: notices, sections, and the comparison of several runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from .._text import capitalized
from ..evaluation import figures
from ..evaluation.tables import Table
from ..models.registry import model_info
from ..runs.comparison_table import distinctions, published_comparison
from ..runs.protocol import leakage_warning
from ..runs.result import CrossValidationResult
from .pictures import Picture, vector
from .result_tables import comparison_table, difference_table
from .run_section import RunSection, make_section, predictions_by_fold

if TYPE_CHECKING:
    from ..audit import AuditReport, Finding
    from ..datasets.ct_dataset import CTDataset

__all__ = ["Notice", "Page", "find_notices", "make_page"]

_GALLERY_SIZE = 48  # slices per page, which keeps the file small


class Notice(NamedTuple):
    """Notice at the top of the page.

    Attributes
    ----------
    severity : {"fatal", "warning", "note"}
        Severity.
    title, detail : str
        Summary and full text of the notice.
    """

    severity: str
    title: str
    detail: str


@dataclass(frozen=True)
class Page:
    """Contents of the page.

    Attributes
    ----------
    title : str
        Heading.
    notices : tuple of Notice
        Notices about the validity of the results, the most severe first.
    findings : tuple of Finding
        Findings of the audit; empty without an audit.
    verdict : str
        Verdict of the audit; ``""`` without an audit.
    sections : tuple of RunSection
        Runs.
    comparison, tests : Table or None, default=None
        Comparison of several runs and tests of their differences; None if no runs can be compared.
    pictures : tuple of Picture, default=()
        Figures that compare several runs.
    """

    title: str
    notices: tuple[Notice, ...]
    findings: tuple[Finding, ...]
    verdict: str
    sections: tuple[RunSection, ...]
    comparison: Table | None = None
    tests: Table | None = None
    pictures: tuple[Picture, ...] = ()


def make_page(
    results: Sequence[CrossValidationResult],
    *,
    dataset: CTDataset | None = None,
    audit: AuditReport | None = None,
    layer: str | None = None,
) -> Page:
    """Collect the contents of the page.

    Parameters
    ----------
    results : sequence of CrossValidationResult
        The runs.
    dataset : CTDataset, optional
        The slices that the runs were trained on, as in `write_report`.
    audit : AuditReport, optional
        Audit of these slices, as in `write_report`.
    layer : str, optional
        Name of the layer that Grad-CAM explains, as in `write_report`.

    Returns
    -------
    Page
        Contents without layout.

    Raises
    ------
    ValueError
        If `results` is empty, or if `dataset` is given and no run was trained on it.
    UnknownNameError
        If the network has no layer named `layer`.
    """
    if not results:
        raise ValueError("expected at least one run to report, got 0")
    differences = distinctions(results)
    named = _named(results, differences)
    matching = [r for r in results if dataset is not None and _was_trained_on(r, dataset)]
    if dataset is not None and not matching:
        raise ValueError(
            f"no run was trained on the given slices of {dataset.name!r}; their names, labels or "
            "contents differ, so give the dataset that a run was trained on"
        )
    per_kind = max(1, _GALLERY_SIZE // (4 * max(1, len(matching))))
    sections = tuple(
        make_section(
            f"run-{k}",
            result,
            dataset if result in matching else None,
            options,
            per_kind=per_kind,
            layer=layer,
            properties=audit.properties if audit and result in matching else None,
        )
        for k, (result, options) in enumerate(zip(results, differences, strict=True), start=1)
    )
    several = len(results) > 1
    return Page(
        title=_title(results) if several else sections[0].title,
        notices=tuple(find_notices(named, audit)),
        findings=audit.findings if audit else (),
        verdict=audit.verdict if audit else "",
        sections=sections,
        comparison=comparison_table(results) if several else None,
        tests=difference_table(named) if several else None,
        pictures=_compared(named) if several else (),
    )


def _was_trained_on(result: CrossValidationResult, dataset: CTDataset) -> bool:
    same: bool = result.spec.dataset.content_hash == dataset.content_hash()
    return same


def _named(
    results: Sequence[CrossValidationResult], options: Sequence[str]
) -> dict[str, CrossValidationResult]:
    """Return the runs by names that state their differences, with numbers if names are equal."""
    named: dict[str, CrossValidationResult] = {}
    rows = [
        (result.model_name, result.dataset_name, result.protocol.label, own)
        for result, own in zip(results, options, strict=True)
    ]
    informative = [len(set(column)) > 1 for column in zip(*rows, strict=True)]
    for number, (result, row) in enumerate(zip(results, rows, strict=True), start=1):
        name = ", ".join(filter(None, compress(row, informative))) or result.model_name
        named[f"{name} (run {number})" if name in named else name] = result
    return named


def _title(results: Sequence[CrossValidationResult]) -> str:
    """Return a title with the names, or the numbers, of the networks and datasets."""
    networks = dict.fromkeys(model_info(result.model_name).title for result in results)
    datasets = dict.fromkeys(result.dataset_name for result in results)
    subject = f"{_listed(networks, 'networks')} on {_listed(datasets, 'datasets')}"
    return f"{subject}: comparison of {len(results)} runs"


def _listed(names: Collection[str], noun: str) -> str:
    return f"{len(names)} {noun}" if len(names) > 3 else " and ".join(names)


def _compared(named: Mapping[str, CrossValidationResult]) -> tuple[Picture, ...]:
    found = {name: published_comparison(result) for name, result in named.items()}
    published = {
        name: comparison.published.metrics["accuracy"]
        for name, comparison in found.items()
        if comparison is not None and comparison.comparable
    }
    rows = {
        name: (result.summary()["accuracy"][0], result.intervals()["accuracy"])
        for name, result in named.items()
    }
    folds = {name: predictions_by_fold(result) for name, result in named.items()}
    return (vector(figures.forest(rows, published=published)), vector(figures.roc_curves(folds)))


def find_notices(
    named: Mapping[str, CrossValidationResult], audit: AuditReport | None = None
) -> Iterator[Notice]:
    """Find limits to the validity of the results: leakage, skipped files, findings of an audit.

    Parameters
    ----------
    named : mapping of str to CrossValidationResult
        Runs by name.
    audit : AuditReport, optional
        Audit of the slices.

    Yields
    ------
    Notice
        Fatal findings and warnings of the audit first.
    """
    for finding in audit.findings if audit else ():
        if finding.severity != "note":
            yield Notice(finding.severity, finding.title, finding.detail)
    for name, result in named.items():
        where = f"{name}: " if len(named) > 1 else ""
        unit, share = result.unit, result.shared_groups()
        random = result.protocol.id == "paper"
        if share:
            yield Notice(
                "warning",
                f"{where}Slices of the same {unit} are in training and test",
                f"{_sentence(leakage_warning(unit, random=random))} This concerns "
                f"{100 * share:.0f} % of the test slices. A network can recognize the {unit} "
                "instead of the disease. Use covidct train --protocol grouped to keep all slices "
                f"of a {unit} in one part.",
            )
        elif random and not result.has_groups:
            yield Notice("note", f"{where}Patients are unknown", _sentence(leakage_warning(None)))
        n_skipped = len(result.spec.dataset.skipped)
        if n_skipped:
            yield Notice(
                "note",
                f"{where}{n_skipped:,} file{'s were' if n_skipped > 1 else ' was'} skipped",
                "The files and the reasons are listed under “Run details”.",
            )


def _sentence(text: str) -> str:
    return f"{capitalized(text)}."

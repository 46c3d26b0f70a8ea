"""What undermines the figures of runs, and so must be read before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..runs.result import CrossValidationResult

if TYPE_CHECKING:
    from ..audit import AuditReport

__all__ = ["Notice", "find_notices", "shared_groups"]


class Notice(NamedTuple):
    """What a reader must know before the figures: ``"fatal"``, ``"warning"`` or ``"note"``."""

    severity: str
    title: str
    detail: str


def shared_groups(result: CrossValidationResult) -> float | None:
    """Measure how many test slices have company of their own group in the training part.

    Parameters
    ----------
    result
        The run.

    Returns
    -------
    float or None
        Their share, over all folds; None where the group of a slice is unknown.
    """
    group = dict(zip(result.predictions["index"], result.predictions["group"], strict=True))
    trained = set().union(*(fold.train.tolist() for fold in result.folds))
    if not result.has_groups or not trained <= group.keys():
        return None
    shared = []
    for fold in result.folds:
        seen = {group[i] for i in fold.train}
        shared += [group[i] in seen for i in fold.test]
    return float(np.mean(shared))


def find_notices(
    named: Mapping[str, CrossValidationResult], audit: AuditReport | None = None
) -> Iterator[Notice]:
    """Collect what undermines the figures of runs.

    Parameters
    ----------
    named
        Name to run.
    audit
        Of the slices.

    Yields
    ------
    Notice
        Those of the audit first.
    """
    for finding in audit.findings if audit else ():
        if finding.severity != "note":
            yield Notice(finding.severity, finding.title, finding.detail)
    for name, result in named.items():
        where = f"{name}: " if len(named) > 1 else ""
        unit, share = result.unit, shared_groups(result)
        new = unit if result.has_patients else "patient"
        if share:
            yield Notice(
                "warning",
                f"{where}{unit.capitalize()}s stand on both sides of the split",
                f"For {100 * share:.0f} % of the test slices, slices of the same {unit} were in "
                f"training. A network can recognize the {unit} instead of the disease, so the "
                f"figures are too good for new {new}s. covidct train --protocol grouped keeps "
                f"each {unit} on one side.",
            )
        elif result.protocol == "paper" and not result.has_groups:
            yield Notice(
                "note",
                f"{where}It is unknown which slices are of one patient",
                "Slices were split at random. If patients have several, some stand on both sides "
                "of the split, and the figures are too good for new patients.",
            )
        left_out = len(result.run["dataset"]["skipped"])
        if left_out:
            yield Notice(
                "note",
                f"{where}{left_out:,} file{'s were' if left_out > 1 else ' was'} left out",
                "They are listed, with the reasons, under “What was run”.",
            )

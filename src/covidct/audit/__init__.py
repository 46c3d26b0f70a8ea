"""Audit of a dataset and its splits before training.

`audit_dataset` searches for duplicates, image properties that predict the class, leakage of a
random split, and contradictions between labels, patients and the official split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from . import duplicates, leakage, measurements, shortcuts, sources
    from .duplicates import near_duplicate_groups
    from .findings import RULES, AuditReport, Finding, Rule, Severity
    from .pipeline import audit_dataset
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "duplicates": ("near_duplicate_groups",),
            "findings": ("RULES", "AuditReport", "Finding", "Rule", "Severity"),
            "pipeline": ("audit_dataset",),
        },
        submodules=("duplicates", "leakage", "measurements", "shortcuts", "sources"),
    )

__all__ = [
    "RULES",
    "AuditReport",
    "Finding",
    "Rule",
    "Severity",
    "audit_dataset",
    "duplicates",
    "leakage",
    "measurements",
    "near_duplicate_groups",
    "shortcuts",
    "sources",
]

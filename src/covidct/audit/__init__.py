"""Audit of a dataset and its splits before training.

`audit_dataset` looks for duplicates, for image properties that give the class away, for leakage of
a random split, and for contradictions between labels, patients and the official split.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .duplicates import near_duplicate_groups
    from .findings import RULES, AuditReport, Finding, Rule
    from .pipeline import audit_dataset

# Public name -> the module that defines it.
_HOME = {
    "RULES": "findings",
    "AuditReport": "findings",
    "Finding": "findings",
    "Rule": "findings",
    "audit_dataset": "pipeline",
    "near_duplicate_groups": "duplicates",
}

__all__ = ["RULES", "AuditReport", "Finding", "Rule", "audit_dataset", "near_duplicate_groups"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

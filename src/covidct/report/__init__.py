"""Reports of finished runs: one self-contained HTML page, and tables for documentation.

The public names are imported on first use, so that importing the package never loads PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from .checklist import checklist_tables, write_checklist
    from .commands import command_line, replacement_note
    from .page import render, write_report
    from .sweep_tables import write_sweep_tables
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "checklist": ("checklist_tables", "write_checklist"),
            "commands": ("command_line", "replacement_note"),
            "page": ("render", "write_report"),
            "sweep_tables": ("write_sweep_tables",),
        },
    )

__all__ = [
    "checklist_tables",
    "command_line",
    "render",
    "replacement_note",
    "write_checklist",
    "write_report",
    "write_sweep_tables",
]

"""Results on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["emit", "emit_json"]


def emit(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(text + "\n")


def emit_json(value: Any) -> None:
    """Write a result for another program to standard output."""
    emit(json.dumps(value, indent=2, allow_nan=False))

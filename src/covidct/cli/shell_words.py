"""Translation of messages of the Python interface for the command line."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..audit import AuditReport

__all__ = ["audit_in_shell_words", "in_shell_words"]

# Flags that differ from the names of the arguments.
_FLAGS = {"cv": "--folds", "compile_model": "--compile"}

# Advice that is worded differently on the command line.
_ADVICE = {
    "join datasets with covidct.concat": "name several datasets after --dataset",
}

_GROUPED = ("patient", "near-duplicate", "patient+near-duplicate")  # covidct train: --protocol


def in_shell_words(message: str, args: argparse.Namespace) -> str:
    """Replace arguments of the Python interface in a message by options of the verb.

    Examples
    --------
    >>> from argparse import Namespace
    >>> from covidct.cli.shell_words import in_shell_words
    >>> args = Namespace(weights="imagenet", n_jobs=0)
    >>> in_shell_words("train from random weights with weights=None", args)
    'train from random weights with --weights none'
    >>> in_shell_words("n_jobs must be 1 or more, got 0", args)
    '--n-jobs must be 1 or more, got 0'
    """
    flags = {name: f"--{name.replace('_', '-')}" for name in vars(args)}
    flags |= {name: flag for name, flag in _FLAGS.items() if flag in flags.values()}

    def with_value(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"].strip("\"'")
        if name == "groups" and value in _GROUPED and "protocol" in flags:
            return "--protocol grouped"
        if name == "cv" and value in ("official", "source") and "protocol" in flags:
            return f"--protocol {value}"
        if name == "cv" and value.isdigit() and "protocol" in flags:
            return f"--protocol paper --folds {value}"
        if name not in flags:
            return match[0]
        return flags[name] + {"True": "", "None": " none"}.get(value, f" {value}")

    def about(match: re.Match[str]) -> str:
        if match["name"] not in flags:
            return match[0]
        values = re.sub(r"\b(None|True|False)\b", lambda value: value[0].lower(), match["rest"])
        return f"{flags[match['name']]}{values}"

    for words, advice in _ADVICE.items():
        message = message.replace(words, advice)
    value = r"(?P<value>None|True|[A-Z]+\b|\d+\b|'[^']*'|\"[^\"]*\")"
    message = re.sub(rf"\b(?P<name>[a-z_]+)={value}", with_value, message)
    return re.sub(r"^(?P<name>[a-z_]+)(?P<rest> must [^;]*)", about, message)


def audit_in_shell_words(report: AuditReport, args: argparse.Namespace) -> str:
    """Return the text of an audit, with advice about the options of covidct train."""
    return in_shell_words(str(report), argparse.Namespace(**vars(args), protocol=None))

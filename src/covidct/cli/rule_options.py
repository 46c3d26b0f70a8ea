"""Options of the decision rule: calibration, threshold and prevalence."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .wrong_call import WrongCallError

__all__ = ["add_rule", "read_rule"]

# Ranges of the options of a decision rule: text and check.
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "sensitivity": ("(0, 1]", lambda value: 0 < value <= 1),
    "specificity": ("(0, 1]", lambda value: 0 < value <= 1),
    "threshold": ("[0, 1]", lambda value: 0 <= value <= 1),
    "prevalence": ("(0, 1)", lambda value: 0 < value < 1),
}


def add_rule(parser: argparse.ArgumentParser) -> None:
    """Add the options of calibration and threshold; the default of each is None."""
    options = parser.add_argument_group("decision rule")
    target = options.add_mutually_exclusive_group()
    for name in ("sensitivity", "specificity"):
        target.add_argument(f"--{name}", type=float, metavar="S", help=f"target {name}, in (0, 1]")
    target.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="threshold of the probability, calibrated if --calibrate is given, in [0, 1]",
    )
    options.add_argument(
        "--calibrate",
        choices=("temperature", "platt"),
        help="calibrate probabilities by a factor of the logit, or by a factor and a constant",
    )
    options.add_argument(
        "--prevalence",
        type=float,
        metavar="P",
        help="share of COVID-19 where the result is used, in (0, 1)",
    )


def read_rule(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_rule` by name; None if an option is not given."""
    for name, (interval, contains) in _RANGES.items():
        value = getattr(args, name)
        if value is not None and not contains(value):
            raise WrongCallError(f"--{name} must lie in {interval}, got {value}")
    return {name: getattr(args, name) for name in (*_RANGES, "calibrate")}

"""What several options are checked for."""

from __future__ import annotations

from numbers import Integral, Real

__all__ = ["number", "whole"]


def number(option: str, value: object) -> float:
    """Take a number of whatever library, and give Python's, which JSON knows.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct._checks import number
    >>> number("noise", np.float32(0.5))
    0.5
    >>> number("noise", "much")
    Traceback (most recent call last):
    ValueError: noise must be a number, got 'much'
    """
    if not isinstance(value, Real):
        raise ValueError(f"{option} must be a number, got {value!r}")
    return float(value)


def whole(option: str, value: object, *, least: int = 1) -> int:
    """Take an integer of at least ``least``, as :func:`number` does.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct._checks import whole
    >>> whole("epochs", np.int64(3))
    3
    >>> whole("epochs", 0)
    Traceback (most recent call last):
    ValueError: epochs must be an integer of at least 1, got 0
    """
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{option} must be an integer of at least {least}, got {value!r}")
    return int(value)

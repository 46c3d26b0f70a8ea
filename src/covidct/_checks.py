"""Validation of numeric options."""

from __future__ import annotations

from numbers import Integral, Real

__all__ = ["number", "whole"]


def number(option: str, value: object) -> float:
    """Return a real number of any library as a Python float, which JSON can represent.

    Parameters
    ----------
    option : str
        Name of the option, for the error message.
    value : object
        Value of the option.

    Raises
    ------
    ValueError
        If ``value`` is not a real number.

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
    """Return an integer of any library as a Python int.

    Parameters
    ----------
    option : str
        Name of the option, for the error message.
    value : object
        Value of the option.
    least : int, default=1
        Smallest valid value.

    Raises
    ------
    ValueError
        If ``value`` is not an integer or is smaller than ``least``.

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

"""Results that cannot always be computed, with the reason if they cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .errors import InvalidFileError

__all__ = ["value_or_reason"]

Value = TypeVar("Value")


def value_or_reason(compute: Callable[[], Value]) -> Value | str:
    """Return a result, or the message of the ValueError that its computation raises.

    An InvalidFileError, although it is a ValueError, is raised: it means that a file is damaged.

    Examples
    --------
    >>> from covidct._reasons import value_or_reason
    >>> value_or_reason(lambda: int("4")), value_or_reason(lambda: int("four"))
    (4, "invalid literal for int() with base 10: 'four'")
    """
    try:
        return compute()
    except InvalidFileError:
        raise
    except ValueError as error:
        return str(error)

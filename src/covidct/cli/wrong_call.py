"""Errors for calls with contradictory options or invalid values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["WrongCallError", "checked_call"]


class WrongCallError(ValueError):
    """The arguments of the command line contradict each other, or one has an invalid value."""


@contextmanager
def checked_call() -> Iterator[None]:
    """Raise a ValueError in the body as a WrongCallError."""
    try:
        yield
    except ValueError as error:
        raise WrongCallError(str(error)) from error

"""File names in a form that can be printed."""

from __future__ import annotations

__all__ = ["printable", "shortened"]


def printable(name: str) -> str:
    r"""Escape the bytes of a file name that are not valid UTF-8 and cannot be encoded.

    Examples
    --------
    >>> import os
    >>> from covidct._text import printable
    >>> print(printable(os.fsdecode(b"slice\xff.png")))
    slice\xff.png
    """
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def shortened(name: str, length: int) -> str:
    """Shorten a long name to ``length`` characters by replacing its middle with an ellipsis.

    Examples
    --------
    >>> from covidct._text import shortened
    >>> shortened("a-slice-of-a-long-series.png", 12)
    'a-slic…s.png'
    """
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}…{name[-half + 1 :]}"

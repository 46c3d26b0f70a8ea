"""Names of files, fit for people to read."""

from __future__ import annotations

__all__ = ["printable", "shortened"]


def printable(name: str) -> str:
    r"""Write out the bytes of a name that are no UTF-8, which no text file could hold.

    Examples
    --------
    >>> import os
    >>> from covidct._text import printable
    >>> print(printable(os.fsdecode(b"slice\xff.png")))
    slice\xff.png
    """
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def shortened(name: str, length: int) -> str:
    """Cut the middle out of a long name: its ends tell files apart best.

    Examples
    --------
    >>> from covidct._text import shortened
    >>> shortened("a-slice-of-a-long-series.png", 12)
    'a-slic…s.png'
    """
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}…{name[-half + 1 :]}"

"""Formatting of file names, sizes, counts and sentences for messages."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice

__all__ = ["capitalized", "counted", "in_bytes", "printable", "shortened", "some"]


def capitalized(text: str) -> str:
    """Capitalize the first letter of a text and leave the other letters, as in "COVID", unchanged.

    Examples
    --------
    >>> from covidct._text import capitalized
    >>> capitalized("slices of COVID-19 patients")
    'Slices of COVID-19 patients'
    """
    return text[:1].upper() + text[1:]


def counted(number: int, noun: str) -> str:
    """Format a number with its noun, whose plural ends in "s".

    Examples
    --------
    >>> from covidct._text import counted
    >>> counted(1, "slice"), counted(2_000, "slice")
    ('1 slice', '2,000 slices')
    """
    return f"{number:,} {noun}{'' if number == 1 or noun.endswith('s') else 's'}"


def in_bytes(number: int) -> str:
    """Format a number of bytes in megabytes or gigabytes.

    Examples
    --------
    >>> from covidct._text import in_bytes
    >>> in_bytes(7_000_000), in_bytes(30_700_000_000)
    ('7.0 MB', '30.7 GB')
    """
    return f"{number / 1e6:.1f} MB" if number < 1e9 else f"{number / 1e9:.1f} GB"


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


def some(names: Iterable[str], *, limit: int = 3) -> str:
    """Quote the first few names for a message.

    Examples
    --------
    >>> from covidct._text import some
    >>> some(["a", "b", "c", "d"])
    "'a', 'b', 'c', ..."
    """
    names = iter(names)
    first = list(islice(names, limit))
    more = ["..."] if next(names, None) is not None else []
    return ", ".join(chain(map(repr, first), more))

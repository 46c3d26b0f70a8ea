"""Work on many files at once: reading and decoding release the interpreter's lock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Value = TypeVar("Value")

# As many tasks wait at most: a pool takes in all that it is given, a kilobyte or two for each.
_BLOCK = 4096


def map_in_threads(
    function: Callable[[Item], Value], items: Sequence[Item], *, description: str
) -> list[Value]:
    """Call ``function`` on every item in threads, with progress; results keep the items' order."""
    pool = ThreadPoolExecutor()
    try:
        with tqdm(total=len(items), desc=description, disable=None, leave=False) as bar:
            values: list[Value] = []
            for start in range(0, len(items), _BLOCK):
                for value in pool.map(function, items[start : start + _BLOCK]):
                    values.append(value)
                    bar.update()
            return values
    finally:
        # The first failure, or a Ctrl-C, ends the work: what still waits is not begun.
        pool.shutdown(cancel_futures=True)


def sha256_of_file(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def some(names: Iterable[str], *, limit: int = 3) -> str:
    """Quote the first few names for a message: ``'a', 'b', 'c', ...``."""
    names = iter(names)
    first = list(islice(names, limit))
    more = ["..."] if next(names, None) is not None else []
    return ", ".join(chain(map(repr, first), more))

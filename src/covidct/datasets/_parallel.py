"""Threads for work on many files; reading and decoding release the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from joblib import cpu_count
from tqdm import tqdm

Item = TypeVar("Item")
Value = TypeVar("Value")

# Largest number of results that wait in memory; each may contain a slice.
_AHEAD = 128


def each_in_threads(
    function: Callable[[Item], Value], items: Iterable[Item]
) -> Generator[Value, None, None]:
    """Call `function` on every item in threads; yield the results in the order of the items.

    A limited number of results wait in memory.
    """
    # Python's default number of threads for the cores that this process may use: joblib's cpu_count
    # respects affinity and the limits of containers.
    pool = ThreadPoolExecutor(min(32, cpu_count() + 4))
    waiting: deque[Future[Value]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # After the first failure, or Ctrl-C, waiting items are not started.
        pool.shutdown(cancel_futures=True)


def map_in_threads(
    function: Callable[[Item], Value], items: Sequence[Item], *, description: str
) -> list[Value]:
    """Call `function` on every item in threads, with a progress bar; keep the items' order."""
    results = each_in_threads(function, items)
    with closing(results):
        return list(tqdm(results, description, len(items), disable=None, leave=False))

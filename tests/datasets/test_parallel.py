from __future__ import annotations

import threading
import time
from itertools import count

import pytest

from covidct.datasets import _parallel
from covidct.datasets._parallel import each_in_threads, map_in_threads


def test_results_keep_the_order_of_the_items():
    def slow_at_first(item: int) -> int:
        time.sleep(0.01 if item == 0 else 0)
        return 2 * item

    assert map_in_threads(slow_at_first, range(300), description="") == list(range(0, 600, 2))


def test_a_slow_reader_finds_only_a_few_results_waiting():
    taken = []
    results = each_in_threads(lambda item: item, (taken.append(i) or i for i in count()))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    time.sleep(0.05)  # whatever is to be begun was begun
    assert len(taken) <= 3 + _parallel._AHEAD
    results.close()


def test_the_first_failure_ends_the_work():
    begun, before = [], set(threading.enumerate())

    def fail_at_three(item: int) -> int:
        begun.append(item)
        return 1 // (item - 3)

    with pytest.raises(ZeroDivisionError):
        map_in_threads(fail_at_three, range(10_000), description="")
    assert len(begun) <= 4 + _parallel._AHEAD
    assert set(threading.enumerate()) <= before

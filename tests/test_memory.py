from __future__ import annotations

import platform
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest

from covidct._memory import keep_freed_memory

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="malloc's options are those of glibc"
)

MEGABYTES = 32
PAGES = MEGABYTES * 2**20 // resource.getpagesize()


def pages_mapped_by_a_step() -> int:
    """Return how many pages the kernel hands out for a block as large as those freed before."""
    before = 0
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(MEGABYTES * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_step_finds_the_memory_of_the_last_one():
    assert pages_mapped_by_a_step() > PAGES / 2
    with keep_freed_memory():
        assert pages_mapped_by_a_step() < PAGES / 10
    assert pages_mapped_by_a_step() > PAGES / 2


def test_the_outermost_loop_decides():
    with keep_freed_memory():
        with keep_freed_memory():
            pass
        assert pages_mapped_by_a_step() < PAGES / 10
    with keep_freed_memory(), ThreadPoolExecutor(1) as pool:

        def fail() -> None:
            with keep_freed_memory():
                raise KeyError

        with pytest.raises(KeyError):
            pool.submit(fail).result()
        assert pages_mapped_by_a_step() < PAGES / 10


def test_memory_goes_back_to_the_system():
    with open("/proc/self/statm") as file, keep_freed_memory():  # noqa: PTH123
        bytearray(MEGABYTES * 2**20)
        held = int(file.readline().split()[1])
    with open("/proc/self/statm") as file:  # noqa: PTH123
        assert int(file.readline().split()[1]) < held - PAGES / 2

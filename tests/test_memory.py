from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="malloc's options are those of glibc"
)

PAGES = 8192  # of 4 kB, in a block of 32 MB
# In an interpreter of its own, whose heap has no holes that could hold a block.
PRELUDE = """
import resource
from concurrent.futures import ThreadPoolExecutor
from covidct._memory import keep_freed_memory

def pages_mapped_by_a_step():
    # How many pages the kernel hands out for a block as large as those freed before.
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(2**25)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def pages_held():
    with open("/proc/self/statm") as file:
        return int(file.readline().split()[1])
"""


def numbers(code: str, **environment: str) -> list[int]:
    run = [sys.executable, "-c", PRELUDE + code]
    # Dask leaves options of malloc behind for the workers that it starts.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    output = subprocess.check_output(run, text=True, env=inherited | environment)
    return [int(n) for n in output.split()]


def test_a_step_finds_the_memory_of_the_last_one():
    outside, inside, afterwards = numbers("""
print(pages_mapped_by_a_step())
with keep_freed_memory():
    print(pages_mapped_by_a_step())
print(pages_mapped_by_a_step())
""")
    assert min(outside, afterwards) > PAGES / 2
    assert inside < PAGES / 10


def test_the_last_loop_to_end_decides():
    nested, after_a_failure = numbers("""
with keep_freed_memory():
    with keep_freed_memory():
        pass
    print(pages_mapped_by_a_step())

def fail():
    with keep_freed_memory():
        raise KeyError

with keep_freed_memory(), ThreadPoolExecutor(1) as pool:
    assert isinstance(pool.submit(fail).exception(), KeyError)
    print(pages_mapped_by_a_step())
""")
    assert max(nested, after_a_failure) < PAGES / 10


def test_memory_goes_back_to_the_system():
    inside, afterwards = numbers("""
with keep_freed_memory():
    bytearray(2**25)
    print(pages_held())
print(pages_held())
""")
    assert afterwards < inside - PAGES / 2


@pytest.mark.parametrize(
    "environment",
    [
        {"COVIDCT_KEEP_MEMORY": "0"},
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2:glibc.malloc.mmap_max=1000"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_options_of_the_process_are_respected(environment: dict[str, str]):
    (inside,) = numbers(
        "with keep_freed_memory():\n    print(pages_mapped_by_a_step())", **environment
    )
    assert inside > PAGES / 2


def test_unrelated_options_change_nothing():
    (inside,) = numbers(
        "with keep_freed_memory():\n    print(pages_mapped_by_a_step())", MALLOC_ARENA_MAX="2"
    )
    assert inside < PAGES / 10

"""How a worker's process keeps its memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

TOUCHED = """
import resource, sys
from streams.heap import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        answers = [b"x" * (3 << 20) for _ in range(8)]
        del answers
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

stock = faults()
keep_memory()
faults()
print(stock, faults())
"""

HOLES = """
from psutil import Process
from streams.heap import KEPT_BYTES, give_back, keep_memory

def resident():
    return Process().memory_info().rss

keep_memory()
large, small = [], []
for _ in range(256):
    large.append(b"x" * (1 << 20))
    small.append(b"y" * 1_000)
full = resident()
del large
kept = resident()
give_back()
print(full - kept, full - resident(), KEPT_BYTES)
"""

glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")


@glibc
def test_holes_in_the_heap_are_given_back():
    command = [sys.executable, "-c", HOLES]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    by_itself, given_back, kept = map(int, said.split())
    assert by_itself < 16 << 20
    assert given_back > (200 << 20) - kept


@glibc
def test_memory_that_was_freed_is_used_again_without_asking_the_system():
    command = [sys.executable, "-c", TOUCHED]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    stock, kept = map(int, said.split())
    assert stock > 10_000
    assert kept < stock / 20

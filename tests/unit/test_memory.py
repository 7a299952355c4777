"""What a checkpoint had for a moment goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

LEFT = """
import sys
import psutil
from streams.memory import return_big_blocks
if sys.argv[1] == "returns":
    return_big_blocks()
resident = psutil.Process().memory_info
del_me = bytearray(31 << 20)  # such a block, freed, raises glibc's own thresholds
del del_me
before = resident().rss
blocks, pins = [], []
for _ in range(12):
    blocks.append(bytearray(b"x") * (10 << 20))
    pins.append(bytearray(2_000))  # small ones in between, which live on
blocks.clear()
print((resident().rss - before) >> 20)
"""


def left_mib(how: str) -> int:
    """MiB that a process keeps of 120 that it had in big blocks."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT, how], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_big_blocks_that_are_freed_go_back_to_the_system():
    assert left_mib("returns") < 12
    assert left_mib("keeps") > 24

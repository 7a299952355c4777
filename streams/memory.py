"""How the worker's process treats its memory: the cycle collector, and what the C library keeps."""

from __future__ import annotations

import ctypes
import gc
import sys

BIG_BLOCK = 8 << 20
"""Bytes from which on a block is a mapping of its own, returned to the system when it is freed."""
KEPT_AT_END = 16 << 20
"""Bytes that may be free at the end of the heap before they are returned."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def calm_collector() -> None:
    """Lets the cycle collector look less often: rows hold no cycles, and there are very many.

    At Python's own thresholds it takes a fifth of the worker's time. What is there now (modules,
    types) is not looked at any more.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def return_big_blocks() -> bool:
    """Lets the C library return what a checkpoint or a fetch had; whether it can be told so.

    glibc raises both thresholds by itself, up to 32 MiB and twice that, as soon as such a block is
    freed: from then on the pieces of a checkpoint come from the heap, and stay with the process.
    Setting one of them ends that.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, BIG_BLOCK) and mallopt(_M_TRIM_THRESHOLD, KEPT_AT_END))

"""How a worker's process keeps its memory; to be called before NumPy is there.

OpenBLAS starts a thread for each further core when NumPy is imported. Such a thread has a heap of
its own by then, glibc gives it to other threads, too, and what is freed in one heap is of no use
to the other: 60 MB more in some runs, in others none.
"""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Source: glibc, malloc.h."""
MAPPED_FROM_BYTES = 32 << 20
"""The greatest there is: what is larger is mapped by itself."""
KEPT_BYTES = 64 << 20
GIVE_BACK_S = 15.0
"""How often a worker gives back what it does not need."""


def keep_memory() -> None:
    """Has glibc keep what is freed for what comes next, up to `KEPT_BYTES` at the end of the heap.

    Batches and answers of megabytes come and go. By itself glibc gives each back to the system at
    once and asks for it again, and the first touch of a page costs many times what copying it does.
    All threads share one heap: what one of them freed, another takes. Elsewhere than on glibc
    nothing of that is changed. OpenBLAS gets no threads: the matrices of a detector are small.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Has glibc give the system what a peak has left free, but for `KEPT_BYTES` at the end.

    A heap with holes never shrinks by itself: the worker would stay as large as it was at the worst
    moment of its life. Takes some milliseconds; what is needed again is touched again.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(KEPT_BYTES))

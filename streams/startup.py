"""What a worker's process does before its first record."""

from __future__ import annotations

import ctypes
import gc
import logging
import time

from driftline.errors import BrokerUnreachable
from streams.config import WorkerSettings
from streams.kafka.provision import apply
from streams.telemetry.health import HealthServer
from streams.topics import Topics

log = logging.getLogger(__name__)

BROKER_WAIT_S = 600.0

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Source: glibc, malloc.h."""
MAPPED_FROM_BYTES = 32 << 20
"""The greatest there is: what is larger is mapped by itself."""
KEPT_BYTES = 64 << 20


def calm_collector() -> None:
    """Lets the cycle collector look less often: rows hold no cycles, and there are very many.

    At Python's own thresholds it takes a fifth of the worker's time. What is there now (modules,
    types) is not looked at any more.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def keep_memory() -> None:
    """Has glibc keep what is freed for what comes next, up to `KEPT_BYTES` at the end of each heap.

    Batches and answers of megabytes come and go. By itself glibc gives each back to the system at
    once and asks for it again, and the first touch of a page costs many times what copying it does.
    All threads share one heap: what one of them freed, another takes. Elsewhere than on glibc
    nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_ARENA_MAX, 1)


def wait_for_broker(settings: WorkerSettings, topics: Topics, health: HealthServer) -> None:
    """Returns once the broker answers and the topics are there; it creates those that are missing.

    Raises:
        BrokerUnreachable: it did not answer for ten minutes.
    """
    deadline = time.monotonic() + BROKER_WAIT_S
    pause = 0.5
    while True:
        health.beat()
        try:
            for change in apply(
                ",".join(settings.bootstrap_servers),
                topics,
                create_time=settings.clock == "records",
                timeout=10.0,
            ):
                log.info("topics: %s", change)
        except BrokerUnreachable as error:
            if time.monotonic() > deadline:
                raise
            health.set_ready(False, str(error))
            log.warning("waiting for the broker: %s", error)
            time.sleep(pause)
            pause = min(2 * pause, 10.0)
        else:
            return

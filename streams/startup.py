"""What a worker's process does before its first record."""

from __future__ import annotations

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


def calm_collector() -> None:
    """Lets the cycle collector look less often: rows hold no cycles, and there are very many.

    At Python's own thresholds it takes a fifth of the worker's time. What is there now (modules,
    types) is not looked at any more.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


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

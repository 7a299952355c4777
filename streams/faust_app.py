"""The Faust app that drives the stages: its settings, its producer, and how its process stops."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Awaitable
from dataclasses import dataclass
from signal import Signals
from typing import Any

import faust

from streams.config import WorkerSettings
from streams.kafka import raw_fetch, transport, trial
from streams.kafka.batches import MAX_POLL_RECORDS
from streams.session import Headers
from streams.stages import Stages

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 16 << 20

STOP_LIMIT_S = 9.5
"""How long a clean stop may take: supervisors that send SIGKILL wait 10 s or longer."""


@dataclass(slots=True)
class ProducerOutbox:
    """Faust's producer as the stages' outbox."""

    app: Any

    async def send(
        self,
        topic: str,
        partition: int | None,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
    ) -> Awaitable[Any]:
        """The library's own future: it ends with the broker's ack, or raises."""
        future: Awaitable[Any] = await self.app.producer.send(
            topic, key, value, partition, None, list(headers)
        )
        return future


class FaustWorker(faust.Worker):
    """Stops at the first signal; a second one, or a stop that hangs, ends the process at once.

    What is not in a checkpoint then is read again, as after a kill -9.
    """

    def _schedule_shutdown(self, signal: Signals) -> None:
        if self._signal_stop_time:
            log.critical("a second signal: ending at once")
            os._exit(128 + signal)
        deadline = threading.Timer(STOP_LIMIT_S, _end_anyway)
        deadline.daemon = True
        deadline.start()
        super()._schedule_shutdown(signal)


class App(faust.App):
    """Makes no folders: there is no Faust table, and nothing is left where a worker was started."""

    def _create_directories(self) -> None:
        """Faust would make `<group>-data` with folders for its tables in the current directory."""


def _end_anyway() -> None:
    log.critical("could not stop within %.0f s: ending at once", STOP_LIMIT_S)
    os._exit(1)


def faust_app(settings: WorkerSettings, stages: Stages) -> Any:  # Any: untyped
    """The app, with the stages as those whose sessions its consumer opens."""
    transport.register()
    app = App(
        settings.group,
        broker=[f"{transport.ALIAS}://{server}" for server in settings.bootstrap_servers],
        store="memory://",  # no Faust table anywhere: state lives in our own checkpoints
        broker_max_poll_records=MAX_POLL_RECORDS,
        consumer_max_fetch_size=2 << 20,
        consumer_auto_offset_reset="earliest",
        # A broker that has just begun may not name all topics yet; what a rebalance then left out
        # is found, and assigned, after this long.
        consumer_metadata_max_age_ms=5_000,
        broker_commit_interval=1.0,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_interval_s,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_request_timeout=max(90.0, settings.session_timeout_s + 10),
        producer_linger=0.0,
        producer_max_batch_size=1 << 20,
        producer_max_request_size=MAX_REQUEST_BYTES,
        producer_request_timeout=settings.request_timeout_s,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.stages = stages
    app.raw_records = settings.raw_records and raw_fetch.works()
    app.direct = settings.raw_records and trial.works()
    return app

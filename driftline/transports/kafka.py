"""Messages to Kafka, over confluent-kafka (librdkafka)."""

from __future__ import annotations

import ctypes
import logging
import os
import time
import weakref
from collections.abc import Mapping
from typing import Any, Final

from driftline.transports.base import Message

log = logging.getLogger(__name__)

DEFAULTS: Final[Mapping[str, Any]] = {
    "client.id": "driftline-client",
    "acks": "all",
    # Retries may double a message; the join drops doubles by id. In return no error of the
    # idempotent producer can end it, and it needs nothing of the broker.
    "enable.idempotence": False,
    "compression.type": "lz4",  # the one good codec that every build of librdkafka has
    "linger.ms": 20,  # the client has already waited to fill its batches
    "message.max.bytes": 1 << 20,
    "message.timeout.ms": 120_000,
    "queue.buffering.max.kbytes": 65_536,
    "queue.buffering.max.messages": 100_000,
    "reconnect.backoff.max.ms": 3_000,
    "log_level": 2,  # refused connections come by error_cb; librdkafka would print each attempt
}

_ERROR_LOG_PERIOD_S = 60.0
_PURGE_SHARE = 0.2  # of a closing's time, to hear that what was given up has been given up

_alive: weakref.WeakSet[KafkaTransport] = weakref.WeakSet()


class KafkaTransport:
    """Sends to a Kafka cluster; one producer per process.

    Args:
        bootstrap: `host:port`, several separated by commas.
        config: librdkafka's settings (for TLS, SASL, ...) on top of `DEFAULTS`.

    Raises:
        ImportError: confluent-kafka is not installed.
        ValueError: librdkafka does not accept the settings.
    """

    def __init__(self, bootstrap: str, config: Mapping[str, Any] | None = None) -> None:
        self._config = {
            **DEFAULTS,
            "bootstrap.servers": bootstrap.removeprefix("kafka://"),
            "error_cb": self._on_error,
            **(config or {}),
        }
        self._last_error = ""
        self._next_error_log = 0.0
        self._producer: Any = self._connect()
        _alive.add(self)

    def _connect(self) -> Any:
        try:
            from confluent_kafka import KafkaException, Producer  # noqa: PLC0415  only if needed
        except ImportError as error:
            raise ImportError(
                "Driftline's client needs confluent-kafka to reach Kafka:"
                " pip install driftline[client]"
            ) from error
        try:
            return Producer(self._config)
        except KafkaException as error:
            raise ValueError(f"Kafka settings: {error.args[0].str()}") from error

    def send(self, message: Message) -> None:
        """Hands the message to librdkafka's queue. Raises: BufferError when that is full."""
        if self._producer is None:  # a forked child
            self._producer = self._connect()
        self._producer.produce(
            message.topic,
            value=message.value,
            key=message.key,
            on_delivery=lambda error, _: message.done(self._reason(error)),
        )

    def poll(self, timeout_s: float) -> None:
        """Serves delivery reports and errors."""
        if self._producer is None:
            time.sleep(timeout_s)
        else:
            self._producer.poll(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Waits for what is under way, then purges it, so that every message has its report."""
        if self._producer is None:
            return
        if self._producer.flush(timeout_s * (1 - _PURGE_SHARE)):
            self._producer.purge()
            self._producer.flush(timeout_s * _PURGE_SHARE)

    def _reason(self, error: Any) -> str | None:
        if error is None:
            self._last_error = ""
            return None
        text = str(error.str())
        return f"{text} ({self._last_error})" if self._last_error else text

    def _on_error(self, error: Any) -> None:
        """Tells people; librdkafka goes on by itself after all of these."""
        self._last_error = str(error.str())
        now = time.monotonic()
        if now >= self._next_error_log:
            self._next_error_log = now + _ERROR_LOG_PERIOD_S
            log.warning("Kafka (predictions wait in memory): %s", self._last_error)

    def abandon(self) -> None:
        """In a forked child: lets go of the parent's producer, whose threads do not exist here."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # Freeing it would wait for those threads for ever; so it must never be freed.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))


def _abandon_all() -> None:
    for transport in _alive:
        transport.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)

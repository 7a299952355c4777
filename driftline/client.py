"""The client for serving code: logs predictions and labels, and stays out of the way.

    from driftline import Client

    client = Client("localhost:9092")
    pid = client.log_prediction(model="fraud", version="7", features=x, prediction=y, scores=p)
    client.log_label(pid, "fraud", model="fraud")

Once built, a client never waits and never raises into the code that serves: what cannot be sent is
counted by reason in `stats()`, told to the worker with the next message, and logged at most once a
minute per reason (logger `driftline.client`).
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, TypeAlias

from driftline.blocks import ROW_BYTES, Block, LabelRow, PredictionRow, row_bytes
from driftline.ids import uuid7
from driftline.outbox import Outbox
from driftline.rules import MAX_ROWS, name
from driftline.sender import why
from driftline.tables import Table, label_block, prediction_block, row_count, size_bytes
from driftline.tally import Stats
from driftline.transports.base import Transport
from driftline.values import as_id, is_missing

__all__ = ["Client", "Stats"]

Features: TypeAlias = Mapping[Any, Any]

MIB: Final = 1 << 20


class Client:
    """Logs predictions and labels to Driftline.

    Args:
        bootstrap: Kafka's `host:port`; needs `pip install driftline[client]`.
        transport: instead of Kafka; `MemoryTransport` in your tests.
        topic_prefix: put before both topics' whole names, as a worker's setting of this name is:
            `eu.` makes `eu.driftline.predictions` and `eu.driftline.labels`.
        kafka: librdkafka's settings, for TLS, SASL and the like.
        max_queue_rows: rows that wait in this process at most; the next are dropped and counted.
        max_queue_bytes: likewise in bytes, about.
        flush_interval_ms: how long a row waits at most for others to share its message.
        exit_timeout_s: how long the end of the process may wait for what was not sent yet.

    Raises:
        ValueError: neither or both of bootstrap and transport, or settings Kafka does not know.
        ImportError: confluent-kafka is missing.

    A process that forks (gunicorn, Celery) may build its client before: each child sends for itself
    what it logs, and the parent what it has queued. A child that ends by `os._exit`, as those of
    multiprocessing do, must close its client. Threads may share one.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        transport: Transport | None = None,
        topic_prefix: str = "",
        kafka: Mapping[str, Any] | None = None,
        max_queue_rows: int = 100_000,
        max_queue_bytes: int = 64 * MIB,
        flush_interval_ms: float = 100.0,
        exit_timeout_s: float = 5.0,
    ) -> None:
        if (bootstrap is None) == (transport is None):
            raise ValueError(
                'give the client one way out: Client("host:9092") or Client(transport=...)'
            )
        if transport is None:
            from driftline.transports.kafka import KafkaTransport  # noqa: PLC0415  only if needed

            transport = KafkaTransport(str(bootstrap), kafka)
        self._topics = f"{topic_prefix}driftline.predictions", f"{topic_prefix}driftline.labels"
        self._outbox = Outbox(
            transport,
            self._topics,
            max_rows=max_queue_rows,
            max_bytes=max_queue_bytes,
            interval_s=flush_interval_ms / 1000,
            exit_timeout_s=exit_timeout_s,
        )
        # A client that is merely forgotten sends what it has, and its thread ends.
        weakref.finalize(self, self._outbox.end, exit_timeout_s).atexit = False

    def log_prediction(
        self,
        *,
        model: str,
        version: str,
        features: Features,
        prediction: Any,
        scores: Mapping[Any, Any] | float | None = None,
        segments: Features | None = None,
        attributions: Features | None = None,
        latency_ms: float | None = None,
        ts: Any = None,
        prediction_id: Any = None,
        trace_id: str | None = None,
    ) -> str:
        """Logs one prediction; its id comes back at once, for `log_label`.

        Args:
            model: name of the model.
            version: of the model, as text: "1.10", never 1.10.
            features: what the model saw, by name: numbers, text, booleans, None where missing.
            prediction: what it said: a class or a finite number.
            scores: class to probability, or the probability of the positive class.
            segments: attributes by which to slice, which the model itself may not use.
            attributions: feature to number (SHAP or the like).
            latency_ms: how long the model took.
            ts: event time as Unix milliseconds, RFC 3339 text or datetime (naive: UTC), by default
                now.
            prediction_id: your own id, 1 to 128 characters, by default a new UUIDv7.
            trace_id: of the request.
        """
        text = ""
        try:
            if prediction_id is None:
                text = prediction_id = uuid7()
            elif type(prediction_id) is str:
                text = prediction_id
            else:
                text, prediction_id = as_id(prediction_id)
            row = PredictionRow(
                _name(model, "model"),
                _name(version, "version"),
                prediction_id,
                _now_ms() if ts is None or is_missing(ts) else ts,
                features.copy() if type(features) is dict else dict(features),
                prediction,
                dict(scores) if isinstance(scores, Mapping) else scores,
                dict(segments) if segments else None,
                dict(attributions) if attributions else None,
                latency_ms,
                trace_id,
            )
            self._outbox.put(row, 1, row_bytes(row.features))
        except Exception as error:  # never into serving code, whatever it handed over
            self._lost(error, self._topics[0], (model, version), 1)
        return text

    def log_label(
        self,
        prediction_id: Any,
        label: Any,
        *,
        model: str | None = None,
        ts: Any = None,
        source: str | None = None,
    ) -> None:
        """Logs the truth about one prediction; a later one for the same id revises it.

        Args:
            prediction_id: as `log_prediction` returned it, or your own.
            label: the class or number that was right.
            model: by default the label goes to every model that has the id.
            ts: when the truth was known, as for `log_prediction`; by default now.
            source: where it comes from, for example "chargeback".
        """
        try:
            if type(prediction_id) is not str:
                _, prediction_id = as_id(prediction_id)
            row = LabelRow(
                prediction_id,
                label,
                None if model is None else _name(model, "model"),
                _now_ms() if ts is None or is_missing(ts) else ts,
                source,
            )
            self._outbox.put(row, 1, ROW_BYTES)
        except Exception as error:  # never into serving code, whatever it handed over
            self._lost(error, self._topics[1], (model, None), 1)

    def log_batch(
        self,
        *,
        model: str,
        version: str,
        frame: Any,
        prediction: Any,
        scores: Any = None,
        prediction_id: Any = None,
        ts: Any = None,
        features: Sequence[str] | None = None,
        segments: Any = None,
        attributions: Any = None,
        latency_ms: Any = None,
    ) -> list[str]:
        """Logs a table of predictions; their ids come back at once, in row order.

        A part is the name of one of the table's columns, or a sequence with a value per row.

        Args:
            model: name of the model.
            version: of the model, as text.
            frame: pandas or polars DataFrame, Arrow table or record batch, dict of columns, list of
                dicts, NumPy structured array, or a matrix whose column names are `features`.
            prediction: a part.
            scores: a part (probability of the positive class), or class to part.
            prediction_id: a part; new ids by default and where it is null.
            ts: a part, or one time for all; now by default and where it is null.
            features: the names of the columns that are features, by default all that are not named
                as another part.
            segments: a list of column names, or name to part.
            attributions: feature to part, or a table of its own.
            latency_ms: a part, or one number for all.
        """
        ids: list[str] = []
        try:
            head = _name(model, "model"), _name(version, "version")
            table = Table(frame, prediction, features)
            ids, wire_ids = table.ids(prediction_id)
            parts = {
                "prediction": prediction,
                "scores": scores,
                "ts": ts,
                "features": features,
                "segments": segments,
                "attributions": attributions,
                "latency_ms": latency_ms,
            }
            self._put(prediction_block(table, head, wire_ids, _now_ms(), parts))
        except Exception as error:  # never into serving code, whatever it handed over
            self._lost(error, self._topics[0], (model, version), len(ids) or row_count(frame))
        return ids

    def log_labels(
        self,
        *,
        prediction_id: Any,
        label: Any,
        frame: Any = None,
        model: str | None = None,
        ts: Any = None,
        source: Any = None,
    ) -> None:
        """Logs a table of labels. Parts are as in `log_batch`; without a frame, sequences.

        Args:
            prediction_id: a part.
            label: a part.
            frame: the table whose columns are named.
            model: of all of them; by default every model that has the id.
            ts: a part, or one time for all; now by default and where it is null.
            source: a part, or one text for all.
        """
        try:
            text = None if model is None else _name(model, "model")
            parts = prediction_id, label, ts, source
            self._put(label_block(frame, text, _now_ms(), parts))
        except Exception as error:  # never into serving code, whatever it handed over
            self._lost(error, self._topics[1], (model, None), row_count(frame, label))

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits up to `timeout` seconds; whether everything logged so far has been settled."""
        return self._outbox.flush(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Sends what is left within `timeout` seconds, and gives up the rest; True if all arrived.

        Whatever is logged after this is counted as dropped (`closed`).
        """
        return self._outbox.close(timeout)

    def stats(self) -> Stats:
        """The counters, in rows: what was logged, delivered, dropped and why."""
        return self._outbox.stats()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, block: Block) -> None:
        """In parts, so that what fits into the queue is taken."""
        for start in range(0, block.n, MAX_ROWS):
            part = block.part(start, start + MAX_ROWS)
            self._outbox.put(part, part.n, size_bytes(part))

    def _lost(self, error: Exception, topic: str, names: tuple[Any, Any], n: int) -> None:
        model, version = (name if isinstance(name, str) else None for name in names)
        self._outbox.drop((topic, model, version), *why(error), n)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _name(value: Any, field: str) -> str:
    """Only whether it is text; the rest is checked out of the way of serving code."""
    return value if type(value) is str else name(value, field)

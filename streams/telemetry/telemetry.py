"""What the stages tell Prometheus, and the registry that `/metrics` shows.

Two kinds of series. *Process* series (`streams.telemetry.series`) count what this process did since
it started; the methods here count. *State* series (`streams.telemetry.readings`) are read from the
subjects' checkpointed state: they survive a restart because the state does, and a row that is read
twice after a crash is counted once. The registry is this object's, never the library's global one,
so tests make as many as they like. docs/telemetry.md lists every series; a test keeps it true.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.metrics_core import Metric

from driftline.actions import Action
from driftline.alerts import Alert
from driftline.events import Decoded
from streams.telemetry.readings import STATE_SERIES, Point, Reading, families, points
from streams.telemetry.series import DROPPED, ProcessSeries, Series
from streams.telemetry.vitals import Tally, Trouble

__all__ = ["SERIES_CAP", "Reading", "Telemetry"]

SERIES_CAP = 20_000
"""State series per worker; what is beyond is dropped and counted."""

Key = tuple[str, str]
"""Model and version."""


@dataclass(slots=True)
class _Subject:
    """One published subject: its newest reading, what is shown, how much is not."""

    reading: Reading
    shown: list[Point]
    dropped: tuple[int, int]


class Telemetry:
    """The worker's numbers. Safe to use from the event loop while another thread scrapes.

    Args:
        sources: names of the public topics that ingest reads.
        destinations: names of the notification destinations.
        revision: commit that the worker was built from, where known.
        cap: most state series shown; see `publish`.
        monotonic: seconds, for durations.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        sources: Iterable[str] = (),
        destinations: Iterable[str] = (),
        revision: str = "",
        cap: int = SERIES_CAP,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self._made = ProcessSeries(self.registry, revision)
        self._made.start_at_zero(tuple(sources), tuple(destinations))
        self._troubles: set[tuple[str, str]] = set()
        self.tally = Tally()
        """What `self_watch` looks at; the series of Prometheus cannot be read back."""
        self._subjects: dict[Key, _Subject] = {}
        self._lock = threading.Lock()
        self._cap = cap
        self._monotonic = monotonic
        self._wall = wall
        self.registry.register(_StateCollector(self._state))

    @property
    def series(self) -> list[Series]:
        """Every `driftline_` series there is, as docs/telemetry.md lists them."""
        return sorted((*self._made.declared, *STATE_SERIES), key=lambda series: series.name)

    # -- ingest ---------------------------------------------------------------------------------

    def decoded(self, topic: str, decoded: Decoded) -> None:
        """One message of a public topic was read: its rows, and what was left out of them."""
        made = self._made
        rows = len(decoded.predictions) + len(decoded.labels)
        self.singles(rows + sum(columns.n for columns in decoded.columns), topic)
        if decoded.unknown_fields:
            made.unknown_fields.labels(topic).inc(decoded.unknown_fields)
        if decoded.dropped_features:
            made.dropped_features.labels(topic).inc(decoded.dropped_features)
        if decoded.client_dropped:
            made.client_dropped.inc(decoded.client_dropped)
        if decoded.invalid:
            made.client_invalid.inc(sum(decoded.invalid.values()))

    def singles(self, rows: int, topic: str = "") -> None:
        """So many rows of a public topic were read."""
        self.tally.add("rows", "ingest", topic, rows)
        self._made.rows_received.labels("ingest").inc(rows)

    def rejected(self, topic: str, reason: str) -> None:
        """One event, or one whole message, was refused and dead-lettered."""
        self.tally.add("rejected", "ingest", topic)
        self._made.events_rejected.labels(topic, str(reason)).inc()

    def tombstone(self, topic: str) -> None:
        """A message without a value was passed over."""
        self._made.tombstones.labels(topic).inc()

    # -- any stage ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def stage(self, stage: str, messages: int) -> Iterator[None]:
        """Around one step over a batch of so many messages."""
        self._made.messages_received.labels(stage).inc(messages)
        began = self._monotonic()
        try:
            yield
        finally:
            self._made.stage_duration.labels(stage).observe(self._monotonic() - began)

    def rows_received(self, stage: str, rows: int) -> None:
        """Rows that a stage took in; for ingest `decoded` says it."""
        self._made.rows_received.labels(stage).inc(rows)

    def rows_emitted(self, stage: str, rows: int) -> None:
        """Rows that a stage sent on."""
        self._made.rows_emitted.labels(stage).inc(rows)

    def lag(self, topic: str, partition: int, messages: int) -> None:
        """Messages of a partition that are not read yet."""
        self._made.lag.labels(topic, str(partition)).set(messages)

    def arrived(self, topic: str, partition: int, arrival_ms: int) -> None:
        """The arrival reached in a partition."""
        self._made.arrival.labels(topic, str(partition)).set(arrival_ms / 1000)

    def clock(self, stage: str, log: str, arrival_ms: int) -> None:
        """The arrival clock of a partition ("topic/partition"), below which all is stepped."""
        partition = log.rpartition("/")[2]
        self._made.clock.labels(stage, partition).set(arrival_ms / 1000)

    def pending_full(self, stage: str, entries: int, log: str) -> None:
        """Entries that join dropped before their horizon, its shard being full."""
        self.tally.add("pending_full", stage, log, entries)

    def troubles(self, firing: Iterable[tuple[str, str]]) -> None:
        """The pipeline alerts of this worker that fire now, as (stage, signal), and no others."""
        now = Counter(firing)
        for gone in self._troubles - now.keys():
            self._made.pipeline_alerts.labels(*gone).set(0)
        for stage_signal, n in now.items():
            self._made.pipeline_alerts.labels(*stage_signal).set(n)
        self._troubles = set(now)

    def gap(self, stage: str) -> None:
        """A message was dropped because its predecessor is missing."""
        self._made.gaps.labels(stage).inc()

    def hole(self, stage: str, offsets: int, log: str = "") -> None:
        """So many offsets that a log no longer holds."""
        self.tally.add("lost", stage, log, offsets)
        self._made.lost.labels(stage).inc(offsets)

    def forced(self, stage: str, rows: int, log: str = "") -> None:
        """Rows stepped before their order was certain, for want of memory."""
        self.tally.add("forced", stage, log, rows)
        self._made.forced.labels(stage).inc(rows)

    def restarted(self, stage: str, reason: str, log: str = "") -> None:
        """A partition starts again from its checkpoint; `reason` is one of a few words in code."""
        self.tally.add("restarts", stage, log)
        self._made.restarts.labels(stage, reason).inc()

    def rebalanced(self) -> None:
        """Partitions were taken away."""
        self._made.rebalances.inc()

    def config_mismatch(self, stage: str = "", log: str = "") -> None:
        """A manifest's configuration differs from this worker's."""
        self.tally.add("config_mismatch", stage, log)
        self._made.config_mismatches.inc()

    def audited(self, entries: int) -> None:
        """Entries of the audit trail are on the broker."""
        self._made.audited.inc(entries)

    def audit_failed(self) -> None:
        """The audit trail could not be written."""
        self.tally.add("audit", "audit")
        self._made.audit_failures.inc()

    def alert(self, alert: Alert) -> None:
        """An alert event was handed to the producer."""
        self._made.alerts.labels(str(alert.kind), str(alert.severity), str(alert.status)).inc()

    def action(self, action: Action) -> None:
        """A state of an action was handed to the producer."""
        self._made.actions.labels(action.action, action.status).inc()

    @contextlib.contextmanager
    def checkpoint(self, stage: str, partition: int, size: Callable[[], int]) -> Iterator[None]:
        """Around the writing of one checkpoint; if it fails, only its duration counts.

        `size`: of all of it, in bytes, known once it is written.
        """
        began = self._monotonic()
        try:
            yield
            self._made.checkpoint_bytes.labels(stage, str(partition)).set(size())
            self._made.checkpoint_timestamp.labels(stage, str(partition)).set(self._wall())
        finally:
            self._made.checkpoint_duration.labels(stage).observe(self._monotonic() - began)

    def forget_partition(self, stage: str, topic: str, partition: int) -> None:
        """Ends the series of a partition that went to another worker."""
        made = self._made
        ended = [(made.lag, topic), (made.arrival, topic)]
        ended += [(made.checkpoint_bytes, stage), (made.checkpoint_timestamp, stage)]
        ended += [(made.clock, stage)]
        for series, of in ended:
            with contextlib.suppress(KeyError):  # it never had one
                series.remove(of, str(partition))

    # -- notify ---------------------------------------------------------------------------------

    def notified(self, destination: str, result: str) -> None:
        """A try to notify ended; `result` is one of `streams.telemetry.series.RESULTS`."""
        if result != "retried":
            what: Trouble = "delivered" if result == "delivered" else "undelivered"
            self.tally.add(what, "notify", destination)
        self._made.notifications.labels(destination, result).inc()

    def delivered(self, destination: str, seconds: float) -> None:
        """A destination accepted an alert so long after it came to the notifier."""
        self.notified(destination, "delivered")
        self._made.notification_duration.labels(destination).observe(seconds)
        self._made.notifier_success.labels(destination).set(self._wall())

    def withheld(self, destination: str, reason: str) -> None:
        """An alert is not sent; `reason` is one of `streams.telemetry.series.WITHHELD`."""
        self._made.notifications_withheld.labels(destination, reason).inc()

    def waiting(self, destination: str, alerts: int, *, breaker_open: bool = False) -> None:
        """Alerts that a destination has not yet been offered, and whether it is left alone now."""
        self._made.notifier_queue.labels(destination).set(alerts)
        self._made.notifier_breaker.labels(destination).set(breaker_open)

    # -- state ----------------------------------------------------------------------------------

    def publish(self, subject: str, reading: Reading, kept: Reading | None = None) -> None:
        """Shows a subject's numbers from now on.

        Args:
            subject: `model@version`.
            reading: its numbers; must not change afterwards.
            kept: those that a checkpoint holds, whose counters are shown; None: all of them. A
                restart goes back to the checkpoint, and a counter that falls looks like a reset to
                Prometheus.

        When all subjects together have more series than the cap, this subject's series per signal
        go first, then all of it; `driftline_series_dropped_total` counts each series that goes.
        """
        self._show(_key(subject), reading, reading if kept is None else kept)

    def keep(self, subject: str, kept: Reading) -> None:
        """Shows a published subject's counters as a checkpoint now holds them."""
        former = self._subjects.get(_key(subject))
        if former is not None:
            self._show(_key(subject), former.reading, kept)

    def _show(self, key: Key, reading: Reading, kept: Reading) -> None:
        core, signals = points(reading, kept)
        with self._lock:
            former = self._subjects.pop(key, None)
            room = self._cap - sum(len(other.shown) for other in self._subjects.values())
            shown, dropped = core + signals, (0, 0)
            if len(core) > room:
                shown, dropped = [], (len(core), len(signals))
            elif len(shown) > room:
                shown, dropped = core, (0, len(signals))
            self._subjects[key] = _Subject(reading, shown, dropped)
        before = (0, 0) if former is None else former.dropped
        for part, now, then in zip(DROPPED, dropped, before, strict=True):
            self._made.series_dropped.labels(part).inc(max(0, now - then))

    def forget(self, subject: str) -> None:
        """Ends a subject's series: its partition went to another worker, or it is archived."""
        with self._lock:
            self._subjects.pop(_key(subject), None)

    def _state(self) -> list[tuple[Key, list[Point]]]:
        with self._lock:
            return [
                (key, held.shown)
                for key, held in sorted(self._subjects.items(), key=lambda item: item[0])
            ]


def _key(subject: str) -> Key:
    model, _, version = subject.partition("@")
    return model, version


class _StateCollector:
    """Prometheus' view of the published readings."""

    def __init__(self, subjects: Callable[[], list[tuple[Key, list[Point]]]]) -> None:
        self._subjects = subjects

    def collect(self) -> Iterator[Metric]:
        """All state series, at the moment of the scrape."""
        yield from families(self._subjects())

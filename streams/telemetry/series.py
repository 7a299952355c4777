"""The series that count what this process did, each declared once; `telemetry` counts on them."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from driftline.rules import Reason

STAGES = ("ingest", "commands", "join", "detect", "notify", "execute")
RESULTS = ("delivered", "retried", "refused", "exhausted")
"""What became of a try to notify: one that failed and will be repeated counts as `retried`."""
WITHHELD = (
    *("unmatched", "suppressed", "never_told", "unwanted"),
    *("silenced", "superseded", "acknowledged", "covered", "overflow"),
)
"""Why an alert was not sent to a destination."""
DROPPED = ("subject", "signal")
"""What the cap on series took away: a whole subject, or its series per signal."""

_STEP_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SEND_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Series:
    """One metric family: its full name, `counter`, `gauge`, `histogram` or `info`, and labels."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


class ProcessSeries:
    """The instruments. `declared` lists them for the documentation."""

    def __init__(self, registry: CollectorRegistry, revision: str) -> None:
        self.declared: list[Series] = []
        self._registry = registry
        self._declare_ingest()
        self._declare_stages()
        self._declare_checkpoints()
        self._declare_notifier()
        self._declare_process(revision)

    def _declare_ingest(self) -> None:
        self.events_rejected = self._counter(
            "events_rejected", "Events refused and dead-lettered.", "topic", "reason"
        )
        self.tombstones = self._counter("tombstones", "Messages without a value.", "topic")
        self.unknown_fields = self._counter("unknown_fields", "Event fields kept out.", "topic")
        self.dropped_features = self._counter(
            "features_dropped", "Features of events beyond the first 500, by name.", "topic"
        )
        self.client_dropped = self._counter(
            "client_dropped", "Rows that clients say they dropped before sending."
        )
        self.client_invalid = self._counter(
            "client_invalid_values", "Feature values that clients wrote as null: NaN or infinite."
        )
        self.lag = self._gauge(
            "consumer_lag_messages", "Messages not yet read of a partition.", "topic", "partition"
        )
        self.arrival = self._gauge(
            "arrival_timestamp_seconds", "Arrival reached in a partition.", "topic", "partition"
        )

    def _declare_stages(self) -> None:
        self.messages_received = self._counter("messages_received", "Messages taken in.", "stage")
        self.rows_received = self._counter("rows_received", "Rows taken in.", "stage")
        self.rows_emitted = self._counter("rows_emitted", "Rows sent on.", "stage")
        self.stage_duration = self._histogram(
            "stage_duration_seconds", "Time of one step over one batch.", _STEP_S, "stage"
        )
        self.clock = self._gauge(
            "clock_timestamp_seconds",
            "Arrival clock of a partition: all that arrived before is stepped.",
            *("stage", "partition"),
        )
        self.pipeline_alerts = self._gauge(
            "pipeline_alerts_active", "Pipeline alerts of this worker that fire.", "stage", "signal"
        )
        self.gaps = self._counter(
            "gaps", "Messages dropped because a predecessor is missing.", "stage"
        )
        self.lost = self._counter("offsets_lost", "Offsets that a log no longer holds.", "stage")
        self.forced = self._counter("forced", "Rows stepped early for want of memory.", "stage")
        self.restarts = self._counter(
            "restarts", "Partitions restarted from their checkpoint.", "stage", "reason"
        )
        self.rebalances = self._counter("rebalances", "Times that partitions were taken away.")
        self.config_mismatches = self._counter(
            "config_mismatches", "Configurations that differed from the manifest's."
        )
        self.actions = self._counter(
            "actions",
            "States of remediation actions written to the topic, repeats after a restart included.",
            "action",
            "status",
        )
        self.audited = self._counter("audit_entries", "Entries written to the audit trail.")
        self.audit_failures = self._counter(
            "audit_failures", "Times that the audit trail could not be written; it tries again."
        )
        self.alerts = self._counter(
            "alerts_published",
            "Alert events written to the topic, repeats after a restart included.",
            *("kind", "severity", "status"),
        )

    def _declare_checkpoints(self) -> None:
        self.checkpoint_duration = self._histogram(
            "checkpoint_duration_seconds", "Time to write one checkpoint.", _STEP_S, "stage"
        )
        self.checkpoint_bytes = self._gauge(
            "checkpoint_bytes", "Size of the last checkpoint.", "stage", "partition"
        )
        self.checkpoint_timestamp = self._gauge(
            "checkpoint_timestamp_seconds", "When the last checkpoint ended.", "stage", "partition"
        )
        self.series_dropped = self._counter(
            "series_dropped", "State series not shown because of the cap.", "reason"
        )

    def _declare_notifier(self) -> None:
        self.notifications = self._counter(
            "notifications", "Tries to notify, by result.", "destination", "result"
        )
        self.notification_duration = self._histogram(
            "notification_duration_seconds",
            "From an alert's arrival at the notifier to its acceptance.",
            _SEND_S,
            "destination",
        )
        self.notifier_queue = self._gauge(
            "notifier_queue_length", "Alerts waiting for a destination.", "destination"
        )
        self.notifications_withheld = self._counter(
            "notifications_withheld", "Alerts not sent, by reason.", "destination", "reason"
        )
        self.notifier_breaker = self._gauge(
            "notifier_breaker_open",
            "1 while a destination is left alone after failures, or as it asked.",
            "destination",
        )
        self.notifier_success = self._gauge(
            "notifier_last_success_timestamp_seconds", "Last acceptance; 0: none.", "destination"
        )

    def _declare_process(self, revision: str) -> None:
        name, text = "driftline_build", "Version, revision and Python of this process."
        labels = {
            "version": version("driftline"),
            "revision": revision,
            "python": platform.python_version(),
        }
        self.declared.append(Series(f"{name}_info", "gauge", text, tuple(labels)))
        Info(name, text, registry=self._registry).info(labels)
        ProcessCollector(registry=self._registry)  # process_*: memory, CPU, file descriptors

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self.declared.append(Series(f"driftline_{name}_total", "counter", text, labels))
        return Counter(f"driftline_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self.declared.append(Series(f"driftline_{name}", "gauge", text, labels))
        return Gauge(f"driftline_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        name = f"driftline_{name}"
        self.declared.append(Series(name, "histogram", text, labels))
        return Histogram(name, text, labels, registry=self._registry, buckets=buckets)

    def start_at_zero(self, sources: tuple[str, ...], destinations: tuple[str, ...]) -> None:
        """Makes every bounded label set exist, so that the first event is seen as an increase."""
        for stage in STAGES:
            for counter in (self.messages_received, self.rows_received, self.rows_emitted):
                counter.labels(stage)
            for counter in (self.gaps, self.lost, self.forced):
                counter.labels(stage)
            self.stage_duration.labels(stage)
            self.checkpoint_duration.labels(stage)
        for topic in sources:
            self.tombstones.labels(topic)
            self.unknown_fields.labels(topic)
            self.dropped_features.labels(topic)
            for reason in Reason:
                self.events_rejected.labels(topic, reason.value)
        for name in destinations:
            self.notification_duration.labels(name)
            self.notifier_queue.labels(name)
            self.notifier_success.labels(name)
            self.notifier_breaker.labels(name)
            for withheld in WITHHELD:
                self.notifications_withheld.labels(name, withheld)
            for result in RESULTS:
                self.notifications.labels(name, result)
        for part in DROPPED:
            self.series_dropped.labels(part)

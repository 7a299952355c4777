"""The one topic table: names, partitions, retention and limits of every topic Driftline uses.

Everything that needs a topic's name or configuration takes it from a `Topics` object; nothing else
spells a topic name. `streams.kafka.provision.apply` brings a cluster in line with the table.

Public topics (contract.md section 1) carry the prefix `driftline.`, internal ones, which belong to
the worker alone, `driftline-`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PREDICTIONS = "driftline.predictions"
LABELS = "driftline.labels"
COMMANDS = "driftline.commands"
ALERTS = "driftline.alerts"
WINDOWS = "driftline.windows"
DEADLETTERS = "driftline.deadletters"
ACTIONS = "driftline.actions"
NOTIFICATIONS = "driftline.notifications"
AUDIT = "driftline.audit"

ROWS = "driftline-rows"
OBSERVATIONS = "driftline-observations"
JOIN_MANIFESTS = "driftline-join-manifests"
DETECT_MANIFESTS = "driftline-detect-manifests"
JOIN_CHUNKS = "driftline-join-chunks"
DETECT_CHUNKS = "driftline-detect-chunks"
JOIN_CHANGES = "driftline-join-changes"

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOREVER = -1
MIB = 1024 * 1024

PUBLIC_PARTITIONS = 4
HORIZON_FACTOR = 1.25
"""Rows outlive the label horizon by a quarter: a lost join shard is rebuilt from them."""

_NO_LIMIT_MS = 2**63 - 1
_SEGMENTS_PER_RETENTION = 12
"""A record can outlive its retention by one segment, because brokers drop whole segments."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of the table.

    `source`: read by ingest, may gain partitions. `internal`: belongs to the worker, its partition
    count is fixed for ever. `retention_ms` of a compacted topic is `FOREVER`.
    """

    name: str
    partitions: int
    retention_ms: int
    max_message_bytes: int = MIB
    compacted: bool = False
    append_time: bool = False
    source: bool = False
    internal: bool = False

    def config(self, *, create_time: bool = False) -> dict[str, str]:
        """The topic's configuration in Kafka's own words.

        Args:
            create_time: Records keep the timestamp of their producer (demo, tests, fast-forward).
                Retention goes by record time, so a source topic then keeps everything: records of
                2011 would be dropped at once; and records may lie in the future.
        """
        config = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "max.message.bytes": str(self.max_message_bytes),
            "retention.ms": str(self.retention_ms),
            "segment.ms": str(self._segment_ms),
        }
        if self.compacted:
            config["min.cleanable.dirty.ratio"] = "0.1"
        if self.append_time and not create_time:
            config["message.timestamp.type"] = "LogAppendTime"
        elif self.append_time:
            config["message.timestamp.type"] = "CreateTime"
            config["message.timestamp.after.max.ms"] = str(_NO_LIMIT_MS)
            config["retention.ms"] = str(FOREVER)
        return config

    @property
    def _segment_ms(self) -> int:
        if self.retention_ms == FOREVER:
            return HOUR_MS
        return max(HOUR_MS, self.retention_ms // _SEGMENTS_PER_RETENTION)


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic's name, as attributes, and their table, for one deployment.

    Attributes:
        prefix: Put before every name, so that deployments (and tests) can share a cluster.
        partitions: Partitions of the internal topics: `rows`, `observations`, and their manifests
            and chunks. Fixed once they exist.
        source_partitions: Partitions of the topics that ingest reads; may grow.
        horizon_ms: The longest label horizon of any model; `rows` are kept 1.25 times as long.
        names: Other names, by default name; the prefix is not put before these.
        retention: Other retentions in ms, by default name.
    """

    prefix: str = ""
    partitions: int = 4
    source_partitions: int = PUBLIC_PARTITIONS
    horizon_ms: int = DAY_MS
    names: Mapping[str, str] = field(default_factory=dict)
    retention: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def from_other_sources(prefix: str | None) -> dict[str, str]:
        """`names` of a deployment that reads predictions and labels of another one's prefix."""
        return {} if prefix is None else {name: prefix + name for name in (PREDICTIONS, LABELS)}

    def name(self, default: str) -> str:
        """The name this deployment uses for the topic whose default name is given."""
        return self.names.get(default, self.prefix + default)

    @property
    def predictions(self) -> str:
        """Serving code writes, ingest reads: prediction events."""
        return self.name(PREDICTIONS)

    @property
    def labels(self) -> str:
        """Labelling jobs write, ingest reads: label events."""
        return self.name(LABELS)

    @property
    def commands(self) -> str:
        """UI and command line write, ingest and notifier read: operator commands."""
        return self.name(COMMANDS)

    @property
    def alerts(self) -> str:
        """Detect writes: alert events, full state."""
        return self.name(ALERTS)

    @property
    def windows(self) -> str:
        """Detect writes: window summaries."""
        return self.name(WINDOWS)

    @property
    def deadletters(self) -> str:
        """Ingest and notify write: what could not be used, with the reason."""
        return self.name(DEADLETTERS)

    @property
    def actions(self) -> str:
        """Remediation writes: action commands and their audit trail."""
        return self.name(ACTIONS)

    @property
    def notifications(self) -> str:
        """The notifier writes: one record per delivery attempt."""
        return self.name(NOTIFICATIONS)

    @property
    def audit(self) -> str:
        """The recorder writes: what was decided, said and done, in chains of hashes."""
        return self.name(AUDIT)

    @property
    def rows(self) -> str:
        """From ingest to join: frames by hash of the prediction id."""
        return self.name(ROWS)

    @property
    def observations(self) -> str:
        """From join to detect: frames by hash of the model."""
        return self.name(OBSERVATIONS)

    @property
    def join_manifests(self) -> str:
        """Checkpoints of join, one key per partition of `rows`."""
        return self.name(JOIN_MANIFESTS)

    @property
    def detect_manifests(self) -> str:
        """Checkpoints of detect, one key per partition of `observations`."""
        return self.name(DETECT_MANIFESTS)

    @property
    def join_chunks(self) -> str:
        """What join's manifests point to."""
        return self.name(JOIN_CHUNKS)

    @property
    def detect_chunks(self) -> str:
        """What detect's manifests point to."""
        return self.name(DETECT_CHUNKS)

    @property
    def join_changes(self) -> str:
        """What join put on its disks: a lost one is had again from here."""
        return self.name(JOIN_CHANGES)

    def table(self) -> list[Topic]:
        """All topics, in the order in which a person would name them."""
        return [self._public(default) for default in _PUBLIC] + [
            self._internal(default) for default in _INTERNAL
        ]

    def _public(self, default: str) -> Topic:
        retention_ms, max_message_bytes = _PUBLIC[default]
        source = default in _SOURCES
        return Topic(
            self.name(default),
            self.source_partitions if source else PUBLIC_PARTITIONS,
            self.retention.get(default, retention_ms),
            max_message_bytes,
            append_time=source,
            source=source,
        )

    def _internal(self, default: str) -> Topic:
        compacted = default in _COMPACTED
        rows_ms = max(DAY_MS, int(self.horizon_ms * HORIZON_FACTOR))
        return Topic(
            self.name(default),
            self.partitions,
            self.retention.get(default, FOREVER if compacted else rows_ms),
            16 * MIB,
            compacted=compacted,
            internal=True,
        )


_SOURCES = (PREDICTIONS, LABELS, COMMANDS)
_COMPACTED = (JOIN_MANIFESTS, DETECT_MANIFESTS, JOIN_CHUNKS, DETECT_CHUNKS)
_INTERNAL = (ROWS, OBSERVATIONS, JOIN_CHANGES, *_COMPACTED)
# Default name: (retention in ms, largest message). Messages over 1 MiB are dead letters; the topics
# through which one travels take 4 MiB, so that an oversize message can be told from a lost one.
_PUBLIC = {
    PREDICTIONS: (3 * DAY_MS, 4 * MIB),
    LABELS: (3 * DAY_MS, 4 * MIB),
    COMMANDS: (90 * DAY_MS, MIB),
    ALERTS: (30 * DAY_MS, MIB),
    WINDOWS: (30 * DAY_MS, MIB),
    DEADLETTERS: (14 * DAY_MS, 4 * MIB),
    ACTIONS: (90 * DAY_MS, MIB),
    NOTIFICATIONS: (30 * DAY_MS, 4 * MIB),
    AUDIT: (FOREVER, 8 * MIB),
}

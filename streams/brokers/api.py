"""What the command line and the tests know of a broker."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Protocol, Self

from driftline.errors import DriftlineError


class Capability(StrEnum):
    """What a broker can do beyond producing, consuming and groups. Measured, not assumed."""

    END_OFFSETS = "end_offsets"
    """ListOffsets answers the true end of a partition."""
    LOG_APPEND_TIME = "log_append_time"
    """`message.timestamp.type=LogAppendTime` is obeyed."""
    COMPACTION = "compaction"
    """Compacted topics are compacted, and retention is applied."""
    COMMIT_METADATA = "commit_metadata"
    """The text beside a committed offset is kept."""
    CREATE_PARTITIONS = "create_partitions"
    """A topic can gain partitions."""
    TRANSACTIONS = "transactions"
    """Transactions and idempotent producers work, with every client."""
    RESTART = "restart"
    """The broker can be killed and started again here, and comes back with its data."""


class Broker(Protocol):
    """A running broker, ours or somebody else's; also a context manager that stops it."""

    @property
    def name(self) -> str:
        """What it is, for people: `Apache Kafka 4.3.1 (from jars, 127.0.0.1:40123)`."""

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do."""

    def stop(self) -> None:
        """End it and remove its data, if it is ours; may be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class BrokerUnavailableError(DriftlineError):
    """This kind of broker cannot be had on this machine; the message says why, in one line."""

    exit_code: ClassVar[int] = 4

"""A broker that somebody else runs, named by `KAFKA_BOOTSTRAP` or `--broker`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from streams.brokers.api import Capability


@dataclass(frozen=True, slots=True)
class ExternalBroker:
    """Taken to be a real Kafka: it can do all but be restarted by us."""

    bootstrap: str
    capabilities: frozenset[Capability] = frozenset(Capability) - {Capability.RESTART}

    @property
    def name(self) -> str:
        """What it is and where, for people."""
        return f"external broker, {self.bootstrap}"

    def stop(self) -> None:
        """Nothing: it is not ours."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

"""commands: what operators said -> rows with a place in the order, by the model's join shard.

The part of ingest that reads `driftline.commands`: its marks, offsets and dead letters are
ingest's. An agent of its own, because commands are few and are not paced with the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from detectors.frame import Frame
from driftline.alerts import decode_command
from driftline.errors import ContractError
from driftline.events import Reject
from driftline.rules import Reason
from streams.agents.ingest import STILL, Ingest
from streams.kafka.batches import Batch
from streams.rows.command_rows import command_frame, shard_of_command
from streams.session import Session
from streams.topics import Topics


class Commands(Ingest):
    """Decode, dead-letter, shard; commands that are not detect's business only move the clock."""

    name = "commands"
    paced = False

    def topics_of(self, topics: Topics) -> tuple[str, ...]:
        """The one that this agent reads."""
        return (topics.commands,)

    def arrival(self, session: Session) -> int | None:
        """The arrival reached; None where the clock is the records': nobody waits for commands."""
        return None if self._clock_from_records else super().arrival(session)

    def sources(self) -> Mapping[str, int]:
        """Nothing by itself: ingest says what the clock waits for."""
        return {}

    async def step(self, session: Session, batch: Batch) -> None:
        """One row for each command that changes what is decided."""
        stamps = np.array(
            [STILL if r.value is None else r.timestamp for r in batch.records], np.int64
        )
        arrivals = [] if self._clock_from_records else session.core.of(stamps).tolist()
        found: dict[int, list[Frame]] = {}
        dead: list[tuple[Any, Reject]] = []
        for at, record in enumerate(batch.records):
            if record.value is None:
                self.telemetry.tombstone(batch.tp.topic)
                continue
            try:
                frame = command_frame(
                    decode_command(record.value),
                    partition=batch.tp.partition,
                    offset=record.offset,
                    arrival=arrivals[at] if arrivals else None,
                )
            except ContractError as error:
                dead.append((record, Reject(Reason(error.reason), error.detail)))
                continue
            if frame is not None:
                shard = shard_of_command(frame, self.destinations)
                found.setdefault(shard, []).append(frame)
        session.position = batch.next_offset
        for shard, frames in sorted(found.items()):
            await self.emit(session, shard, frames)
        for record, reject in dead:
            await self._dead_letter(session, record, [reject])

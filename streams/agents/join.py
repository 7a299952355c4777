"""join: rows of one shard of prediction ids -> predictions, and outcomes when labels are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.frame import Frame
from streams.agents.stateful import Stateful
from streams.monitors import Monitors
from streams.pipeline import JoinShard
from streams.rows import model_partition
from streams.session import Session
from streams.transport import Batch


class Join(Stateful):
    """Sequencer and pending store live in the session's `JoinShard`; frames go out by model."""

    name = "join"

    def fresh(self) -> JoinShard:
        """The state of a shard that has seen nothing."""
        return JoinShard(self.monitors)

    def loaded(self, state: Any, monitors: Monitors) -> JoinShard:
        """The shard as it was when the checkpoint was written."""
        return JoinShard.load(state, monitors)

    def arrival(self, session: Session) -> int | None:
        """The arrival below which this shard has emitted everything."""
        passed: int | None = session.core.passed
        return passed

    def sources(self) -> Mapping[str, int]:
        """Every shard."""
        return {self.topics[0]: self.inputs}

    async def step(self, session: Session, batch: Batch) -> None:
        """Applies each message and emits what they released, caused by each message's offset."""
        out: dict[int, list[Frame]] = {}
        for frame in session.core.run(self.messages(session, batch)):
            model = frame.subject.partition("@")[0]
            out.setdefault(model_partition(model, self.destinations), []).append(frame)
        session.position = batch.next_offset
        self.count_forced(session)
        for destination in sorted(out):
            await self.emit(session, destination, out[destination])

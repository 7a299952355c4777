"""detect: a model's observations -> alerts, window summaries, and readings for /metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from driftline.alerts import encode
from streams.agents.stateful import Stateful
from streams.kafka.batches import Batch
from streams.monitors.load import Monitors
from streams.pipeline.detect_shard import DetectShard
from streams.session import Session
from streams.shown import Shown
from streams.state.checkpoint import Pieces
from streams.state.manifest import Drafted, Manifest
from streams.topics import Topics

_SUBJECT = "subject:"
_PROFILE = "profile:"


class Detect(Stateful):
    """The whole monitor of every subject lives in the session's `DetectShard`."""

    name = "detect"

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._shown: WeakKeyDictionary[DetectShard, Shown] = WeakKeyDictionary()

    def publish_to(self, topics: Topics) -> None:
        """Names the topics that alerts, window summaries and actions go to."""
        self._alerts, self._windows = topics.alerts, topics.windows
        self._actions = topics.actions

    def fresh(self, _partition: int) -> DetectShard:
        """The state of a partition that has seen nothing."""
        return self._watched(DetectShard(self.monitors, self.held))

    def loaded(
        self, state: Any, monitors: Monitors, _partition: int, _former: Manifest
    ) -> DetectShard:
        """The monitors as they were when the checkpoint was written."""
        return self._watched(DetectShard.load({"subjects": {}} | state, monitors, self.held))

    def take_apart(self, core: DetectShard) -> tuple[dict[str, Any], Drafted]:
        """Each subject and its reference: those hardly ever change, silent subjects seldom."""
        encode = msgspec.msgpack.encode
        state = core.dump()
        pieces: dict[str, bytes] = {}
        for name, subject in state.pop("subjects").items():
            profile = subject.pop("profile")
            pieces[_SUBJECT + name] = encode(subject)
            pieces[_PROFILE + name] = encode(profile)
        return state, pieces

    def put_together(self, state: dict[str, Any], pieces: Pieces, _manifest: Manifest) -> None:
        """Puts together what `take_apart` took apart."""
        decode = msgspec.msgpack.decode
        for piece, data in pieces.items():
            if piece.startswith(_SUBJECT):
                name = piece.removeprefix(_SUBJECT)
                profile = decode(pieces[_PROFILE + name])
                state.setdefault("subjects", {})[name] = decode(data) | {"profile": profile}

    def _watched(self, core: DetectShard) -> DetectShard:
        self._shown[core] = Shown(core, self.telemetry, self._monotonic)
        return core

    def facts(self, core: DetectShard) -> dict[str, int]:
        """What `driftline state` shows of the monitors."""
        return {"subjects": len(core.subjects), "held_bytes": core.sequencer.nbytes}

    def arrival(self, _session: Session) -> int | None:
        """Nobody downstream waits for a clock."""
        return None

    def sources(self) -> Mapping[str, int]:
        """Nobody downstream waits for a clock."""
        return {}

    async def step(self, session: Session, batch: Batch) -> None:
        """Applies each message; alerts and windows go out as they are decided."""
        decided = session.core.run(message for _, message in self.messages(session, batch))
        session.position = batch.next_offset
        self.count_forced(session)
        for alert in decided.alerts:
            headers = [
                ("content-type", b"application/json"),
                ("driftline_status", alert.status.encode()),
                ("driftline_severity", alert.severity.encode()),
            ]
            key = alert.fingerprint.encode()
            await self.send(session, self._alerts, encode(alert), key=key, headers=headers)
            self.telemetry.alert(alert)
        for window in decided.windows:
            await self.send(session, self._windows, encode(window), key=window.key.encode())
        for action in decided.actions:
            key = action.subject.encode()
            await self.send(session, self._actions, msgspec.json.encode(action), key=key)
            self.telemetry.action(action)

    async def idle(self, session: Session) -> None:
        """Readings for /metrics, from the state itself, so that they survive a restart."""
        self._shown[session.core].refresh(session.core)

    async def checkpoint(self, session: Session) -> None:
        """As every stage; what the checkpoint holds, a restart cannot take back from /metrics."""
        await super().checkpoint(session)
        self._shown[session.core].saved(session.core)

    def closed(self, session: Session) -> None:
        """The partition leaves: its series go with it."""
        self._shown[session.core].forget()

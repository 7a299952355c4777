"""The channel rule under random schedules: two hops of the real Sender and Receiver.

source partitions -> ingest -> shards of join -> partitions of detect, with the session rules of
`streams.kafka.channel` around them. Schedules crash sessions, leave zombies behind that go on
sending and writing stale checkpoints, lose sends, lose acknowledgements, repeat sends, and move
partitions away and back. Afterwards every id must have been applied exactly once, at join and at
detect.

A model that cannot fail proves nothing: with any one rule taken away, some run must lose or double.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from streams.kafka.channel import Header, Receiver, Sender

WIDTHS = {"ingest": 2, "join": 2, "detect": 2}  # partitions of each stage's input
AFTER = {"ingest": "join", "join": "detect"}
ACTIONS = 400


@dataclass(frozen=True)
class Rules:
    """What a session does; each may be taken away to show what it is for."""

    tell_every_channel: bool = True
    await_every_send: bool = True
    drop_gaps: bool = True
    position_from_checkpoint: bool = True
    marks_in_checkpoint: bool = True
    rows_before_header: bool = True


@dataclass(frozen=True)
class Message:
    header: Header
    rows: tuple[tuple[int, int], ...]  # (offset in the sender's input that caused it, id)


@dataclass
class Checkpoint:
    position: int = 0
    state: Counter[int] = field(default_factory=Counter)
    receiver: dict[str, object] | None = None


class Session:
    """One turn of one partition: its position, state, marks, and sends that are under way."""

    def __init__(self, stage: str, partition: int, saved: Checkpoint, rules: Rules) -> None:
        self.key = (stage, partition)
        self.stage, self.partition, self.rules = stage, partition, rules
        self.position = saved.position
        self.state = Counter(saved.state)
        self.receiver = Receiver.load(saved.receiver) if saved.receiver else Receiver()
        destinations = WIDTHS[AFTER[stage]] if stage in AFTER else 0
        self.sender = Sender(f"{stage}/{partition}", saved.position, destinations)
        self.outbox: dict[int, deque[Message]] = {d: deque() for d in range(destinations)}
        self.failed = False
        self.phase = "stepping"

    def step(self, log: list[int] | list[Message], limit: int) -> None:
        """Apply the next records, move the position, hand the sends to the producer in order."""
        out: dict[int, list[tuple[int, int]]] = {}
        for offset in range(self.position, min(len(log), self.position + limit)):
            for row in self._new_rows(log[offset]):
                self.state[row] += 1
                if self.outbox:
                    out.setdefault(
                        row // WIDTHS["join"] % len(self.outbox)
                        if self.stage == "join"
                        else row % len(self.outbox),
                        [],
                    ).append((offset, row))
            self.position = offset + 1
        if not self.rules.rows_before_header:
            self.tell()  # a timer without the session's lock, between position and sends
        for destination, rows in out.items():
            self._send(destination, rows)

    def _new_rows(self, record: int | Message) -> list[int]:
        if isinstance(record, int):
            return [record]
        mark = self.receiver.accept(record.header)
        if mark is None:
            if self.rules.drop_gaps:
                return []
            mark = self.receiver.marks.get(record.header.log, 0)
        new = [row for cause, row in record.rows if cause >= mark]
        self.receiver.applied(record.header)
        return new

    def _send(self, destination: int, rows: list[tuple[int, int]]) -> None:
        header = self.sender.header(destination, self.position)
        self.outbox[destination].append(Message(header, tuple(rows)))

    def tell(self) -> None:
        for destination in self.sender.behind(self.position):
            self._send(destination, [])

    def saved(self) -> Checkpoint:
        receiver = self.receiver.dump() if self.rules.marks_in_checkpoint else None
        return Checkpoint(self.position, Counter(self.state), receiver)

    @property
    def settled(self) -> bool:
        return not any(self.outbox.values())


class World:
    """Logs, checkpoints, group offsets, and who thinks they own what."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.random = Random(seed)
        self.rules = rules
        self.ids = 0
        self.logs = {(s, p): [] for s, width in WIDTHS.items() for p in range(width)}
        self.checkpoints = {key: Checkpoint() for key in self.logs}
        self.committed = dict.fromkeys(self.logs, 0)
        self.zombies: list[Session] = []
        self.parked: list[Session] = []
        self.live = {key: self.opened(key) for key in self.logs}

    def opened(self, key: tuple[str, int]) -> Session:
        saved = self.checkpoints[key]
        if key[0] == "ingest" or not self.rules.position_from_checkpoint:
            saved = replace(saved, position=self.committed[key])
        return Session(*key, saved, self.rules)

    # -- one action ----------------------------------------------------------------------------

    def act(self) -> None:
        choose, live = self.random.random(), self.random.choice(list(self.live.values()))
        if choose < 0.07:
            self.produce()
        elif choose < 0.9:
            on = self.zombies if self.zombies and choose < 0.25 else [live]
            self.go_on(self.random.choice(on))
        elif choose < 0.92:  # kill -9: what was under way may still land
            self.zombies.append(self.live.pop(live.key))
            self.zombies[-1].phase = "dead"
            self.live[live.key] = self.opened(live.key)
        elif choose < 0.95:  # SIGSTOP past the session timeout: both believe they own it
            self.zombies.append(live)
            self.live[live.key] = self.opened(live.key)
        elif choose < 0.97:  # rebalance away ...
            self.parked.append(live)
            self.live[live.key] = self.opened(live.key)
        elif self.parked:  # ... and back: kept if the checkpoint is not ahead
            self.back(self.parked.pop())

    def produce(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            self.logs["ingest", self.random.randrange(WIDTHS["ingest"])].append(self.ids)
            self.ids += 1

    def go_on(self, session: Session) -> None:
        choose = self.random.random()
        if choose < 0.4 and session.phase == "stepping":
            session.step(self.logs[session.key], self.random.randint(1, 3))
        elif choose < 0.43 and session.phase == "stepping":
            session.tell()
        elif choose < 0.75:
            self.deliver(session, faults=True)
        elif session.phase != "dead":
            self.move_on(session)

    def back(self, parked: Session) -> None:
        key = parked.key
        saved = self.committed[key] if key[0] == "ingest" else self.checkpoints[key].position
        if parked.position >= saved and not parked.failed:
            self.zombies.append(self.live[key])
            self.live[key] = parked

    def deliver(self, session: Session, *, faults: bool) -> None:
        """One message of one channel reaches its log, or not; the producer keeps their order."""
        waiting = [d for d, queue in session.outbox.items() if queue]
        if not waiting:
            return
        destination = self.random.choice(waiting)
        message = session.outbox[destination].popleft()
        fate = self.random.random() if faults else 1.0
        copies = 0 if fate < 0.06 else 2 if fate < 0.15 else 1
        session.failed |= fate < 0.06 or (
            fate > 0.94 and faults
        )  # lost / appended, but its ack lost
        self.logs[AFTER[session.stage], destination] += [message] * copies

    def move_on(self, session: Session) -> None:
        """The next of: (a) tell every channel, (b) await every send, (c) checkpoint, (d) commit."""
        owner = self.live.get(session.key) is session
        if session.phase == "stepping":
            if self.rules.tell_every_channel:
                session.tell()
            session.phase = "awaiting"
        elif session.phase == "awaiting" and self.rules.await_every_send:
            if session.failed:
                session.phase = "dead"
                if owner:
                    self.live[session.key] = self.opened(session.key)
            elif session.settled:
                session.phase = "writing"
        elif session.phase in {"awaiting", "writing"}:
            self.checkpoints[session.key] = session.saved()  # a zombie's is stale, and written
            session.phase = "committing"
        elif session.phase == "committing":
            if owner:  # the broker refuses a zombie's commit
                self.committed[session.key] = session.position
            session.phase = "stepping"

    # -- the end -------------------------------------------------------------------------------

    def quiesce(self) -> None:
        """No more faults: everybody reads to the end and moves on, until nothing changes."""
        self.parked.clear()
        for zombie in self.zombies:
            for _ in range(self.random.randrange(20)):
                self.go_on(zombie)
        self.zombies.clear()
        for key in self.live:  # whatever the last zombie wrote is what they start from
            self.live[key] = self.opened(key)
        for _ in range(3 * len(WIDTHS)):
            for key in self.live:
                session = self.live[key]
                session.step(self.logs[key], len(self.logs[key]))
                for _ in range(4):
                    while not session.settled:
                        self.deliver(session, faults=False)
                    self.move_on(session)

    def wrong(self) -> list[tuple[str, int, int]]:
        """(stage, id, times applied) wherever that is not once."""
        found = []
        for stage in ("join", "detect"):
            applied: Counter[int] = Counter()
            for key, session in self.live.items():
                if key[0] == stage:
                    applied += session.state
            found += [(stage, i, applied[i]) for i in range(self.ids) if applied[i] != 1]
        return found


def run(seed: int, rules: Rules) -> World:
    world = World(seed, rules)
    for _ in range(ACTIONS):
        world.act()
    world.quiesce()
    return world


def test_no_row_is_lost_or_doubled_in_500_random_schedules() -> None:
    rows = gaps = 0
    for seed in range(500):
        world = run(seed, Rules())
        assert world.wrong() == [], f"seed {seed}"
        rows += world.ids
        gaps += sum(session.receiver.gaps for session in world.live.values())
    assert rows > 10_000
    assert gaps > 100, "schedules without gaps would not have tried the rule"


@pytest.mark.parametrize(
    "broken",
    [
        Rules(tell_every_channel=False),
        Rules(await_every_send=False),
        Rules(drop_gaps=False),
        Rules(position_from_checkpoint=False),
        Rules(marks_in_checkpoint=False),
        Rules(rows_before_header=False),
    ],
    ids=[
        "no empty message before a checkpoint",
        "a checkpoint that does not await the sends",
        "a gap is accepted",
        "restart from the group's offset instead of the checkpoint's position",
        "marks are not in the checkpoint",
        "a clock message between position and sends",
    ],
)
def test_each_rule_is_needed_without_it_some_schedule_loses_or_doubles(broken: Rules) -> None:
    assert any(run(seed, broken).wrong() for seed in range(100))

"""A detect shard fed with a monitored stream and commands, and everything it said."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from detectors.frame import Frame
from detectors.spec import MonitorSpec
from driftline.actions import Action
from driftline.alerts import Alert, Command, CommandName, WindowSummary, decode_command, encode
from driftline.rules import rfc3339
from streams.kafka.channel import Header
from streams.kafka.frames import Message
from streams.monitors.load import Monitors
from streams.pipeline.detect_shard import DetectShard
from streams.rows.command_rows import command_frame
from tests.monitored import SUBJECT, Row, frames


def command(name: CommandName, arrival: int, **given: str) -> Frame:
    """A command of Ana's about the monitored subject, as the frame that detect gets."""
    said = Command(
        id=f"{name}-{arrival}", command=name, subject=str(SUBJECT), who="ana",
        when=rfc3339(arrival), why="known", **given,
    )  # fmt: skip
    frame = command_frame(decode_command(encode(said)), partition=0, offset=0, arrival=arrival)
    assert frame is not None
    return frame


@dataclass
class Detect:
    """One shard of detect."""

    shard: DetectShard
    alerts: list[Alert] = field(default_factory=list)
    windows: list[WindowSummary] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    @classmethod
    def of(cls, spec: MonitorSpec) -> Detect:
        """With this configuration of the monitored model."""
        return cls(DetectShard(Monitors({spec.model: spec})))

    def step(self, rows: Sequence[Row], commands: Sequence[Frame], clock: int) -> None:
        """One message: these rows and commands, then the clock."""
        header = Header("rows/0", 0, 1)
        found = [*frames(rows), *commands]
        decided = self.shard.step(Message(header, {"rows/0": clock}, {"rows": 1}, found))
        self.alerts += decided.alerts
        self.windows += decided.windows
        self.actions += decided.actions

    def run(
        self,
        rows: Sequence[Row],
        commands: Sequence[tuple[int, Frame]] = (),
        cuts: Sequence[int] = (),
    ) -> Detect:
        """All rows, with commands at their arrivals, in messages that end at `cuts` (arrivals)."""
        for begin, end in itertools.pairwise([0, *sorted(cuts), rows[-1].arrival + 1]):
            part = [row for row in rows if begin <= row.arrival < end]
            self.step(part, [frame for at, frame in commands if begin <= at < end], end)
        return self

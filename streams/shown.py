"""What /metrics shows of one detect partition, taken from its monitors as seldom as may be.

A reading computes every metric of a subject, several milliseconds each. So only subjects that
changed are read, each of them once in `APART_S`, and no more in one tick than `BUDGET_S` allows,
those first that wait longest. What a checkpoint holds (counters) is cheap and shown at once.
"""

from __future__ import annotations

from collections.abc import Callable

from streams.pipeline.detect_shard import DetectShard
from streams.telemetry.readings import Reading
from streams.telemetry.telemetry import Telemetry

APART_S = 5.0
"""Between two readings of a subject: Prometheus seldom asks more often than each 15 s."""

BUDGET_S = 0.01
"""Time in one tick after which no further reading is begun: 1 % of a partition's second."""


class Shown:
    """Which subjects of a shard are due to be read."""

    def __init__(
        self, core: DetectShard, telemetry: Telemetry, monotonic: Callable[[], float]
    ) -> None:
        """`core` as it was opened: all that it holds came from a checkpoint."""
        self._telemetry = telemetry
        self._monotonic = monotonic
        self._saved = {subject: core.counted(subject) for subject in core.names()}
        self._due = dict.fromkeys(self._saved, 0.0)
        """Changed since the last reading -> when to read it."""
        self._unsaved: set[str] = set()
        self._read_at: dict[str, float] = {}

    def refresh(self, core: DetectShard) -> None:
        """Once a second: readings of the subjects whose turn it is."""
        self._take_changed(core)
        began = self._monotonic()
        for subject, at in sorted(self._due.items(), key=lambda due: due[1]):
            now = self._monotonic()
            if at > now or now > began + BUDGET_S:
                break
            self._read(core, subject, now)

    def saved(self, core: DetectShard) -> None:
        """After a checkpoint: the counters in it may be shown."""
        self._take_changed(core)
        for subject in sorted(self._unsaved):
            self._saved[subject] = kept = core.counted(subject)
            if subject in self._read_at:
                self._telemetry.keep(subject, kept)
        self._unsaved.clear()

    def forget(self) -> None:
        """The partition leaves: its series end. If it comes back, all are read anew."""
        for subject in self._read_at:
            self._telemetry.forget(subject)
        self._due.update(dict.fromkeys(self._read_at, 0.0))
        self._read_at.clear()

    def _take_changed(self, core: DetectShard) -> None:
        changed, core.changed = core.changed, set()
        self._unsaved |= changed
        for subject in changed:
            self._due.setdefault(subject, self._read_at.get(subject, -APART_S) + APART_S)

    def _read(self, core: DetectShard, subject: str, now: float) -> None:
        saved = self._saved.get(subject, Reading())
        self._telemetry.publish(subject, core.reading(subject), saved)
        self._read_at[subject] = now
        del self._due[subject]

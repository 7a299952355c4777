"""The client's counters: where every row went, and why some did not."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Final, TypeAlias

from msgspec import Struct

from driftline.rules import is_name

Stream: TypeAlias = tuple[str, str | None, str | None]
"""Topic, model and version: where a dropped row is missed."""

LOG_PERIOD_S: Final = 60.0
_MAX_STREAMS: Final = 1_000


class Stats(Struct, frozen=True):
    """A client's counters since it was built, in rows (predictions and labels).

    `logged` = `queued` + `in_flight` + `delivered` + `undelivered` + all of `dropped`.
    """

    logged: int
    """Handed to the client."""
    queued: int
    """Waiting in this process."""
    in_flight: int
    """With the transport, not yet known to have arrived."""
    delivered: int
    """Known to have arrived."""
    undelivered: int
    """Given up by the transport: broker unreachable, closed before delivery."""
    dropped: dict[str, int]
    """Never sent, by reason: `queue_full`, `closed`, or what is wrong with the row."""
    last_error: str | None
    """Why the latest of them was not delivered or was dropped."""


class Tally:
    """Counts rows, each change under its `lock`, and wakes who waits for `changed`.

    The lock is reentrant: a signal handler or a finaliser may log while its own thread holds it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.is_final = False
        self.logged = 0
        self.queued = 0
        self.in_flight = 0
        self.delivered = 0
        self.undelivered = 0
        self.dropped: Counter[str] = Counter()
        self.last_error: str | None = None
        self._untold: Counter[Stream] = Counter()
        self._unlogged: dict[str, tuple[int, str]] = {}
        self._next_log: dict[str, float] = {}

    @property
    def outstanding(self) -> int:
        """Rows of which it is not yet known what becomes of them."""
        return self.queued + self.in_flight

    def drop(self, stream: Stream, reason: str, detail: str, n: int) -> None:
        """`n` rows will never be sent."""
        with self.lock:
            self.dropped[str(reason)] += n
            self._lose(stream, str(reason), detail, n)

    def drop_queued(self, stream: Stream, reason: str, detail: str, n: int) -> None:
        """`n` queued rows will never be sent."""
        with self.lock:
            self.queued -= n
            self.drop(stream, reason, detail, n)
            self.changed.notify_all()

    def sent(self, n: int) -> None:
        """`n` queued rows are with the transport now."""
        with self.lock:
            self.queued -= n
            self.in_flight += n

    def settle(self, stream: Stream, n: int, told: int, error: str | None) -> None:
        """`n` rows under way have arrived, or are lost with the word of `told` dropped ones."""
        with self.lock:
            if self.is_final:
                return
            self.in_flight -= n
            if error is None:
                self.delivered += n
            else:
                self.undelivered += n
                self._lose(stream, "undelivered", error, n)
                self._remember(stream, told)
            self.changed.notify_all()

    def finish(self, error: str) -> None:
        """What is outstanding stays undelivered, whatever the transport may still say."""
        with self.lock:
            self.is_final = True
            if self.outstanding:
                self.last_error = f"undelivered: {error}"
            self.undelivered += self.outstanding
            self.queued = self.in_flight = 0
            self.changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Waits until nothing is outstanding; False if that took longer than the timeout."""
        with self.changed:
            return self.changed.wait_for(lambda: not self.outstanding, timeout_s)

    def take_untold(self, stream: Stream) -> int:
        """How many rows of the stream were lost since this was last asked."""
        with self.lock:
            return self._untold.pop(stream, 0)

    def take_log_lines(self) -> list[str]:
        """What to tell people now: at most one line per reason and minute."""
        lines, now = [], time.monotonic()
        with self.lock:
            for reason, (n, detail) in list(self._unlogged.items()):
                if now >= self._next_log.get(reason, 0.0):
                    self._next_log[reason] = now + LOG_PERIOD_S
                    del self._unlogged[reason]
                    lines.append(f"{n} rows lost: {reason} ({detail})")
        return lines

    def stats(self) -> Stats:
        """The counters as they stand."""
        with self.lock:
            return Stats(
                self.logged,
                self.queued,
                self.in_flight,
                self.delivered,
                self.undelivered,
                dict(self.dropped),
                self.last_error,
            )

    def _lose(self, stream: Stream, reason: str, detail: str, n: int) -> None:
        self.last_error = f"{reason}: {detail}"
        self._unlogged[reason] = self._unlogged.get(reason, (0, ""))[0] + n, detail
        self._remember(stream, n)

    def _remember(self, stream: Stream, n: int) -> None:
        """Only of streams that may have a next message: others would pile up here."""
        _, model, version = stream
        named = all(name is None or is_name(name) for name in (model, version))
        if n and named and (stream in self._untold or len(self._untold) < _MAX_STREAMS):
            self._untold[stream] += n

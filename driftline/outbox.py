"""The outbox: a bounded queue in front of a thread that cleans, batches and sends.

The serving thread appends under a lock that is only ever held for a few instructions. Everything
that takes time, or may fail, happens in the outbox's own thread.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from driftline.sender import INTERNAL, Entry, Sender, described
from driftline.tally import Stats, Stream, Tally
from driftline.transports.base import Transport

log = logging.getLogger("driftline.client")

QUEUE_FULL: Final = "queue_full"
CLOSED: Final = "closed"

_TURN_ENTRIES = 8_192  # taken from the queue at once
_WAKE_ROWS = 2_000  # enough for a batch: no need to wait for its time
_HURRY_S = 0.005  # between two turns while somebody waits in flush or close
_DRAIN_SHARE = 0.5  # of a closing's time, to empty the queue; the rest is the transport's
_CLOSE_SHARE = 0.9  # of the transport's time; the rest is for counting and for the join

_alive: weakref.WeakSet[Outbox] = weakref.WeakSet()


class Outbox:
    """Takes rows and gets them to the transport, or counts why not.

    Args:
        transport: where messages go.
        topics: of predictions and of labels.
        max_rows: bound of the queue in rows.
        max_bytes: bound of the queue in bytes, about.
        interval_s: how long a row waits at most for others to share its message.
        exit_timeout_s: how long the end of the process may wait for it.
    """

    def __init__(
        self,
        transport: Transport,
        topics: tuple[str, str],
        *,
        max_rows: int,
        max_bytes: int,
        interval_s: float,
        exit_timeout_s: float,
    ) -> None:
        self._transport, self._topics = transport, topics
        self._max_rows, self._max_bytes, self._interval_s = max_rows, max_bytes, interval_s
        self._exit_timeout_s = exit_timeout_s
        self.reset()
        _alive.add(self)

    def reset(self) -> None:
        """As newly built. In a forked child: what was queued is the parent's to send."""
        self._tally = Tally()
        self._sender = Sender(self._transport, self._topics, self._tally, self._has_time)
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._queue: list[tuple[Entry, int]] = []
        self._bytes = 0
        self._waiting = 0
        self._drain_until: float | None = None  # set when closing
        self._close_until = 0.0

    def put(self, entry: Entry, n: int, size_bytes: int) -> None:
        """Queues an entry of `n` rows, or counts them as dropped. Never waits."""
        tally = self._tally
        with tally.lock:
            tally.logged += n
            if self._drain_until is not None:
                tally.drop(self._sender.stream(entry), CLOSED, "logged after close()", n)
            elif tally.queued + n > self._max_rows or self._bytes + size_bytes > self._max_bytes:
                detail = f"{tally.queued} rows, {self._bytes} bytes are waiting"
                tally.drop(self._sender.stream(entry), QUEUE_FULL, detail, n)
            elif self._thread is None and not self._start():
                tally.drop(self._sender.stream(entry), INTERNAL, "no thread can be started", n)
            else:
                self._queue.append((entry, size_bytes))
                tally.queued += n
                self._bytes += size_bytes
                if tally.queued >= _WAKE_ROWS and not self._wake.is_set():
                    self._wake.set()

    def drop(self, stream: Stream, reason: str, detail: str, n: int) -> None:
        """Counts `n` rows that never got as far as the queue."""
        with self._tally.lock:
            self._tally.logged += n
            self._tally.drop(stream, reason, detail, n)
            if self._thread is None and self._drain_until is None:
                self._start()  # the thread writes the log

    def stats(self) -> Stats:
        """The counters."""
        return self._tally.stats()

    def flush(self, timeout_s: float) -> bool:
        """Waits until nothing is outstanding; False if that took longer than the timeout."""
        with self._tally.lock:
            self._waiting += 1
        self._wake.set()
        try:
            return self._tally.wait(timeout_s)
        finally:
            with self._tally.lock:
                self._waiting -= 1

    def close(self, timeout_s: float) -> bool:
        """Sends what it can within the timeout and gives the rest up; False if there was a rest."""
        thread = self.end(timeout_s)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        stats = self.stats()
        return not (stats.queued or stats.in_flight or stats.undelivered)

    def end(self, timeout_s: float) -> threading.Thread | None:
        """Like `close`, without waiting for it: the thread that does it."""
        with self._tally.lock:
            if self._drain_until is None:
                now = time.monotonic()
                self._close_until = now + timeout_s
                self._drain_until = now + timeout_s * _DRAIN_SHARE
            if self._thread is None:
                self._start()
            self._wake.set()
            return self._thread

    def end_with_process(self) -> None:
        """Closes, unless it never had anything to do in this process."""
        if self._thread is not None:
            self.close(self._exit_timeout_s)

    def _start(self) -> bool:
        """Starts the thread; False where there cannot be one (the interpreter is ending)."""
        thread = threading.Thread(target=self._run, name="driftline-client", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    # -- in the outbox's own thread from here on

    def _run(self) -> None:
        while self._drain_until is None:
            self._wake.wait(_HURRY_S if self._waiting else self._interval_s)
            self._wake.clear()
            self._safely(self._turn)
        while self._queue and self._has_time():
            self._safely(self._turn)
        self._safely(self._close_transport)
        self._tally.finish("closed before it was delivered")
        self._queue.clear()
        self._safely(self._report)

    def _has_time(self) -> bool:
        return self._drain_until is None or time.monotonic() < self._drain_until

    def _safely(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # whatever a transport or a log handler does: keep the thread
            self._tally.last_error = f"{INTERNAL}: {described(error)}"
            time.sleep(_HURRY_S)  # a step that fails at once must not spin

    def _turn(self) -> None:
        """Sends some of what is queued, and hears what has been delivered."""
        with self._tally.lock:
            taken = self._queue[:_TURN_ENTRIES]
            del self._queue[: len(taken)]
            if self._queue:
                self._wake.set()
        try:
            self._sender.send([entry for entry, _ in taken])
        finally:
            with self._tally.lock:
                self._bytes -= sum(size for _, size in taken)
        self._transport.poll(0.0)
        self._report()

    def _report(self) -> None:
        for line in self._tally.take_log_lines():
            log.warning("driftline client: %s", line)

    def _close_transport(self) -> None:
        left = self._close_until - time.monotonic()
        self._transport.close(max(0.0, left * _CLOSE_SHARE))


def _close_all() -> None:
    for outbox in list(_alive):
        outbox.end_with_process()


def _reset_all() -> None:
    for outbox in _alive:
        outbox.reset()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)

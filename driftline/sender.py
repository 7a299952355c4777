"""The sender: queued entries as messages, handed to the transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from driftline.batches import Batch, label_batches, prediction_batches
from driftline.blocks import Block, LabelRow, PredictionRow, label_blocks, prediction_blocks
from driftline.errors import ContractError
from driftline.rules import Reason
from driftline.tally import Stream, Tally
from driftline.transports.base import Message, Transport

Entry: TypeAlias = PredictionRow | LabelRow | Block

Row = TypeVar("Row", PredictionRow, LabelRow)

INTERNAL: Final = "internal_error"

_FULL_WAIT_S = 0.05  # between two tries while the transport has no room


class Sender:
    """Cleans, batches and sends, in the outbox's thread.

    Args:
        transport: where messages go.
        topics: of predictions and of labels.
        tally: counts what becomes of the rows.
        has_time: whether it may go on waiting for a transport that has no room.
    """

    def __init__(
        self,
        transport: Transport,
        topics: tuple[str, str],
        tally: Tally,
        has_time: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._predictions, self._labels = topics
        self._tally = tally
        self._has_time = has_time

    def stream(self, entry: Entry) -> Stream:
        """Where the entry's rows go."""
        if isinstance(entry, PredictionRow):
            return self._predictions, entry.model, entry.version
        if isinstance(entry, Block) and "label" not in entry.columns:
            return self._predictions, entry.model, entry.version
        return self._labels, entry.model, None

    def send(self, entries: Sequence[Entry]) -> None:
        """Sends the entries, or counts why not."""
        rows = [entry for entry in entries if isinstance(entry, PredictionRow)]
        labels = [entry for entry in entries if isinstance(entry, LabelRow)]
        for group in self._grouped(rows, prediction_blocks):
            self._send_group(group)
        for group in self._grouped(labels, label_blocks):
            self._send_group(group)
        for entry in entries:
            if isinstance(entry, Block):
                self._send_group([entry])

    def _grouped(
        self, rows: Sequence[Row], grouped: Callable[[Sequence[Row]], list[list[Block]]]
    ) -> list[list[Block]]:
        try:
            return grouped(rows)
        except Exception as error:  # a foreign object as a name may refuse to be compared
            for row in rows:
                self._tally.drop_queued(self.stream(row), INTERNAL, described(error), 1)
            return []

    def _send_group(self, group: Sequence[Block]) -> None:
        left = sum(block.n for block in group)
        stream = self.stream(group[0])
        make = label_batches if stream[0] == self._labels else prediction_batches

        def drop(reason: str, detail: str, n: int) -> None:
            nonlocal left
            left -= n
            self._tally.drop_queued(stream, reason, detail, n)

        try:
            for batch in make(group, drop):
                left -= batch.n
                self._send_batch(stream, batch)
        except Exception as error:  # foreign objects in the rows: lose these rows, not the thread
            drop(INTERNAL, described(error), left)

    def _send_batch(self, stream: Stream, batch: Batch) -> None:
        told = self._tally.take_untold(stream)
        self._tally.sent(batch.n)
        done = _Done(self._tally, stream, batch.n, told)
        message = Message(stream[0], batch.value_with_dropped(told), batch.key, done)
        while not done.called:
            try:
                self._transport.send(message)
            except BufferError:
                if self._has_time():
                    self._transport.poll(_FULL_WAIT_S)
                else:
                    done("closed while the transport had no room")
            except Exception as error:  # transports are open to users, and raise what they like
                done(described(error))
            else:
                return


class _Done:
    """Counts once what has become of a message, however often it is called."""

    __slots__ = ("_n", "_stream", "_tally", "_told", "called")

    def __init__(self, tally: Tally, stream: Stream, n: int, told: int) -> None:
        self._tally, self._stream, self._n, self._told = tally, stream, n, told
        self.called = False

    def __call__(self, error: str | None) -> None:
        if not self.called:
            self.called = True
            self._tally.settle(self._stream, self._n, self._told, error)


def why(error: Exception) -> tuple[str, str]:
    """The reason under which rows lost by this error are counted, and a detail for the log."""
    if isinstance(error, ContractError):
        return error.reason, error.detail
    reason = Reason.WRONG_TYPE if isinstance(error, TypeError | ValueError) else INTERNAL
    return reason, described(error)


def described(error: Exception) -> str:
    """The error as text for the log; never raises."""
    try:
        return repr(error)[:200]
    except Exception:  # foreign errors may refuse even that
        return type(error).__name__

"""Fetched record batches read where they were received.

aiokafka copies each partition's records out of the response, and then each value out of those. The
first copy is not needed, as its parser of a batch takes any buffer. A value still is a copy, so
none keeps a response in memory.

Source: aiokafka 0.14.0, `conn.py`, `protocol/types.py` and `record/memory_records.py`.
"""

from __future__ import annotations

import io
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatch

from streams.kafka.checksums import BEFORE_LENGTH_ENDS, LENGTH

LONG = 1 << 16
"""Bytes from which a part of a response is given in place: no name in the protocol is as long."""
STAND_IN = bytes(BEFORE_LENGTH_ENDS)
"""Records of one batch, with nothing in it: whoever parses that raises."""


def ask(request: Any) -> Any:
    """The same fetch request; long records of its answer will come as views of the response."""
    stock = request.prepare

    def prepare(versions: Any) -> Any:
        prepared = stock(versions)
        prepared.RESPONSE_TYPE = _Answer(prepared.RESPONSE_TYPE)
        return prepared

    request.prepare = prepare
    return request


class _Answer:
    """A type of response, decoded in place."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def decode(self, data: io.BytesIO) -> Any:
        """As the type does."""
        return self._kind.decode(_Stream(data))


class _Stream:
    """What is still to read of a response."""

    def __init__(self, data: io.BytesIO) -> None:
        self._left = memoryview(data.getvalue())[data.tell() :]  # a stream gives its bytes as such

    def read(self, size: int) -> bytes | memoryview:
        """So many bytes, or all there are."""
        found, self._left = self._left[:size], self._left[size:]
        return bytes(found) if size < LONG else found


class Records:
    """Intact batches of format 2, one after the other; the methods are those of `MemoryRecords`."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._size = len(view)

    def size_in_bytes(self) -> int:
        """Of all there were, with a cut batch at the end."""
        return self._size

    def has_next(self) -> bool:
        """Whether a whole batch is left."""
        return len(self._view) >= BEFORE_LENGTH_ENDS and self._end() <= len(self._view)

    def next_batch(self) -> Any:
        """The next batch; None: there is none."""
        if not self.has_next():
            return None
        end = self._end()
        batch, self._view = self._view[:end], self._view[end:]
        return DefaultRecordBatch(batch)

    def _end(self) -> int:
        return BEFORE_LENGTH_ENDS + int.from_bytes(self._view[LENGTH], "big", signed=True)

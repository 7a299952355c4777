"""Dead letters: messages set aside with their original bytes; headers say why and where from."""

from __future__ import annotations

from collections.abc import Sequence

from faust.types import TP

MAX_DETAIL = 300
MAX_ROWS = 100


def dead_letter_headers(
    tp: TP, offset: int, reason: str, detail: str, rows: Sequence[int] = ()
) -> list[tuple[str, bytes]]:
    """The headers of one dead letter. `rows`: those of a batch it concerns, at most 100 named."""
    headers = {
        "reason": reason,
        "detail": detail[:MAX_DETAIL],
        "topic": tp.topic,
        "partition": str(tp.partition),
        "offset": str(offset),
    }
    if rows:
        headers["rows"] = ",".join(map(str, rows[:MAX_ROWS]))
    return [(name, value.encode("utf-8", "replace")) for name, value in headers.items()]

"""The state of River's ADWIN core without what is constant, or 0, in it: about half the bytes.

The core hands out its fields in fixed width: settings, six sums, then rows of buckets with as many
places as a row can have, then the settings again. Whoever packs a state compares what `unpack`
makes of it, so another layout is noticed and not guessed at.
"""

from __future__ import annotations

from typing import Final

_SETTINGS: Final = 36
_SUMS: Final = 84
_ROWS: Final = 92
"""Where settings, sums, and the number of rows end."""
_TAIL: Final = 28
_ROW: Final = 128
_USED, _TOTALS, _VARIANCES = 8, 24, 80
"""Within a row: how many places are used, and where sums and variances of the buckets begin."""
_PLACES: Final = 6


def pack(state: bytes) -> bytes:
    """The state in short; empty where it has not the known length."""
    rows, rest = divmod(len(state) - _ROWS - _TAIL, _ROW)
    if rest or not 0 < rows < 256:  # noqa: PLR2004  # it goes into a byte
        return b""
    counts, parts = bytearray([rows]), [state[_SETTINGS:_SUMS]]
    for row in range(rows):
        at = _ROWS + row * _ROW
        used = min(state[at + _USED], _PLACES)
        counts.append(used)
        parts.append(state[at + _TOTALS : at + _TOTALS + 8 * used])
        if row:  # single values do not vary
            parts.append(state[at + _VARIANCES : at + _VARIANCES + 8 * used])
    return bytes(counts) + b"".join(parts)


def unpack(packed: bytes, empty: bytes) -> bytes:
    """The state that was packed; `empty`: that of a new core with the same settings."""
    if not packed:
        return b""
    rows, at = packed[0], packed[0] + 1
    sums = packed[at : at + _SUMS - _SETTINGS]
    at += len(sums)
    parts = [empty[:_SETTINGS], sums, rows.to_bytes(_ROWS - _SUMS, "little")]
    for row, used in enumerate(packed[1 : rows + 1]):
        fields = bytearray(empty[_ROWS : _ROWS + _ROW])
        fields[_USED] = used
        for place in (_TOTALS, _VARIANCES)[: 2 if row else 1]:
            fields[place : place + 8 * used] = packed[at : at + 8 * used]
            at += 8 * used
        parts.append(bytes(fields))
    return b"".join([*parts, empty[-_TAIL:]])

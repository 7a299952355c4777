"""CRC-32C of record batches by the processor's own instruction, ten times as fast as aiokafka's.

Where the package `crc32c` is missing or has no such instruction, aiokafka computes its own.

Source: Kafka's record batch, format 2: length in bytes 8 to 12, format in byte 16, checksum of all
that follows in bytes 17 to 21.
"""

from __future__ import annotations

try:
    import crc32c

    CHECKSUM = crc32c.crc32c if crc32c.hardware_based else None
except ImportError:
    CHECKSUM = None

LENGTH, FORMAT, CHECKSUM_AT, COVERED = slice(8, 12), 16, slice(17, 21), 21
BEFORE_LENGTH_ENDS = 12
SMALL = 2_048
"""Bytes of a batch for which a loop in Python costs more than aiokafka's checksum in C."""


def intact(records: bytes | memoryview) -> bool:
    """Whether all whole batches have format 2 and the right checksum; False is 'look yourself'.

    What is behind the last whole batch is not looked at: nobody reads it.
    """
    if CHECKSUM is None:
        return False
    view, at, end = memoryview(records), 0, len(records)
    while at + COVERED <= end:
        behind = at + BEFORE_LENGTH_ENDS + int.from_bytes(view[at:][LENGTH], "big", signed=True)
        if behind > end:
            break
        batch = view[at:behind]
        if len(batch) < SMALL or batch[FORMAT] != 2:  # noqa: PLR2004  the format's number
            return False
        if CHECKSUM(batch[COVERED:]) != int.from_bytes(batch[CHECKSUM_AT], "big"):
            return False
        at = behind
    return True

"""Fetched records as the protocol's own objects: aiokafka's fetcher without its `ConsumerRecord`.

aiokafka wraps each record in a `ConsumerRecord`, in Python, at about 2 us a message; the stages
need no more of a record than its parser gives (offset, timestamp, key, value, headers). Checksums
are verified here, of a whole answer at once (`streams.kafka.checksums`); what is not found intact
is left to aiokafka, which raises what it raises.

It reaches into internals of aiokafka, so `works` tries it on a real record batch when the worker
starts: where the outcome is not that of the stock code, the worker reads records the stock way. A
contract test pins the version and what is reached for.

Source: aiokafka 0.14.0, `consumer/fetcher.py`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.kafka.checksums import intact

log = logging.getLogger(__name__)

FIELDS = ("offset", "timestamp", "key", "value", "headers")
"""What the stages may ask a record for."""


class RawResults(OrderedDict[Any, Any]):
    """A fetcher's results by partition, each made to give records as they were parsed."""

    def __init__(self, results: Mapping[Any, Any], intact: Collection[Any]) -> None:
        self._intact = intact
        super().__init__(results)

    def __setitem__(self, tp: Any, result: Any) -> None:
        if type(result) is FetchResult:
            make_raw(result)
            if tp in self._intact:
                result._partition_records._check_crcs = False  # noqa: SLF001  verified already
        super().__setitem__(tp, result)


class CheckingClient:
    """A fetcher's client that takes note of the partitions whose records came intact.

    The fetcher makes its results of an answer before anything else can run, so what is noted is
    always of the newest answer.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.intact: set[Any] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: Any, request: Any, **named: Any) -> Any:
        """As the client's own."""
        response = await self._client.send(node_id, request, **named)
        if isinstance(request, FetchRequest):
            for topic, partitions in response.topics:
                for partition, *_, records in partitions:
                    note = self.intact.add if intact(records or b"") else self.intact.discard
                    note(TopicPartition(topic, partition))
        return response


def install(fetcher: Any) -> None:
    """Makes one fetcher give raw records from now on; those of other consumers stay as they are."""
    if not isinstance(fetcher._records, RawResults):  # noqa: SLF001  what this module is for
        client = CheckingClient(fetcher._client)  # noqa: SLF001
        fetcher._client = client  # noqa: SLF001
        fetcher._records = RawResults(fetcher._records, client.intact)  # noqa: SLF001


def make_raw(result: Any) -> None:
    """Makes one fetch result give raw records."""
    result._partition_records._consumer_record = _as_parsed  # noqa: SLF001
    result.getall = lambda max_records=None: _getall(result, max_records)


def _as_parsed(_tp: Any, record: Any) -> Any:
    return record


def _getall(result: Any, max_records: int | None) -> list[Any]:
    """`FetchResult.getall` with its loop in C."""
    if not result.check_assignment(result._topic_partition) or not result.has_more():  # noqa: SLF001
        return []
    records = list(islice(result._partition_records, max_records))  # noqa: SLF001
    result._update_position()  # noqa: SLF001
    if max_records is None or len(records) < max_records:
        result._partition_records = None  # noqa: SLF001
    return records


def works() -> bool:
    """Whether raw records say what `ConsumerRecord`s do, tried on a batch of this version."""
    try:
        return _same(_fetched(raw=True), _fetched(raw=False))
    except Exception:  # whatever an unknown version raises: the stock way is there
        log.exception("raw records failed their check")
        return False


def _same(raw: list[Any], stock: list[Any]) -> bool:
    return len(raw) == len(stock) == _SAMPLE and all(
        _value(one, field) == _value(two, field)
        for one, two in zip(raw, stock, strict=True)
        for field in FIELDS
    )


def _value(record: Any, field: str) -> Any:
    value = getattr(record, field)
    return tuple(value) if field == "headers" else value


_SAMPLE = 3


def _fetched(*, raw: bool) -> list[Any]:
    """A few records, written and read again by aiokafka."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0,
        producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 16,
    )  # fmt: skip
    builder.append(0, timestamp=5, key=b"k", value=b"v", headers=[("h", b"1")])
    builder.append(1, timestamp=6, key=None, value=b"w", headers=[])
    builder.append(2, timestamp=7, key=b"", value=None, headers=[])
    tp = TopicPartition("check", 0)
    records = PartitionRecords(
        tp, MemoryRecords(bytes(builder.build())), [], 0, None, None, True, READ_UNCOMMITTED
    )
    result = FetchResult(tp, assignment=_Assignment(records), partition_records=records, backoff=0)
    if raw:
        make_raw(result)
    found = result.getall(2)
    return [*found, *result.getall(2)]


class _Assignment:
    """An assignment whose position is where the records stand."""

    active = True
    paused = False

    def __init__(self, records: Any) -> None:
        self._records = records
        self.position = records.next_fetch_offset

    def state_value(self, _tp: Any) -> _Assignment:
        """The state of a partition: this."""
        return self

    def consumed_to(self, position: int) -> None:
        """Told how far records were taken."""
        self.position = position

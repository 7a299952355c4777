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

import io
import logging
from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v4
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.kafka import in_place
from streams.kafka.checksums import intact

log = logging.getLogger(__name__)

FIELDS = ("offset", "timestamp", "key", "value", "headers")
"""What the stages may ask a record for."""


class RawResults(OrderedDict[Any, Any]):
    """A fetcher's results by partition, each made to give records as they were parsed."""

    def __init__(self, results: Mapping[Any, Any], intact: dict[Any, Any]) -> None:
        self._intact = intact
        super().__init__(results)

    def __setitem__(self, tp: Any, result: Any) -> None:
        if type(result) is FetchResult:
            make_raw(result)
            if tp in self._intact:
                parsed = result._partition_records  # noqa: SLF001
                parsed._check_crcs = False  # noqa: SLF001  verified already
                parsed._records = self._intact.pop(tp) or parsed._records  # noqa: SLF001
        super().__setitem__(tp, result)


class CheckingClient:
    """A fetcher's client that takes note of the partitions whose records came intact.

    Long ones it keeps in place (`streams.kafka.in_place`) until the result takes them. The fetcher
    makes its results of an answer before anything else can run, so what is noted is of that answer.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.intact: dict[Any, in_place.Records | None] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: Any, request: Any, **named: Any) -> Any:
        """As the client's own."""
        if not isinstance(request, FetchRequest):
            return await self._client.send(node_id, request, **named)
        response = await self._client.send(node_id, in_place.ask(request), **named)
        self.intact.clear()
        response.topics = [
            (topic, [(*said, self._checked(topic, said[0], found)) for *said, found in partitions])
            for topic, partitions in response.topics
        ]
        return response

    def _checked(self, topic: str, partition: int, found: bytes | memoryview | None) -> Any:
        """The records of a partition, or what stands in for them."""
        records = in_place.Records(found) if isinstance(found, memoryview) else None
        if intact(found or b"") and (records is None or records.has_next()):
            self.intact[TopicPartition(topic, partition)] = records
            return found if records is None else in_place.STAND_IN
        return found if records is None else bytes(found or b"")


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
        producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 20,
    )  # fmt: skip
    builder.append(0, timestamp=5, key=b"k", value=b"v", headers=[("h", b"1")])
    builder.append(1, timestamp=6, key=None, value=b"w" * in_place.LONG, headers=[])
    builder.append(2, timestamp=7, key=b"", value=None, headers=[])
    tp = TopicPartition("check", 0)
    data = bytes(builder.build())
    results: dict[Any, Any] = {}
    if raw:
        client = CheckingClient(_Client(data))
        results = RawResults({}, client.intact)
        request = FetchRequest(0, 0, 0, 0, [(tp.topic, [(tp.partition, 0, 1)])])
        try:
            client.send(0, request).send(None)
        except StopIteration as end:  # it had nothing to wait for
            [(_, [(*_, data)])] = end.value.topics
    records = PartitionRecords(tp, MemoryRecords(data), [], 0, None, None, True, READ_UNCOMMITTED)
    results[tp] = FetchResult(
        tp, assignment=_Assignment(records), partition_records=records, backoff=0
    )
    result = results[tp]
    found = result.getall(2)
    return [*found, *result.getall(2)]


class _Client:
    """Has an answer to a fetch request, as it is on the wire."""

    def __init__(self, records: bytes) -> None:
        self._body = FetchResponse_v4(0, [("check", [(0, 0, 9, 9, [], records)])]).encode()

    async def send(self, _node_id: Any, request: Any) -> Any:
        """The answer, decoded behind its header."""
        stream = io.BytesIO(b"head" + self._body)
        stream.seek(4)
        version = FetchResponse_v4.API_VERSION
        prepared = request.prepare({FetchRequest.API_KEY: (version, version)})
        return prepared.RESPONSE_TYPE.decode(stream)


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

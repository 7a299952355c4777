"""Rows of decoded messages as frames: where JSON values become NumPy columns.

One `RowBuilder` serves one source partition (or one file of a replay). It gives each row its
arrival, refuses what is dated ahead of it, and hands out frames per shard of prediction ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.frame import SOURCE_SHIFT, Column, Frame, concat, text_column
from driftline.events import Decoded, LabelEvent, PredictionColumns, PredictionEvent, Reject
from driftline.rules import MAX_AHEAD_MS, Reason
from streams.rows.cells import (
    class_columns,
    feature_columns,
    number_column,
    segment_columns,
    transpose,
)
from streams.rows.shards import id_hash, id_hashes, model_partition, shard_of, split

__all__ = ["RowBuilder", "id_hash", "id_hashes", "model_partition", "shard_of", "split"]


@dataclass(slots=True)
class _Rows:
    """Single rows of one subject, and what places each of them in the order."""

    events: list[PredictionEvent] = field(default_factory=list)
    labels: list[LabelEvent] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    """Flat: ts, arrival, offset and index of each row; no object per row for the collector."""


class RowBuilder:
    """Collects rows of one source partition until `frames` hands them out.

    Args:
        rank: rank of the source topic (predictions 0, labels 1), part of the order key.
        partition: the source partition.
        shards: how many join shards there are.
    """

    def __init__(self, rank: int, partition: int, shards: int) -> None:
        self.source = rank << SOURCE_SHIFT | partition
        self.shards = shards
        self.reached: int | None = None
        """Greatest arrival so far, in ms: no later row of this partition arrives before it."""
        self.rows = 0
        """Rows waiting for `frames`."""
        self._predictions: dict[str, _Rows] = {}
        self._labels: dict[str, _Rows] = {}
        self._frames: dict[tuple[str, str], list[Frame]] = {}

    def add(
        self,
        decoded: Decoded,
        *,
        offset: int,
        arrival: int | None,
        record_ts: int | None = None,
    ) -> list[Reject]:
        """Takes the rows of one message and returns those refused because of their time.

        Args:
            decoded: what the message holds.
            offset: of the message in its partition; the cause of all its rows.
            arrival: of the message in ms; None (replay): each row's `arrival`, else its `ts`.
            record_ts: event time of rows that name none, in ms; None: their arrival.
        """
        rejects: list[Reject] = []
        for event, index in zip(decoded.predictions, decoded.prediction_index, strict=True):
            times = self._times(event.ts, event.arrival, arrival, record_ts)
            if isinstance(times, Reason):
                rejects.append(_reject(times, event.ts, index))
                continue
            rows = _of(self._predictions, f"{event.model}@{event.version}")
            rows.events.append(event)
            rows.order += (*times, offset, index)
            self.rows += 1
        for batch in decoded.columns:
            rejects += self._add_batch(batch, offset, arrival, record_ts)
        if decoded.labels:
            rejects += self._add_labels(decoded, offset, arrival, record_ts, rejects)
        return rejects

    def add_frame(self, frame: Frame) -> None:
        """Takes rows that are a frame already, their arrivals and order columns included."""
        self._hold(frame)
        self.rows += frame.n

    def frames(self) -> dict[int, list[Frame]]:
        """The rows added since the last call: per shard, a frame per subject and kind."""
        for subject, rows in self._predictions.items():
            self._hold(self._prediction_frame(subject, rows))
        for subject, rows in self._labels.items():
            self._hold(self._label_frame(subject, rows))
        whole = [concat(parts) for parts in self._frames.values()]
        self._predictions, self._labels, self._frames, self.rows = {}, {}, {}, 0
        out: dict[int, list[Frame]] = {}
        for frame in whole:
            for shard, part in split(frame, self.shards):
                out.setdefault(shard, []).append(part)
        return out

    def _hold(self, frame: Frame) -> None:
        self._frames.setdefault((frame.subject, frame.kind), []).append(frame)

    def _times(
        self, ts: int | None, own: int | None, arrival: int | None, record_ts: int | None
    ) -> tuple[int, int] | Reason:
        """(ts, arrival) of one row, its arrival made monotone, or why it is refused."""
        if arrival is None:
            arrival = ts if own is None else own
            if arrival is None:
                return Reason.NO_TS
        if self.reached is None or arrival > self.reached:
            self.reached = arrival
        if ts is None:
            ts = arrival if record_ts is None else record_ts
        if ts > arrival + MAX_AHEAD_MS:
            return Reason.CLOCK_AHEAD
        return ts, self.reached

    def _add_labels(
        self,
        decoded: Decoded,
        offset: int,
        arrival: int | None,
        record_ts: int | None,
        before: list[Reject],
    ) -> list[Reject]:
        labels = decoded.labels
        models = {label.model for label in labels}
        reached = None
        if len(labels) > 1 and len(models) == 1 and not before:
            reached = self._all_at_once([label.ts for label in labels], arrival)
        if reached is not None:
            rows = _of(self._labels, f"{models.pop() or ''}@")
            rows.labels += labels
            for label, index in zip(labels, decoded.label_index, strict=True):
                rows.order += (label.ts or 0, reached, offset, index)
            self.rows += len(labels)
            return []
        rejects: list[Reject] = []
        refused = {reject.index for reject in before}
        for label, index in zip(decoded.labels, decoded.label_index, strict=True):
            if index in refused:
                continue  # an outcome whose prediction was refused is one dead letter, not two
            times = self._times(label.ts, label.arrival, arrival, record_ts)
            if isinstance(times, Reason):
                rejects.append(_reject(times, label.ts, index))
                continue
            rows = _of(self._labels, f"{label.model or ''}@")
            rows.labels.append(label)
            rows.order += (*times, offset, index)
            self.rows += 1
        return rejects

    def _add_batch(
        self, batch: PredictionColumns, offset: int, arrival: int | None, record_ts: int | None
    ) -> list[Reject]:
        reached = self._all_at_once(batch.ts, arrival)
        if reached is not None:
            self._hold_batch(batch, self._order_of(batch.ts, reached, offset, batch.index))
            return []
        rejects: list[Reject] = []
        kept: list[int] = []
        order: list[int] = []
        own = batch.arrival or [None] * batch.n
        for row, (ts, index) in enumerate(zip(batch.ts, batch.index, strict=True)):
            times = self._times(ts, own[row], arrival, record_ts)
            if isinstance(times, Reason):
                rejects.append(_reject(times, ts, index))
            else:
                kept.append(row)
                order += (*times, offset, index)
        if not kept:
            return rejects
        self._hold_batch(batch, self._order_columns(order), kept if rejects else None)
        return rejects

    def _hold_batch(
        self, batch: PredictionColumns, order: dict[str, Column], kept: list[int] | None = None
    ) -> None:
        columns = _batch_columns(batch)
        n = batch.n
        if kept is not None:
            n, rows = len(kept), np.array(kept)
            columns = {name: column.take(rows) for name, column in columns.items()}
        subject = f"{batch.model}@{batch.version}"
        self._hold(Frame(subject, "prediction", n, columns | order))
        self.rows += n

    def _all_at_once(self, times: Sequence[int | None], arrival: int | None) -> int | None:
        """The arrival of all rows of a message, if nothing else has to be looked at row by row."""
        if arrival is None or set(map(type, times)) != {int}:
            return None
        if max(times) > arrival + MAX_AHEAD_MS:  # type: ignore[type-var,operator]  # all are int
            return None
        if self.reached is None or arrival > self.reached:
            self.reached = arrival
        return self.reached

    def _order_of(
        self, ts: Sequence[int | None], arrival: int, offset: int, index: Sequence[int]
    ) -> dict[str, Column]:
        """The order columns of the rows of one message."""
        n = len(ts)
        numbers = {
            "ts": np.array(ts, np.int64),
            "arrival": np.full(n, arrival, np.int64),
            "source": np.full(n, self.source, np.int64),
            "offset": np.full(n, offset, np.int64),
            "index": np.array(index, np.int64),
        }
        return {name: Column(data) for name, data in numbers.items()}

    def _order_columns(self, order: list[int]) -> dict[str, Column]:
        matrix = np.array(order, dtype=np.int64).reshape(-1, 4)
        ts, arrival, offset, index = (np.ascontiguousarray(matrix[:, i]) for i in range(4))
        return {
            "ts": Column(ts),
            "arrival": Column(arrival),
            "source": Column(np.full(len(matrix), self.source, dtype=np.int64)),
            "offset": Column(offset),
            "index": Column(index),
        }

    def _prediction_frame(self, subject: str, rows: _Rows) -> Frame:
        events = rows.events
        ids = [event.prediction_id for event in events]
        columns = {"id": Column(id_hashes(ids))}
        columns |= self._order_columns(rows.order)
        unsupported = {i: event.unsupported for i, event in enumerate(events) if event.unsupported}
        columns |= feature_columns(transpose([e.features for e in events]))
        columns |= _unsupported_columns(unsupported, len(events))
        columns |= class_columns("prediction", [event.prediction for event in events])
        columns |= _score_columns([event.scores for event in events])
        columns |= segment_columns(transpose([e.segments or {} for e in events]))
        for name, values in transpose([e.attributions or {} for e in events]).items():
            columns[f"a:{name}"] = number_column(values)
        latency = [event.latency_ms for event in events]
        if any(value is not None for value in latency):
            columns["latency_ms"] = number_column(latency)
        return Frame(subject, "prediction", len(events), columns)

    def _label_frame(self, subject: str, rows: _Rows) -> Frame:
        ids = [label.prediction_id for label in rows.labels]
        columns = {"id": Column(id_hashes(ids))}
        columns |= self._order_columns(rows.order)
        columns |= class_columns("label", [label.label for label in rows.labels])
        origins = [label.source for label in rows.labels]
        if any(origin is not None for origin in origins):
            columns["label_source"] = text_column(origins)
        return Frame(subject, "label", len(ids), columns)


def _batch_columns(batch: PredictionColumns) -> dict[str, Column]:
    ids = batch.prediction_id
    columns = {"id": Column(id_hashes(ids))}
    columns |= feature_columns(batch.features)
    by_row: dict[int, dict[str, int]] = {}
    for name, rows in batch.unsupported.items():
        for row, length in rows.items():
            by_row.setdefault(row, {})[name] = length
    columns |= _unsupported_columns(by_row, batch.n)
    columns |= class_columns("prediction", batch.prediction)
    if isinstance(batch.scores, dict):
        columns |= {f"s:{name}": number_column(v) for name, v in batch.scores.items()}
    elif batch.scores is not None:
        columns["score"] = number_column(batch.scores)
    columns |= segment_columns(batch.segments)
    columns |= {f"a:{name}": number_column(v) for name, v in batch.attributions.items()}
    if batch.latency_ms is not None:
        columns["latency_ms"] = number_column(batch.latency_ms)
    return columns


def _score_columns(scores: list[dict[str, float] | float | None]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    by_class = [s if isinstance(s, dict) else {} for s in scores]
    if any(by_class):
        columns = {f"s:{name}": number_column(v) for name, v in transpose(by_class).items()}
    positive = [None if isinstance(s, dict) else s for s in scores]
    if any(value is not None for value in positive):
        columns["score"] = number_column(positive)
    return columns


def _unsupported_columns(by_row: dict[int, dict[str, int]], n: int) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for row, lengths in by_row.items():
        for name, length in lengths.items():
            column = columns.get(f"u:{name}")
            if column is None:
                column = Column(np.zeros(n, np.int64), np.zeros(n, bool))
                columns[f"u:{name}"] = column
            column.data[row] = length
            column.mask[row] = True
    return columns


def _of(rows: dict[str, _Rows], subject: str) -> _Rows:
    found = rows.get(subject)
    if found is None:
        found = rows[subject] = _Rows()
    return found


def _reject(reason: Reason, ts: int | None, index: int | None) -> Reject:
    if reason is Reason.NO_TS:
        return Reject(reason, "neither `ts` nor `arrival`; a replayed row needs one of them", index)
    return Reject(reason, f"ts {ts} is more than five minutes after its arrival", index)

"""Bytes to events and back: the only place that knows how events look as JSON.

A message is read twice at most. `driftline.wire` (and `columnar`) reads it in C and takes what is
beyond doubt; anything else goes through `driftline.exact` (and `exact_columns`), which finds the
bad rows, their reasons, and what can be kept.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from driftline import columnar, exact, exact_columns, rules, wire
from driftline.errors import ContractError
from driftline.events import Decoded, LabelEvent, PredictionEvent, Reject
from driftline.rules import MAX_MESSAGE_BYTES, MAX_ROWS, Reason, class_text, is_name
from driftline.wire import Message, Row, Shared

__all__ = ["Decoded", "Reject", "class_text", "decode", "encode"]

_BATCHES = ("predictions", "labels", "columns")
_BATCH_FIELDS = frozenset(
    {*_BATCHES, "model", "version", "ts", "source", "arrival", "invalid", "client_dropped"}
)
_OF_ROWS = tuple(field for field in Row.__struct_fields__ if field not in _BATCH_FIELDS)


def decode(value: bytes) -> Decoded:
    """What a message of `driftline.predictions` or `driftline.labels` holds.

    Either topic may carry predictions, labels and outcomes, single, as rows or as columns. Never
    raises for bad content: bad rows, or the whole message, are in `rejects`, each with its reason.

    Args:
        value: the record's value, decompressed; a tombstone (None) is the caller's to count.
    """
    if len(value) > MAX_MESSAGE_BYTES:
        detail = f"{len(value)} bytes; write at most {MAX_MESSAGE_BYTES}, in smaller batches"
        return _rejected(Reason.TOO_LARGE, detail)
    try:
        message = wire.message_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_exactly(value)  # which finds out why
    out = Decoded(client_dropped=message.client_dropped)
    return out if _take(out, message) else _decode_exactly(value)


def _rejected(reason: str, detail: str) -> Decoded:
    return Decoded(rejects=[Reject(Reason(reason), detail)])


def _take(out: Decoded, message: Message) -> bool:
    """Add all that a message holds to `out`; False: in doubt, and `out` is void."""
    if message.predictions is None and message.labels is None and message.columns is None:
        return wire.take(out, message, 0, wire.NOTHING)
    shared = _shared(message)
    if shared is None or any(getattr(message, field) is not None for field in _OF_ROWS):
        return False
    if message.invalid:
        wire.count_invalid(out, message.invalid)
    predictions, labels = message.predictions or [], message.labels or []
    if message.columns is not None:
        alone = message.predictions is None and message.labels is None
        return alone and columnar.take(out, message.columns, shared)
    if len(predictions) + len(labels) > MAX_ROWS:
        return False
    return all(
        wire.take(out, row, i, shared, "prediction") for i, row in enumerate(predictions)
    ) and all(
        wire.take(out, row, i, shared, "label") for i, row in enumerate(labels, len(predictions))
    )


def _shared(message: Message) -> Shared | None:
    """What the rows of a batch share, None where it is in doubt."""
    for text in (message.model, message.version):
        if text is not None and not is_name(text):
            return None
    ts = message.ts
    if isinstance(ts, str):
        ts = rules.iso_ms(ts)
        if ts is None or ts < 0:
            return None
    return Shared(message.model, message.version, ts, message.source, message.arrival)


def _decode_exactly(value: bytes) -> Decoded:
    if not value:
        return _rejected(Reason.EMPTY, "the value is empty")
    out = Decoded()
    try:
        _read(out, exact.parse(value))
    except ContractError as error:
        return _rejected(error.reason, error.detail)
    except OverflowError:
        return _rejected(Reason.NOT_JSON, "a number is outside float64")
    return out


def _read(out: Decoded, message: Any) -> None:  # any JSON value
    """Add all that can be kept of a message to `out`. Raises: ContractError if that is nothing."""
    if not isinstance(message, dict):
        advice = 'send a batch as {"predictions": [...]}'
        raise ContractError(
            Reason.WRONG_TYPE, f"a message is one object, not {exact.kind(message)}; {advice}"
        )
    dropped = message.pop("client_dropped", None)
    if isinstance(dropped, int) and not isinstance(dropped, bool) and dropped >= 0:
        out.client_dropped = dropped
    else:
        out.unknown_fields += dropped is not None
    forms = [form for form in _BATCHES if message.get(form) is not None]
    if not forms:
        exact.read(
            out, {k: v for k, v in message.items() if k not in _BATCHES}, 0, wire.NOTHING, None
        )
        return
    out.unknown_fields += sum(
        v is not None if k in _OF_ROWS else k not in _BATCH_FIELDS for k, v in message.items()
    )
    exact.add_invalid(out, message.get("invalid"))
    shared = _read_shared(out, message)
    if forms == ["columns"]:
        exact_columns.read(out, message["columns"], shared)
    elif "columns" in forms:
        raise ContractError(Reason.WRONG_TYPE, "columns and rows need a message each")
    else:
        _read_rows(out, {form: message[form] for form in forms}, shared)


def _read_shared(out: Decoded, message: dict[str, Any]) -> Shared:
    """What the rows of a batch share."""
    given = {k: v for k, v in message.items() if v is not None}
    return Shared(
        rules.name(given["model"], "model") if "model" in given else None,
        rules.name(given["version"], "version") if "version" in given else None,
        rules.ts(given["ts"]) if "ts" in given else None,
        exact.text(given["source"], "source") if "source" in given else None,
        exact.arrival(out, given.get("arrival")),
    )


def _read_rows(out: Decoded, lists: dict[str, Any], shared: Shared) -> None:
    """Add the good rows of a batch to `out`, and the bad ones as rejects."""
    for form, rows in lists.items():
        if not isinstance(rows, list):
            raise ContractError(
                Reason.WRONG_TYPE, f"{form} must be an array of events, not {exact.kind(rows)}"
            )
    n = sum(map(len, lists.values()))
    if n > MAX_ROWS:
        raise ContractError(Reason.TOO_MANY_ROWS, f"{n} rows; write at most {MAX_ROWS}")
    index = 0
    for form, rows in lists.items():
        need = form.removesuffix("s")
        for row in rows:
            _read_row(out, row, index, shared, need)
            index += 1


def _read_row(out: Decoded, row: Any, index: int, shared: Shared, need: str) -> None:
    try:
        if wire.take(out, msgspec.convert(row, Row), index, shared, need):
            return
    except msgspec.ValidationError:
        pass  # the exact path says what it is
    try:
        exact.read(out, row, index, shared, need)
    except ContractError as error:
        out.rejects.append(Reject(Reason(error.reason), error.detail, index))


def encode(event: PredictionEvent | LabelEvent) -> bytes:
    """One event as a message of its own, fields at their defaults left out.

    Raises: orjson.JSONEncodeError for what JSON cannot say (lone surrogates, integers over 64
        bits); NaN and infinities become null.
    """
    fields = msgspec.structs.asdict(event)
    fields.pop("unsupported", None)  # their values are gone
    always = ("prediction_id", "label" if isinstance(event, LabelEvent) else "prediction")
    return orjson.dumps({k: v for k, v in fields.items() if k in always or v not in (None, {})})

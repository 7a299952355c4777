"""Messages that are bad as a whole: each has its reason, and none raises."""

from __future__ import annotations

import json

import pytest

from driftline.codec import decode
from driftline.rules import MAX_MESSAGE_BYTES, Reason

EVENT = b'{"prediction_id":"a","model":"m","version":"v","prediction":%b}'
FEATURE = b'{"prediction_id":"a","model":"m","version":"v","prediction":1,"features":{"x":%b}}'
UNKNOWN = b'{"prediction_id":"a","model":"m","version":"v","prediction":1,"colour":%b}'
BOMB = b"[" * 500_000


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.EMPTY),
        (b" ", Reason.NOT_JSON),
        (b"hello", Reason.NOT_JSON),
        (b'{"prediction_id":', Reason.NOT_JSON),
        (b'{"prediction_id":"a",}', Reason.NOT_JSON),
        (b"{'prediction_id':'a'}", Reason.NOT_JSON),
        (b"\x00", Reason.NOT_JSON),
        (b"\xef\xbb\xbf{}", Reason.NOT_JSON),
        (EVENT % b'"a"' + b"{}", Reason.NOT_JSON),
        (EVENT % b'"\\ud800"', Reason.NOT_JSON),
        (FEATURE % b'"\\ud800 x"', Reason.NOT_JSON),
        (EVENT % b'"\xff"', Reason.NOT_UTF8),
        (FEATURE % b'"\xe9"', Reason.NOT_UTF8),
        (UNKNOWN % b'"\xed\xa0\x80"', Reason.NOT_UTF8),
        (b"\xff\xfe\x00", Reason.NOT_UTF8),
        ('{"prediction_id":"a"}'.encode("utf-16"), Reason.NOT_UTF8),
        (b"[]", Reason.WRONG_TYPE),
        (b"[{}]", Reason.WRONG_TYPE),
        (b'"text"', Reason.WRONG_TYPE),
        (b"7", Reason.WRONG_TYPE),
        (b"null", Reason.WRONG_TYPE),
        (b"true", Reason.WRONG_TYPE),
        (b"{}", Reason.MISSING_FIELD),
        (BOMB, Reason.TOO_DEEP),
        (b'{"a":' * 100_000, Reason.TOO_DEEP),
        (FEATURE % BOMB, Reason.TOO_DEEP),
        (UNKNOWN % (b"[" * 100 + b"]" * 100), Reason.TOO_DEEP),
        (b" " * (MAX_MESSAGE_BYTES + 1), Reason.TOO_LARGE),
        (EVENT % (b'"' + b"x" * (2 << 20) + b'"'), Reason.TOO_LARGE),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_message_has_one_reason(value, reason):
    decoded = decode(value)
    (reject,) = decoded.rejects
    assert (reject.reason, reject.index) == (reason, None)
    assert reject.detail
    assert len(reject.detail) < 300
    assert decoded.predictions == decoded.labels == decoded.columns == []


@pytest.mark.parametrize("template", [EVENT, FEATURE, UNKNOWN])
@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_nan_infinity_and_numbers_outside_float64_are_not_json(template, literal):
    (reject,) = decode(template % literal).rejects
    assert reject.reason == Reason.NOT_JSON
    if b"N" in literal or b"I" in literal:
        assert "write null" in reject.detail


@pytest.mark.parametrize("digits", [309, 400, 5000])
@pytest.mark.parametrize("template", [EVENT, FEATURE])
def test_integers_outside_float64_are_not_json(template, digits):
    (reject,) = decode(template % (b"9" * digits)).rejects
    assert reject.reason == Reason.NOT_JSON


def test_one_such_number_condemns_its_batch_as_broken_json_would():
    huge = b"9" * 400
    rows = b'{"predictions":[%b,%b]}' % (EVENT % b"1", FEATURE % huge)
    columns = (
        b'{"model":"m","version":"v","columns":'
        b'{"prediction_id":["a"],"prediction":[1],"features":{"x":[%b]}}}' % huge
    )
    for value in (rows, columns):
        decoded = decode(value)
        assert [r.reason for r in decoded.rejects] == [Reason.NOT_JSON]
        assert decoded.predictions == decoded.columns == []


def test_large_integers_within_float64_are_numbers():
    (event,) = decode(FEATURE % b"123456789012345678901234567890").predictions
    assert event.features == {"x": 1.2345678901234568e29}


def test_a_number_too_small_for_float64_is_zero():
    assert decode(FEATURE % b"1e-999").predictions[0].features == {"x": 0.0}


def test_64_levels_are_read_and_the_feature_alone_is_unsupported():
    nested = b"[" * 62 + b"]" * 62  # inside the event and its features
    (event,) = decode(FEATURE % nested).predictions
    assert event.unsupported == {"x": -1}
    assert decode(FEATURE % (b"[" + nested + b"]")).rejects[0].reason == Reason.TOO_DEEP


def test_the_depth_limit_does_not_depend_on_how_deep_the_caller_is():
    def deeper(n: int) -> list[str]:
        if n:
            return deeper(n - 1)
        return [r.reason for d in (63, 65, 700) for r in decode(UNKNOWN % nest(d)).rejects]

    def nest(d: int) -> bytes:
        return b"[" * d + b"]" * d

    assert deeper(0) == deeper(500) == [Reason.TOO_DEEP] * 2


def test_a_message_of_exactly_one_mebibyte_is_read():
    padding = MAX_MESSAGE_BYTES - len(EVENT % b"1")
    assert decode(EVENT % b"1" + b" " * padding).rejects == []
    assert decode(EVENT % b"1" + b" " * (padding + 1)).rejects[0].reason == Reason.TOO_LARGE


def test_many_brackets_inside_a_text_are_just_a_text():
    assert decode(json.dumps("[" * 1000).encode()).rejects[0].reason == Reason.WRONG_TYPE
    (event,) = decode(FEATURE % json.dumps("[" * 1000).encode()).predictions
    assert event.unsupported == {"x": 1000}

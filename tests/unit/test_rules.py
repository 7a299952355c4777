"""The scalar rules of contract.md: times, names, ids, class texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline import rules
from driftline.errors import ContractError
from driftline.rules import Reason, bounded, class_text, iso_ms, rfc3339


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (1_793_500_000_123, 1_793_500_000_123),
        (10**11, 10**11),
        (10**14, 10**14),
        (1_793_500_000_123.0, 1_793_500_000_123),  # JSON: an integer may be written 1.0
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-01T10:30:00Z", 1_793_529_000_000),
        ("2026-11-01T10:30:00.5Z", 1_793_529_000_500),
        ("2026-11-01T10:30:00.123456789Z", 1_793_529_000_123),
        ("2026-11-01T10:30:00.123+02:00", 1_793_521_800_123),
        ("2026-11-01t10:30:00-09:30", 1_793_563_200_000),
        ("2026-11-01 10:30:00z", 1_793_529_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),  # a leap second is the next minute's first
    ],
)
def test_a_time_is_milliseconds_or_rfc3339_with_an_offset(value, ms):
    assert rules.ts(value) == ms


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (1_793_500_000, "seconds: multiply by 1000"),
        (10**11 - 1, "seconds"),
        (0, "seconds"),
        (-1_793_500_000_123, "seconds"),
        (10**14 + 1, "micro- or nanoseconds"),
        (1_793_500_000_123_456, "micro- or nanoseconds"),
        (1_793_500_000_123_456_789, "micro- or nanoseconds"),
        (10**400, "micro- or nanoseconds"),
        (1_793_500_000.5, "must be integer milliseconds"),
        (True, "must be integer milliseconds"),
        ([1_793_500_000_123], "must be integer milliseconds"),
        ("2026-11-01T10:30:00", "has no offset: end it with Z"),
        ("2026-11-01T10:30:00.123", "has no offset"),
        ("0001-01-01T00:00:00Z", "before 1970"),
        ("1969-12-31T23:59:59Z", "before 1970"),
        ("2026-11-01", "not RFC 3339"),
        ("2026-11-01T10:30Z", "not RFC 3339"),
        ("2026-13-01T10:30:00Z", "not RFC 3339"),
        ("2026-02-30T10:30:00Z", "not RFC 3339"),
        ("2026-11-01T24:00:00Z", "not RFC 3339"),
        ("2026-11-01T10:60:00Z", "not RFC 3339"),
        ("2026-11-01T10:30:61Z", "not RFC 3339"),
        ("2026-11-01T10:30:00.Z", "not RFC 3339"),
        ("2026-11-01T10:30:00,5Z", "not RFC 3339"),
        ("2026-11-01T10:30:00+0200", "not RFC 3339"),
        ("2026-11-01T10:30:00+24:00", "not RFC 3339"),
        ("20261101T103000Z", "not RFC 3339"),
        ("2026-W44-7T10:30:00Z", "not RFC 3339"),
        ("\uff12\uff10\uff12\uff16-11-01T10:30:00Z", "not RFC 3339"),
        ("2026-11-01T10:30:00Z\n", "not RFC 3339"),
        ("1793500000123", "not RFC 3339"),
        ("", "not RFC 3339"),
    ],
)
def test_other_times_are_rejected_with_what_to_write(value, advice):
    with pytest.raises(ContractError, match=advice) as caught:
        rules.ts(value)
    assert caught.value.reason == Reason.BAD_TS
    assert len(str(caught.value)) < 200


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_times_are_read_as_the_standard_library_reads_them(naive, offset):
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset)))
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert iso_ms(moment.isoformat()) == expected


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_time_written_reads_back_and_sorts_as_text(ms):
    text = rfc3339(ms)
    assert iso_ms(text) == ms
    assert len(text) == 24
    assert (rfc3339(0) <= text) == (ms >= 0)


@given(st.text())
def test_no_text_breaks_the_time_reader(text):
    ms = iso_ms(text)
    assert ms is None or isinstance(ms, int)


@pytest.mark.parametrize("name", ["fraud", "a", "2026-11-01", "team/x:1.0_b", "A" * 64, "1.10"])
def test_a_name_is_letters_digits_and_a_few_signs(name):
    assert rules.name(name, "model") == name
    assert rules.is_name(name)


@pytest.mark.parametrize("name", ["", "A" * 65, "naïve", "a b", "a@b", "a\n", "a|b", "\x00"])
def test_other_names_are_rejected(name):
    assert not rules.is_name(name)
    with pytest.raises(ContractError) as caught:
        rules.name(name, "version")
    assert caught.value.reason == Reason.BAD_VERSION


def test_names_that_begin_with_an_underscore_are_reserved():
    assert not rules.is_name("_driftline")
    with pytest.raises(ContractError, match="reserved") as caught:
        rules.name("_driftline", "model")
    assert caught.value.reason == Reason.RESERVED_NAME


def test_a_numeric_version_is_never_cast():
    with pytest.raises(ContractError, match="in quotes") as caught:
        rules.name(1.10, "version")
    assert caught.value.reason == Reason.BAD_VERSION


def test_the_memory_of_good_names_is_bounded():
    for i in range(10_050):
        assert rules.is_name(f"m{i}")
    assert len(rules._KNOWN_NAMES) <= 10_000
    assert rules.is_name("m0")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (0, "0"),
        (-0.0, "0"),
        (-1, "-1"),
        (0.1, "0.1"),
        (1.5e300, str(int(1.5e300))),
        (1e22, "1" + "0" * 22),
        (10**22, "1" + "0" * 22),
        (2**53 + 1, "9007199254740993"),
        ("true", "true"),
        ("True", "True"),  # strings stay
        ("1.0", "1.0"),
        ("", ""),  # an empty string is a class like any other
        (" a ", " a "),
        ("a\x00b", "a\x00b"),
    ],
)
def test_classes_are_compared_as_text(value, text):
    assert class_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_equal_numbers_are_equal_classes(x):
    assert float(class_text(x)) == x
    if x.is_integer():
        assert class_text(x) == class_text(int(x))


@given(st.text(max_size=600), st.text(max_size=600))
def test_bounded_texts_are_equal_just_when_the_texts_are(a, b):
    assert len(bounded(a)) <= 256
    assert (bounded(a) == bounded(b)) == (a == b)
    assert bounded(bounded(a)) == bounded(a)


def test_long_texts_that_differ_at_their_end_stay_different():
    a, b = "x" * 1000 + "a", "x" * 1000 + "b"
    assert bounded(a) != bounded(b)
    assert len(bounded(a)) == 256
    assert bounded("y" * 256) == "y" * 256


def test_error_details_are_short():
    assert len(rules.clip("x" * 10_000)) == 60
    assert rules.clip(10**5000) == "a huge number"

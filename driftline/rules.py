"""The contract's limits, reasons and scalar rules: what one value of an event may be.

Everything that says yes or no to a value stands here once; `driftline.codec` applies it to bytes,
`driftline.schema` writes it down for other languages.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b

from driftline.errors import ContractError

MAX_MESSAGE_BYTES = 1 << 20
"""A source message after decompression; a larger one is a dead letter (`too_large`)."""
MAX_ROWS = 20_000
MAX_DEPTH = 64
"""Levels of nesting in one message; beyond, it is a dead letter (`too_deep`)."""
MAX_ID_CHARS = 128
MAX_NAME_CHARS = 64
MAX_TEXT_CHARS = 256
MAX_FEATURES = 500
MIN_TS_MS = 10**11
"""Smallest integer that is milliseconds; below it is seconds."""
MAX_TS_MS = 10**14
"""Largest integer that is milliseconds; above it is micro- or nanoseconds."""
MAX_AHEAD_MS = 5 * 60 * 1000
"""How far a row's `ts` may lie beyond its arrival before it is `clock_ahead`."""
SCORE_SLACK = 1e-6
"""A score this little outside [0, 1] is rounding (float32 softmax) and is clipped."""

NAME_PATTERN = r"[A-Za-z0-9._:/-]{1,64}"
RESERVED_PREFIX = "_"


class Reason(StrEnum):
    """Why a message or a row became a dead letter; a bounded label of Prometheus series."""

    EMPTY = "empty"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    TOO_MANY_ROWS = "too_many_rows"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    BAD_ID = "bad_id"
    BAD_MODEL = "bad_model"
    BAD_VERSION = "bad_version"
    RESERVED_NAME = "reserved_name"
    BAD_TS = "bad_ts"
    CLOCK_AHEAD = "clock_ahead"
    NO_TS = "no_ts"
    BAD_PREDICTION = "bad_prediction"
    BAD_SCORES = "bad_scores"
    BAD_LABEL = "bad_label"
    BAD_COMMAND = "bad_command"
    UNEQUAL_COLUMNS = "unequal_columns"


_NAME = re.compile(f"(?!{RESERVED_PREFIX}){NAME_PATTERN}")
_KNOWN_NAMES: set[str] = set()
_KNOWN_NAMES_LIMIT = 10_000


def is_name(text: str) -> bool:
    """Whether a text may name a model or a version in an event: the pattern, and not reserved.

    Good names are remembered (a stream repeats few of them), so the usual answer is one lookup.
    """
    if text in _KNOWN_NAMES:
        return True
    good = _NAME.fullmatch(text) is not None
    if good:
        if len(_KNOWN_NAMES) >= _KNOWN_NAMES_LIMIT:
            _KNOWN_NAMES.clear()
        _KNOWN_NAMES.add(text)
    return good


def name(value: object, field: str) -> str:
    """The value of `model` or `version`, checked. Raises: ContractError with what to write."""
    reason = Reason.BAD_MODEL if field == "model" else Reason.BAD_VERSION
    if value is None:
        raise ContractError(Reason.MISSING_FIELD, f"{field} is missing")
    if not isinstance(value, str):
        raise ContractError(
            reason, f'{field} must be a string: write "{clip(value)}" in quotes, 1.10 is not 1.1'
        )
    if value.startswith(RESERVED_PREFIX):
        raise ContractError(
            Reason.RESERVED_NAME, f"{field} {clip(value)!r}: names that begin with _ are reserved"
        )
    if not is_name(value):
        raise ContractError(
            reason,
            f"{field} {clip(value)!r}: use 1 to {MAX_NAME_CHARS} of letters, digits and . _ : / -",
        )
    return value


def prediction_id(value: object) -> str:
    """The join key, checked: a string of 1 to 128 characters, any characters."""
    if value is None:
        raise ContractError(Reason.MISSING_FIELD, "prediction_id is missing")
    if not isinstance(value, str):
        raise ContractError(
            Reason.BAD_ID, f'prediction_id must be a string: write "{clip(value)}" in quotes'
        )
    if not 1 <= len(value) <= MAX_ID_CHARS:
        raise ContractError(
            Reason.BAD_ID, f"prediction_id has {len(value)} characters; write 1 to {MAX_ID_CHARS}"
        )
    return value


def ts(value: object) -> int:
    """Event time in ms since the epoch, from an integer of milliseconds or an RFC 3339 string.

    Raises: ContractError(BAD_TS) for seconds, micro- and nanoseconds, naive or malformed times.
    """
    if isinstance(value, str):
        ms = iso_ms(value)
        if ms is None or ms < 0:
            raise ContractError(Reason.BAD_TS, _iso_advice(value, ms))
        return ms
    if isinstance(value, float) and value.is_integer():  # JSON: 1.0 is the integer 1
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ContractError(
            Reason.BAD_TS, f"ts {clip(value)} must be integer milliseconds or an RFC 3339 string"
        )
    if not MIN_TS_MS <= value <= MAX_TS_MS:
        unit = "seconds: multiply by 1000" if value < MIN_TS_MS else "micro- or nanoseconds: divide"
        raise ContractError(
            Reason.BAD_TS, f"ts {clip(value)} is not milliseconds since 1970; it looks like {unit}"
        )
    return value


def _iso_advice(text: str, ms: int | None) -> str:
    shown = f"ts {clip(text)!r}"
    if ms is not None:
        return f"{shown} lies before 1970: an unset time, probably; leave ts out"
    if iso_ms(text + "Z") is not None:
        return f"{shown} has no offset: end it with Z or +00:00"
    return f"{shown} is not RFC 3339: write it as 2026-11-01T10:30:00.123Z"


_SECONDS = {f"{s:02d}": s * 1000 for s in range(61)}  # 60: a leap second is the next minute's first
_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):", re.ASCII)
_TAIL = re.compile(r"(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII)


def iso_ms(text: str) -> int | None:
    """Ms since the epoch of an RFC 3339 date-time, cut to the millisecond; None if it is not one.

    A stream repeats its minutes and its fractions, so both ends are looked up, not parsed.
    """
    minute, second, tail = _minute(text[:17]), _SECONDS.get(text[17:19]), _tail(text[19:])
    if minute is None or second is None or tail is None:
        return None
    return minute + second + tail


@lru_cache(maxsize=4096)
def _minute(text: str) -> int | None:
    match = _MINUTE.fullmatch(text)
    if match is None:
        return None
    try:
        day = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:  # 30 February, year 0
        return None
    return round(day.timestamp()) * 1000 + int(match[2]) * 3_600_000 + int(match[3]) * 60_000


@lru_cache(maxsize=8192)
def _tail(text: str) -> int | None:
    match = _TAIL.fullmatch(text)
    if match is None:
        return None
    fraction, sign, hours, minutes = match.groups()
    ms = int(fraction[:3].ljust(3, "0")) if fraction else 0
    if sign is None:
        return ms
    offset = int(hours) * 3_600_000 + int(minutes) * 60_000
    return ms + offset if sign == "-" else ms - offset


def rfc3339(ms: int) -> str:
    """The time as `2026-11-01T10:30:00.123Z`: UTC, three decimals, so text order is time order.

    Raises: ValueError or OverflowError outside the years 1 to 9999.
    """
    whole, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC).isoformat()[:19]}.{rest:03d}Z"


def bounded(text: str) -> str:
    """The text, or for one over 256 characters its beginning and a digest, 256 characters in all.

    For classes, segments and names, which are compared: two bounded texts are equal just when the
    texts are (short of a collision of 128-bit digests), and no event is lost for a long word.
    """
    if len(text) <= MAX_TEXT_CHARS:
        return text
    digest = blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{text[: MAX_TEXT_CHARS - 33]}…{digest}"


def class_text(value: str | bool | float) -> str:
    """A class as the text by which classes are compared.

    true is `true`; 1, 1.0 and "1" are `1`; -0.0 is `0`; other numbers are the shortest text that
    reads back as the same float64; strings stay as they are ("1.0" and "True" too), also empty.
    """
    if isinstance(value, str):
        return bounded(value)
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() else repr(value)


def clip(value: object, limit: int = 60) -> str:
    """A value shown in an error message, shortened: details go to logs and headers."""
    text = str(value) if not isinstance(value, int) or abs(value) < 10**limit else "a huge number"
    return text if len(text) <= limit else text[: limit - 1] + "…"

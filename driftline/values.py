"""What serving code hands over, as the plain values the wire can carry.

NumPy scalars, Decimal, datetimes, pandas' NA and NaT, enums, scalars of Arrow, PyTorch and the like
are recognised by what they offer, so none of their packages is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any, Final, TypeAlias
from uuid import UUID

from driftline.rules import ts

Plain: TypeAlias = str | bool | int | float | list[Any] | None
"""A wire value; the list is `UNSUPPORTED`."""

Converter: TypeAlias = Callable[[Any], Plain]

UNSUPPORTED: Final[list[Any]] = []
"""Stands for an array, an object or anything else that is no feature.

An empty array on the wire: it marks the feature as unsupported there without the cost of the rest.
"""

READY: Final = frozenset({str, bool, int, float, type(None)})
"""Types that need no conversion; a float may still be NaN or infinite."""

MISSING_TYPES: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
"""Names of the types of pandas.NA, pandas.NaT and numpy.ma.masked."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CAP = 1_000  # learned types; a program that makes types without end must not leak here
_learned: dict[type, Converter] = {}


def plain(value: Any) -> Plain:
    """`value` as a wire value. Missing markers give None, what has no wire form `UNSUPPORTED`.

    Floats may come back as NaN or infinite: the caller decides what that means. Never raises.
    """
    kind = type(value)
    if kind in READY:
        return value  # type: ignore[no-any-return]  # its type was just looked up
    try:
        converter = _learned.get(kind)
        if converter is None:
            converter = _converter(kind)
            if len(_learned) < _CAP:
                _learned[kind] = converter
        return converter(value)
    except Exception:  # foreign objects raise what they like; serving code must not notice
        return UNSUPPORTED


def _converter(kind: type) -> Converter:
    """How values of this type become wire values."""
    if kind.__name__ in MISSING_TYPES:
        return _missing
    for base, converter in _CONVERTERS:
        if issubclass(kind, base):
            return converter
    if kind.__name__ in {"datetime64", "timedelta64"}:
        return _numpy_time
    if hasattr(kind, "item") and hasattr(kind, "shape"):
        return _scalar
    if hasattr(kind, "as_py"):
        return _arrow_scalar
    return _unsupported


def _missing(_: Any) -> None:
    return None


def _unsupported(_: Any) -> Plain:
    return UNSUPPORTED


def _numpy_time(value: Any) -> Plain:
    return plain(value.astype(f"{type(value).__name__}[us]").item())  # nanoseconds give bare ints


def _scalar(value: Any) -> Plain:
    """The one value of a NumPy bool, a 0-d array, a tensor without dimensions."""
    if value.shape != ():
        return UNSUPPORTED
    item = value.item()
    return UNSUPPORTED if type(item) is type(value) else plain(item)


def _arrow_scalar(value: Any) -> Plain:
    return plain(value.as_py())


def _real(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a Fraction or an integer beyond float64
        return math.inf
    except ValueError:  # Decimal's signalling NaN
        return math.nan


def _datetime_text(value: datetime) -> str:
    """RFC 3339; a naive datetime is taken as UTC."""
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()


# The first that fits wins: NumPy's float64 is a float, a datetime is a date.
_CONVERTERS: Final[tuple[tuple[type, Converter], ...]] = (
    (Enum, lambda value: plain(value.value)),
    (str, str.__str__),
    (float, float.__float__),
    (Integral, int),
    (Real, _real),
    (Decimal, _real),
    (UUID, str),
    (datetime, _datetime_text),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, timedelta.total_seconds),
)


def wire_safe(value: Plain) -> Plain:
    """`value` with what JSON or UTF-8 cannot carry replaced.

    Integers beyond 64 bits become floats (infinite beyond float64), lone surrogates become `?`.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return _real(value)
    return value


def epoch_ms(value: Any) -> int:
    """A time as Unix milliseconds.

    Args:
        value: milliseconds, a datetime of Python, pandas or NumPy (naive: taken as UTC), or
            RFC 3339 text with an offset.

    Raises:
        ContractError: it is none of these, or seconds, micro- or nanoseconds.
    """
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return ts((aware - _EPOCH) // _MILLISECOND)
    value = plain(value)
    # a float of milliseconds comes from a column that once had a missing value
    return ts(int(value) if isinstance(value, float) and math.isfinite(value) else value)


def is_missing(value: Any) -> bool:
    """Whether it is None, NaN, or the missing marker of pandas or of a masked array."""
    if type(value) is float:
        return math.isnan(value)
    return value is None or type(value).__name__ in MISSING_TYPES


def as_id(value: Any) -> tuple[str, Any]:
    """A prediction id as text, and as it is to be sent: integers and UUIDs are taken as their text.

    What cannot be an id is sent as it is, to be refused by the checks of the contract.
    """
    wire = plain(value)
    if isinstance(wire, int) and not isinstance(wire, bool):
        wire = str(wire)
    return (wire, wire) if isinstance(wire, str) else (str(wire), wire)

"""The ledger: one record per decision and per try, on `driftline.notifications`.

What the notifier knows is what these records say: `NotifyState.apply` is the only thing that
changes it, live and at a start alike, so a restart goes on where the ledger ends.

Key: `fingerprint:destination`. A record lies in the partition of its alert, so whoever reads an
alerts partition finds all that was decided about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Literal, Protocol, TypeAlias, get_args

import msgspec
from msgspec import Struct

from driftline.alerts import Alert, decode_alert
from driftline.errors import ContractError
from driftline.rules import Reason, iso_ms, rfc3339

Result: TypeAlias = Literal[
    "waiting",  # will be sent at `due`; carries the alert
    "unmatched",  # no rule of the destination wants it
    "suppressed",  # another alert explains it
    "silenced",  # somebody silenced it; carries the alert, which is told if it outlives that
    "never_told",  # over before anybody was told
    "unwanted",  # the destination wants no `resolved`
    "superseded",  # a newer revision goes out instead
    "acknowledged",  # somebody took it before the escalation was due
    "covered",  # told as part of a digest that is still open
    "passed_on",  # a pager was told that somebody took the incident
    "sending",  # part of the message `message`, about to be tried
    "delivered",
    "retried",  # failed, to be tried again at `due`
    "refused",  # failed for good: dead letter
    "exhausted",  # out of tries or time: dead letter
    "overflow",  # more waits than the destination may have: dead letter
]
RESULTS: tuple[str, ...] = get_args(Result)
TRIES = ("delivered", "retried", "refused", "exhausted")
WITHHELD = tuple(r for r in RESULTS if r not in {*TRIES, "waiting", "sending", "passed_on"})
DEAD = frozenset({"refused", "exhausted", "overflow"})


class Notification(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision about one alert at one destination, or one try to tell it."""

    destination: str
    fingerprint: str
    alert_id: str
    started_at: str
    revision: int
    status: str
    severity: str
    result: Result
    at: str
    partition: int
    """Partition of the alerts topic that the alert came from."""
    cause: str = "alert"
    reminder: str | None = None
    """Id of the reminder, where it is one and not the alert itself."""
    due: str | None = None
    bundle: str | None = None
    """What it waits with: a group, the quiet hours, a storm."""
    message: str | None = None
    """Id of the message: what receivers tell repeats by."""
    size: int = 1
    """Alerts in that message."""
    attempt: int = 0
    latency_ms: int | None = None
    """From the alert's arrival at the notifier to the destination's answer."""
    reference: str | None = None
    """The destination's own name for the message."""
    detail: str = ""
    alert: msgspec.Raw = msgspec.Raw(b"null")
    """The alert as published, while it waits."""

    @property
    def key(self) -> bytes:
        """The record's key."""
        return f"{self.fingerprint}:{self.destination}".encode()

    @property
    def order(self) -> tuple[int, int]:
        """As `Alert.order`."""
        return iso_ms(self.started_at) or 0, self.revision

    @property
    def raw(self) -> bytes:
        """The alert's bytes; `null` where it carries none."""
        return bytes(self.alert)

    def carried(self) -> Alert | None:
        """The alert it carries. Raises: ContractError."""
        return None if self.raw == b"null" else decode_alert(self.raw)


class Ledger(Protocol):
    """Where records are kept."""

    async def write(self, records: Sequence[Notification]) -> None:
        """Returns when all are safe; raises if one is not."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Notification)


def encode(record: Notification) -> bytes:
    """The record as JSON."""
    return _encoder.encode(record)


def decode(value: bytes) -> Notification:
    """A record from its bytes. Raises: ContractError."""
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(Reason.WRONG_TYPE, str(error)) from error


def stamp(seconds: float) -> str:
    """A wall-clock time as the ledger writes it, cut to the millisecond."""
    return rfc3339(max(0, floor(seconds * 1000)))


def seconds(text: str | None) -> float:
    """The time that `stamp` wrote; 0 where there is none."""
    return (iso_ms(text) or 0) / 1000 if text else 0.0

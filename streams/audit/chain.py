"""Entries of the audit trail and the chain of hashes over them. Pure: no Kafka, no clock.

Each source log partition (`driftline.alerts/2`) has a chain of its own. An entry is a function of
the source record and the entry before it, so a recorder that starts again writes the same bytes
again, and two recorders can never disagree without it being seen.

    digest = SHA-256(body)                  body: what happened, as canonical JSON
    hash   = SHA-256(previous hash + digest)

The hash takes the body's digest rather than the body, so that an export can leave other people's
entries out (a stub keeps digest and hash) and still be checked from end to end.

Source: Haber & Stornetta 1991, "How to time-stamp a digital document", Journal of Cryptology 3 (2):
    linking; the split into digest and link is Schneier & Kelsey 1999, "Secure audit logs to support
    computer forensics", ACM TISSEC 2 (2).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from driftline.errors import DriftlineError

VERSION: Final = 1
GENESIS: Final = "0" * 64
"""What stands for the hash before a chain's first entry."""


class BadEntryError(DriftlineError):
    """These bytes are no entry, or were changed since they were written."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One source record, as the trail keeps it. `at`: its timestamp, ms."""

    log: str
    offset: int
    at: int
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One link. `body` is None in a stub, which says only that something stood here."""

    log: str
    offset: int
    previous: str
    digest: str
    hash: str
    body: dict[str, Any] | None  # Any: JSON

    def encode(self) -> bytes:
        """The entry as it stands in the topic and in exports; equal entries are equal bytes."""
        fields: dict[str, Any] = {
            "v": VERSION,
            "log": self.log,
            "offset": self.offset,
            "previous": self.previous,
            "digest": self.digest,
            "hash": self.hash,
        }
        if self.body is not None:
            fields["body"] = self.body
        return canonical(fields)

    def stub(self) -> Entry:
        """The link without what happened."""
        return Entry(self.log, self.offset, self.previous, self.digest, self.hash, None)


def canonical(value: object) -> bytes:
    """JSON with sorted keys and nothing between: one value has one text."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def link(previous: str, happened: Happened) -> Entry:
    """The entry of a source record, behind the one whose hash is `previous`."""
    body = {
        "at": happened.at,
        "key": happened.key,
        "log": happened.log,
        "offset": happened.offset,
        "sha256": sha256(happened.value).hexdigest(),
        "event": _readable(happened.value),
    }
    digest = sha256(canonical(body)).hexdigest()
    return Entry(happened.log, happened.offset, previous, digest, _hash(previous, digest), body)


def decode(value: bytes) -> Entry:
    """An entry from its bytes.

    Raises:
        BadEntryError: they are not exactly what `link` wrote; the message says what differs.
    """
    try:
        fields = orjson.loads(value)
        entry = Entry(
            str(fields["log"]),
            int(fields["offset"]),
            str(fields["previous"]),
            str(fields["digest"]),
            str(fields["hash"]),
            fields.get("body"),
        )
        version = fields["v"]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadEntryError(f"not an entry: {error}") from error
    if version != VERSION:
        raise BadEntryError(f"entry of version {version!r}; this Driftline reads {VERSION}")
    if entry.encode() != value:
        raise BadEntryError("the text is not the one that was written")
    if entry.body is not None and _misplaced(entry, entry.body):
        raise BadEntryError("the body belongs to another place")
    if entry.body is not None and sha256(canonical(entry.body)).hexdigest() != entry.digest:
        raise BadEntryError("the body was changed: its digest differs")
    if _hash(entry.previous, entry.digest) != entry.hash:
        raise BadEntryError("the hash does not follow from the previous hash and the digest")
    return entry


def _misplaced(entry: Entry, body: dict[str, Any]) -> bool:
    return body.get("log") != entry.log or body.get("offset") != entry.offset


def _hash(previous: str, digest: str) -> str:
    return sha256((previous + digest).encode()).hexdigest()


def _readable(value: bytes) -> Any:
    """The event as JSON where it is JSON, else its bytes in Base64."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return {"base64": base64.b64encode(value).decode()}

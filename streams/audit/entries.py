"""Which entries concern a model version and a period, and how an export keeps its chain whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streams.audit.chain import Entry


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an export is to hold. `start`, `end`: ms, end exclusive; None: no bound."""

    model: str | None = None
    version: str | None = None
    start: int | None = None
    end: int | None = None


def select(entries: Sequence[Entry], wanted: Wanted) -> list[Entry]:
    """The entries with everything that is not wanted made a stub, from the first wanted one on.

    Commands and deliveries name an alert's fingerprint rather than its model, so they are found by
    the fingerprints of the model's alerts. Stubs keep the chain checkable without saying more.
    """
    marks = {
        mark
        for entry in entries
        if _of_model(_event(entry), wanted) and (mark := _event(entry).get("fingerprint"))
    }
    return [entry if _concerns(entry, wanted, marks) else entry.stub() for entry in entries]


def kinds(entries: Iterable[Entry]) -> Iterator[tuple[str, Entry]]:
    """(topic, entry) of those with a body."""
    for entry in entries:
        if entry.body is not None:
            yield entry.log.rpartition("/")[0], entry


def _event(entry: Entry) -> dict[str, Any]:  # Any: JSON
    event = (entry.body or {}).get("event")
    return event if isinstance(event, dict) else {}


def _of_model(event: dict[str, Any], wanted: Wanted) -> bool:
    model, version = event.get("model"), event.get("version")
    subject = event.get("subject")
    if model is None and isinstance(subject, str):
        model, _, version = subject.partition("@")
    if model is None:
        return False
    return wanted.model in (None, model) and wanted.version in (None, version, "")


def _concerns(entry: Entry, wanted: Wanted, marks: set[str]) -> bool:
    if entry.body is None:
        return False
    at, event = int(entry.body["at"]), _event(entry)
    if wanted.start is not None and at < wanted.start:
        return False
    if wanted.end is not None and at >= wanted.end:
        return False
    if wanted.model is None and wanted.version is None:
        return True
    return _of_model(event, wanted) or event.get("fingerprint") in marks

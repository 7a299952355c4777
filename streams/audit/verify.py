"""Checks the chains of an audit trail and says where the first fault of each lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streams.audit.chain import GENESIS, BadEntryError, Entry, decode


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that an honest trail cannot contain. `where`: place in the log or file read."""

    where: str
    log: str
    offset: int | None
    problem: str

    def __str__(self) -> str:
        """One line for people."""
        at = "" if self.offset is None else f" (entry of {self.log} offset {self.offset})"
        return f"{self.where}{at}: {self.problem}"


@dataclass(slots=True)
class Chain:
    """Where one chain stands. `skipped`: source offsets that were never recorded."""

    entries: int = 0
    first: int | None = None
    offset: int = -1
    head: str = GENESIS
    skipped: int = 0
    hashes: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Verdict:
    """What a check found. Nothing in `faults`: no byte was changed, removed or put between."""

    chains: dict[str, Chain] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    repeats: int = 0
    """Entries written twice with equal bytes, as after a crash of the recorder."""

    @property
    def heads(self) -> dict[str, str]:
        """Log -> hash of its last entry: note them elsewhere to see a cut-off end."""
        return {log: chain.head for log, chain in sorted(self.chains.items())}


def verify(
    lines: Iterable[tuple[str, bytes]], heads: Mapping[str, str] | None = None
) -> tuple[Verdict, list[Entry]]:
    """Checks entries in the order in which they stand; returns also those that are sound.

    Args:
        lines: (where it stands, bytes) of each entry, each chain in its own order.
        heads: hashes noted earlier; each must still be in its chain.
    """
    verdict = Verdict()
    sound = []
    for where, value in lines:
        entry = _read(verdict, where, value)
        if entry is not None:
            sound.append(entry)
    for log, expected in (heads or {}).items():
        chain = verdict.chains.get(log, Chain())
        if expected != GENESIS and expected not in chain.hashes.values():
            problem = f"the noted head {expected[:12]}… is not in the chain: entries were removed"
            verdict.faults.append(Fault("end", log, None, problem))
    return verdict, sound


def _read(verdict: Verdict, where: str, value: bytes) -> Entry | None:
    try:
        entry = decode(value)
    except BadEntryError as error:
        verdict.faults.append(Fault(where, "", None, str(error)))
        return None
    chain = verdict.chains.setdefault(entry.log, Chain())
    if entry.offset <= chain.offset:
        if chain.hashes.get(entry.offset) == entry.hash:
            verdict.repeats += 1
            return None
        problem = "stands here a second time with another hash: one of the two is forged"
        verdict.faults.append(Fault(where, entry.log, entry.offset, problem))
        return None
    if chain.first is None:
        chain.first = entry.offset
    elif entry.previous != chain.head:
        problem = (
            f"does not follow entry {chain.offset}: something between them was changed or removed"
        )
        verdict.faults.append(Fault(where, entry.log, entry.offset, problem))
    else:
        chain.skipped += entry.offset - chain.offset - 1
    if chain.entries == 0 and entry.previous != GENESIS:
        problem = "is the first here but names a predecessor: the beginning was removed"
        verdict.faults.append(Fault(where, entry.log, entry.offset, problem))
    chain.entries += 1
    chain.offset, chain.head = entry.offset, entry.hash
    chain.hashes[entry.offset] = entry.hash
    return entry

"""The slices of time that pending entries lie in: what each holds, and what is lost with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from detectors.flow.pending import Slot
from detectors.flow.sequencer import FOREVER


@dataclass(slots=True, eq=False)
class Slice:
    """One slice of time: when it ends, and how much counts in it."""

    number: int
    end: int
    since: int = -1
    """Offset of the changes topic from which on it has records; -1: it has none yet."""
    alive: bool = True
    predictions: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    unmatched: dict[str, int] = field(default_factory=dict)
    """Of `labels`, by model, those that no prediction was there for."""

    @property
    def entries(self) -> int:
        """Predictions, their repeats and waiting labels."""
        return sum(self.predictions.values()) + sum(self.labels.values())

    def count(self, model: str, slot: Slot, by: int) -> None:
        """A waiting label comes (1) or goes (-1)."""
        self.labels[model] = self.labels.get(model, 0) + by
        if not slot.matched:
            self.unmatched[model] = self.unmatched.get(model, 0) + by


class Slices:
    """The living slices of one shard, and the limit of what they hold together."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self.next_end = FOREVER
        """The arrival at which the next slice ends, in ms; at most that."""
        self.entries = 0
        self._by_end: dict[int, Slice] = {}
        self._next_number = 0
        self._losses: Counter[tuple[str, str]] = Counter()
        self._gone: list[Slice] = []

    def __iter__(self) -> Iterator[Slice]:
        return iter(self._by_end.values())

    def of(self, end: int) -> Slice:
        """The slice with this end; a new one has a number that none ever had."""
        piece = self._by_end.get(end)
        if piece is None:
            piece = self._by_end[end] = Slice(self._next_number, end)
            self._next_number += 1
            self.next_end = min(self.next_end, end)
        return piece

    def make_room(self) -> None:
        """One entry more comes: if there is no room, the oldest slice that holds anything goes."""
        if self.entries >= self.max_entries:
            self._evict()
        self.entries += 1

    def _evict(self) -> None:
        for end in sorted(self._by_end):
            gone = self._let_go(end)
            for subject, count in gone.predictions.items():
                self._losses[subject, "pending_full"] += count
            for model, count in gone.labels.items():
                if count:
                    self._losses[f"{model}@", "pending_full"] += count
            if gone.entries:
                break
        self.next_end = min(self._by_end, default=FOREVER)

    def expire(self, now: int) -> None:
        """Every slice that ended at or before `now` goes; its unmatched labels are orphans."""
        for end in sorted(end for end in self._by_end if end <= now):
            for model, unmatched in self._let_go(end).unmatched.items():
                if unmatched:
                    self._losses[f"{model}@", "orphan_labels"] += unmatched
        self.next_end = min(self._by_end, default=FOREVER)

    def _let_go(self, end: int) -> Slice:
        gone = self._by_end.pop(end)
        gone.alive = False
        self._gone.append(gone)
        self.entries -= gone.entries
        return gone

    def take_gone(self) -> list[Slice]:
        """The slices that went since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def take_losses(self) -> dict[tuple[str, str], int]:
        """(subject, `orphan_labels` or `pending_full`) -> lost since the last call."""
        losses, self._losses = self._losses, Counter()
        return losses

    def dump(self) -> dict[str, Any]:
        """As builtins, for the checkpoint."""
        slices = [[p.number, p.end, p.since, p.predictions, p.labels, p.unmatched] for p in self]
        return {"max_entries": self.max_entries, "next": self._next_number, "slices": slices}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Slices:
        """The slices that `dump` described."""
        slices = cls(dumped["max_entries"])
        slices._next_number = dumped["next"]
        for number, end, since, predictions, labels, unmatched in dumped["slices"]:
            piece = Slice(number, end, since, True, predictions, labels, unmatched)
            slices._by_end[end] = piece
            slices.entries += piece.entries
        slices.next_end = min(slices._by_end, default=FOREVER)
        return slices

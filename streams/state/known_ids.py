"""What the pending store on disk knows of an id that is looked at on its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from detectors.flow.pending import Label, Slot
from streams.state.pending_rows import Stored, StoredRow, StoredSlot, encode_stored
from streams.state.pending_slices import Slice


@dataclass(slots=True, eq=False)
class Row:
    """A prediction that has its turn in this step, or changed since the last checkpoint."""

    row_id: bytes
    subject: str
    layout: int
    packed: bytes
    slice: Slice
    label: Label | None = None
    ref: int = -1


@dataclass(slots=True, eq=False)
class Known:
    """What is known of one id."""

    rows: list[Row] = field(default_factory=list)
    slots: dict[str, tuple[Slice, Slot]] = field(default_factory=dict)
    stored: list[Slice] = field(default_factory=list)
    """Slices whose database holds something of it."""
    changed: bool = False

    def values(self) -> Iterable[tuple[Slice, bytes]]:
        """What each living slice holds of the id; nothing where it held something before."""
        rows: dict[Slice, list[StoredRow]] = {}
        slots: dict[Slice, list[StoredSlot]] = {}
        for row in self.rows:
            rows.setdefault(row.slice, []).append(StoredRow(row.layout, row.packed, row.label))
        for model, (piece, slot) in self.slots.items():
            waiting = StoredSlot(model, slot.label, slot.matched, slot.arrival)
            slots.setdefault(piece, []).append(waiting)
        for piece in dict.fromkeys((*self.stored, *rows, *slots)):
            if piece.alive:
                held = Stored(rows.get(piece, []), slots.get(piece, []))
                yield piece, encode_stored(held) if held.rows or held.slots else b""

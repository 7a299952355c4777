"""Slabs in a checkpoint: what the blocks of a pending store are, and slabs from them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from detectors.flow.label_slab import LabelSlab
from detectors.flow.saved_blocks import Block
from detectors.flow.slab import Slab


def cut_slabs(
    slabs: Iterable[Slab], label_slabs: Iterable[LabelSlab]
) -> tuple[dict[str, Any], list[Block]]:
    """(builtins that say what the blocks are, the blocks) of these slabs."""
    blocks: list[Block] = []
    predictions, labels = [], []
    for slab in slabs:
        parts = slab.blocks()
        blocks += chain.from_iterable(parts)
        about = [slab.subject, slab.end, slab.count, slab.floor]
        predictions.append([*about, *map(len, parts)])
    for waiting in label_slabs:
        parts = waiting.blocks()
        blocks += chain.from_iterable(parts)
        labels.append([waiting.model, waiting.end, *map(len, parts)])
    return {"predictions": predictions, "labels": labels}, blocks


def assembled_slabs(about: dict[str, Any], left: Iterator[Block]) -> Iterator[Slab]:
    """The slabs of predictions that `cut_slabs` told of; takes their blocks off `left`."""
    for subject, end, count, floor, *lengths in about["predictions"]:
        slab = Slab.assemble(subject, end, parts_of(left, lengths))
        slab.count, slab.floor = count, floor
        yield slab


def parts_of(left: Iterator[Block], lengths: Sequence[int]) -> list[list[Block]]:
    """The next blocks, in parts of these lengths."""
    return [list(islice(left, n)) for n in lengths]

"""Text columns of a frame as one array of codes: put together, and with the values they use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.column import Array, Column, appearance

NO_TEXT = 0xFFFFFFFF
"""The code of an invalid text."""
U4 = np.dtype(np.uint32)


def concat_texts(
    parts: Sequence[tuple[Array, list[list[str]]]], sizes: list[int]
) -> tuple[Array, list[list[str]]]:
    """(codes of shape (columns, rows), values of each column) of the rows of all.

    Args:
        parts: likewise, with the same number of columns.
        sizes: how many rows each has.
    """
    codes = np.concatenate([part for part, _ in parts], axis=1)
    values = parts[0][1]
    if all(known == values for _, known in parts):
        return codes, values
    # All dictionaries one after the other: where each begins, and what their codes become.
    begins: list[list[int]] = []
    recoded: list[int] = []
    merged: list[list[str]] = []
    for column in range(len(values)):
        index: dict[str, int] = {}
        begins.append([])
        for _, known in parts:
            begins[-1].append(len(recoded))
            recoded += [index.setdefault(value, len(index)) for value in known[column]]
        merged.append(list(index))
    recoded.append(0)  # where a dictionary without values at the end would begin
    absent = codes == NO_TEXT
    some = bool(absent.any())
    if some:
        codes[absent] = 0
    codes += np.repeat(np.array(begins, U4), sizes, axis=1)
    codes = np.array(recoded, U4).take(codes)
    if some:
        codes[absent] = NO_TEXT
    return codes, merged


def compact_texts(codes: Array, values: list[list[str]]) -> tuple[Array, list[list[str]]] | None:
    """Codes and values, in order of appearance; None: they are."""
    changes: dict[int, list[int]] = {}
    for row, known in enumerate(values):
        order = appearance(codes[row], len(known))
        if order != list(range(len(known))):
            changes[row] = order
    if not changes:
        return None
    codes, values = codes.copy(), values.copy()
    for row, order in changes.items():
        recoded = np.full(len(values[row]) + 1, NO_TEXT, U4)
        recoded[order] = np.arange(len(order))
        codes[row] = recoded.take(codes[row], mode="clip")  # no text is clipped to the last
        values[row] = [values[row][code] for code in order]
    return codes, values


def column_of_codes(codes: Array, values: list[str]) -> Column:
    """The text column of these codes."""
    valid = codes != NO_TEXT
    if valid.all():
        return Column(codes, None, values)
    return Column(np.where(valid, codes, U4.type(0)), valid, values)

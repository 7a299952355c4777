"""Free text as numbers: how long it is, and how much of its vocabulary the reference knew.

A feature whose values hardly repeat has no categories to count. What breaks it (cut or empty texts,
another language, another encoding) shows in its length and in its words.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.frame import Column, Frame
from detectors.reference.profile import (
    Bins,
    CategoricalProfile,
    FeatureProfile,
    NumericProfile,
    TextProfile,
    UnsupportedProfile,
)
from detectors.reference.profiling import numeric

Mask: TypeAlias = NDArray[np.bool_]

LENGTH: Final = "length:"
TOKENS: Final = "tokens:"
_BITS: Final = 1 << 16
"""Of the sketch of known tokens; with 6,000 of them one in eleven unknown ones passes as known."""
_TWICE: Final = 2
"""Rows that a token must have been in to be known: names and numbers come once."""
_TOKEN = re.compile(r"\w+")


def text_profiles(rows: Frame, features: Mapping[str, FeatureProfile]) -> dict[str, TextProfile]:
    """Profiles of the features that are free text, by name; `rows` in event-time order.

    Known tokens are those of the first half of the rows, their share is the second half's: within
    the rows that a vocabulary was made of every word is known.
    """
    found = {}
    for name, profile in features.items():
        if _is_free(profile):
            lengths = length_column(rows, name)
            if lengths.mask.any():
                found[name] = _profile(rows, name, lengths)
    return found


def _is_free(profile: FeatureProfile) -> bool:
    """Whether values are hardly ever seen again; or too long to be kept, which texts are."""
    if isinstance(profile, UnsupportedProfile):
        return True
    if not isinstance(profile, CategoricalProfile) or profile.type != "text" or not profile.n:
        return False
    return profile.once > Bins.EXPECTED_NEW * profile.n


def _profile(rows: Frame, name: str, lengths: Column) -> TextProfile:
    length = _numeric(lengths)
    assert length is not None  # the caller looked
    half = rows.n // 2
    known = _known(rows.span(0, half).columns.get(f"c:{name}"))
    tokens = _numeric(token_column(rows.span(half, rows.n), name, known))
    if tokens is None or not known.any():
        return TextProfile(length=length)
    packed = base64.b64encode(np.packbits(known).tobytes()).decode()
    return TextProfile(length=length, tokens=tokens, known=packed)


def _numeric(column: Column) -> NumericProfile | None:
    values = column.data[column.mask]
    return numeric(values, len(column) - len(values)) if len(values) else None


def known_tokens(profile: TextProfile) -> Mask:
    """Which hashes of tokens the reference knew, shape (65536,)."""
    packed = np.frombuffer(base64.b64decode(profile.known), np.uint8)
    return np.unpackbits(packed).astype(np.bool_)


def length_column(rows: Frame, name: str) -> Column:
    """Length in characters of each row's text, texts of over 256 characters included."""
    lengths = np.zeros(rows.n)
    valid = np.zeros(rows.n, bool)
    long = rows.columns.get(f"u:{name}")
    if long is not None:
        valid = long.mask & (long.data >= 0)
        lengths[valid] = long.data[valid]
    short = rows.columns.get(f"c:{name}")
    if short is not None:
        of_row = _by_value(short, len)
        lengths[short.mask] = of_row
        valid = valid | short.mask
    return Column(lengths, valid)


def token_column(rows: Frame, name: str, known: Mask) -> Column:
    """Share of each row's tokens that are known; no value for a text without tokens."""
    column = rows.columns.get(f"c:{name}")
    if column is None:
        return Column(np.zeros(rows.n), np.zeros(rows.n, bool))
    shares = np.full(rows.n, np.nan)
    shares[column.mask] = _by_value(column, lambda text: _share(text, known))
    return Column(np.nan_to_num(shares), ~np.isnan(shares))


def _share(text: str, known: Mask) -> float:
    hashes = [_hash(word) for word in _words(text)]
    return np.count_nonzero(known[hashes]) / len(hashes) if hashes else np.nan


def _known(column: Column | None) -> Mask:
    known = np.zeros(_BITS, bool)
    if column is not None:
        texts = [text for text in column.texts() if text is not None]
        rows = Counter(word for text in texts for word in set(_words(text)))
        known[[_hash(word) for word, n in rows.items() if n >= _TWICE]] = True
    return known


def _words(text: str) -> list[str]:
    return _TOKEN.findall(text.casefold())


def _hash(word: str) -> int:
    return crc32(word.encode(errors="replace")) % _BITS


def _by_value(column: Column, measure: Callable[[str], float]) -> Floats:
    """The measure of each valid row's text, taken once for each text that the rows use."""
    codes = column.data if column.valid is None else column.data[column.valid]
    used, row = np.unique(codes, return_inverse=True)
    values = column.values or []
    measured: Floats = np.array([measure(values[code]) for code in used.tolist()], np.float64)[row]
    return measured

"""Free text: what breaks it shows in its length and its words, and ordinary new texts do not."""

from __future__ import annotations

import time

import numpy as np
import pytest

from detectors.engine import new
from detectors.frame import Column, Frame, text_column
from detectors.plan import plan_of
from detectors.reference.profile import from_json
from detectors.reference_builder import build
from detectors.texts import known_tokens, length_column, token_column
from driftline.alerts import Alert
from tests.monitored import SUBJECT
from tests.unit.test_served import SPEC, rows, watch, without

WORDS = [f"{a}{b}" for a in ("bar", "lo", "men", "tur", "si", "ka") for b in ("ra", "dom", "ti")]
OTHERS = [f"{a}{b}" for a in ("vex", "quo", "zil") for b in ("um", "ix", "ane")]


def comments(n: int, seed: int, words: list[str], longest: int = 12) -> list[str | None]:
    """Sentences of so many words and an order number: hardly any comes twice."""
    dice = np.random.default_rng(seed)
    texts = []
    for length in dice.integers(3, longest, n).tolist():
        said = " ".join(dice.choice(words, length).tolist())
        texts.append(f"{said}, order {dice.integers(10**9)}")
    return texts


def with_comments(n: int, seed: int, texts: list[str | None], begin: int = 0) -> Frame:
    frame = without(rows(n, seed, begin), "latency_ms", "a:amount", "a:age")
    frame.columns["c:comment"] = text_column(texts)
    return frame


def alerts_of(texts: list[str | None]) -> list[Alert]:
    reference = with_comments(6_000, 1, comments(6_000, 1, WORDS))
    return watch(reference, with_comments(len(texts), 2, texts, 6_000))[1]


def opened(texts: list[str | None]) -> set[str]:
    return {alert.signal for alert in alerts_of(texts)}


def test_new_texts_of_the_same_kind_are_no_news() -> None:
    assert opened(comments(8_000, 2, WORDS)) == set()


def test_texts_that_are_cut_are_news_by_their_length() -> None:
    cut = [text and text[:20] for text in comments(3_000, 2, WORDS)]
    assert "length:comment" in opened(cut)


def test_texts_that_are_empty_more_often_are_news() -> None:
    dice = np.random.default_rng(3)
    some = [
        "" if empty else text
        for text, empty in zip(comments(3_000, 2, WORDS), dice.random(3_000) < 0.1, strict=True)
    ]
    assert opened(some) == {"length:comment", "tokens:comment"}  # nor have they words


def test_another_vocabulary_is_news_and_told_as_such() -> None:
    alerts = alerts_of(comments(3_000, 2, OTHERS))
    [alert] = [alert for alert in alerts if alert.signal == "tokens:comment"]
    assert alert.kind == "feature_drift"
    assert alert.summary.startswith("share of known words in comment: ")


def test_known_words_are_counted_on_rows_that_they_are_not_from() -> None:
    texts = comments(4_000, 1, WORDS)
    profile = build(SUBJECT, [with_comments(4_000, 1, texts)], SPEC)
    text = profile.texts["comment"]
    assert text.tokens is not None
    assert text.tokens.n == 2_000
    assert 0.7 < text.tokens.mean < 1.0  # each has an order number that nobody knew
    assert text.length.n == 4_000
    assert known_tokens(text).sum() <= len(WORDS) + 1
    assert from_json(profile.to_json()) == profile


def test_a_word_that_only_the_second_half_has_is_not_known() -> None:
    texts = comments(4_000, 1, WORDS)
    later = [f"{text} zebra" if at >= 2_000 else text for at, text in enumerate(texts)]
    plain, mixed = (
        build(SUBJECT, [with_comments(4_000, 1, t)], SPEC).texts["comment"].tokens
        for t in (texts, later)
    )
    assert plain is not None
    assert mixed is not None
    assert mixed.mean < plain.mean - 0.05


def test_both_are_in_the_plan_where_the_feature_is() -> None:
    profile = build(SUBJECT, [with_comments(4_000, 1, comments(4_000, 1, WORDS))], SPEC)
    watched = plan_of(profile, ["amount", "comment"], SPEC)
    assert {"length:comment", "tokens:comment"} <= set(watched.log_c)
    assert watched.sizes["tokens:comment"] == 2_000
    assert not {"length:comment", "tokens:comment"} & set(plan_of(profile, ["amount"], SPEC).log_c)


def test_a_feature_of_categories_is_no_free_text() -> None:
    frame = without(rows(2_000, 1), "latency_ms")
    frame.columns["c:country"] = text_column((["DE", "FR"] * 1_000)[:2_000])
    assert build(SUBJECT, [frame], SPEC).texts == {}


def test_texts_too_long_to_be_kept_have_a_length() -> None:
    frame = without(rows(2_000, 1), "latency_ms")
    lengths = np.random.default_rng(1).integers(250, 900, 2_000)
    kept = lengths <= 256
    short = Column(np.zeros(2_000, np.uint32), kept, ["x" * 252])
    frame.columns |= {"u:body": Column(lengths, ~kept), "c:body": short}
    profile = build(SUBJECT, [frame], SPEC)
    assert profile.texts["body"].length.n == 2_000
    assert profile.texts["body"].length.low == 252
    assert profile.features["body"].n == int((~kept).sum())
    assert new(SUBJECT, SPEC, profile).features is not None


def test_lengths_and_shares_of_rows() -> None:
    column = text_column(["one Two", None, "", "two zwei", "two zwei"])
    frame = Frame(str(SUBJECT), "prediction", 5, {"c:t": column, "u:t": Column(np.full(5, -1))})
    frame.columns["u:t"].valid = np.array([False, True, False, False, False])
    lengths = length_column(frame, "t")
    assert lengths.mask.tolist() == [True, False, True, True, True]
    assert lengths.data.tolist() == [7, 0, 0, 8, 8]
    known = np.zeros(1 << 16, bool)
    assert token_column(frame, "t", ~known).data.tolist() == [1, 0, 0, 1, 1]
    assert token_column(frame, "t", known).mask.tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("text", ["\ud800 x", "ß" * 200, "\x00", "١٢٣ 中文"])
def test_any_text_can_be_hashed(text: str) -> None:
    column = text_column([text])
    frame = Frame(str(SUBJECT), "prediction", 1, {"c:t": column})
    assert token_column(frame, "t", np.zeros(1 << 16, bool)).data.tolist() == [0]


def test_a_text_costs_microseconds() -> None:
    texts = comments(4_000, 1, WORDS)
    frame = with_comments(4_000, 1, texts)
    known = np.zeros(1 << 16, bool)
    begun = time.process_time()
    token_column(frame, "comment", known)
    length_column(frame, "comment")
    assert (time.process_time() - begun) / 4_000 < 50e-6

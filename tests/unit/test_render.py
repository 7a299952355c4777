"""Words and pictures: nothing that an alert carries can act on mail headers, chats or a shell."""

from __future__ import annotations

import asyncio
import io
import struct
import unicodedata
from email import message_from_bytes, policy
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from driftline.alerts import (
    Alert,
    Cause,
    Contributor,
    Counterpart,
    Evidence,
    Histogram,
    Statistic,
    encode,
)
from streams.notify import alertmanager, apprise, jsm, pagerduty, render, slack
from streams.notify.api import Message, Part
from streams.notify.mail import Mail
from streams.notify.picture import Pictures, draw
from tests.examples import examples
from tests.notifying import make_alert, message, resolved

NASTY = [
    "a\r\nBcc: evil@example.org",
    "a\nX-Evil: 1\n\nbody",
    "<!channel> <!here> <@U123> <http://evil|click>",
    "@everyone @here @channel",
    "$(touch /tmp/pwned) `id` ; rm -rf / | cat && true",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "<script>alert(1)</script> ' onerror='x",
    "{{ 7*7 }} {0} %s %(x)s ${HOME}",
    "```\n*bold* _it_ ~no~",
    "\x00\x07\x1b[31m\ud800\ufffe",
]
texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=40),
    st.text("\r\n<>@!&`$(){}'\"\\\u202e", max_size=20),
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def alerts(draw_: Any) -> Alert:
    firing = draw_(st.booleans())
    more: dict[str, Any] = {
        "fingerprint": draw_(texts),
        "model": draw_(texts),
        "version": draw_(texts),
        "signal": draw_(texts),
        "rule": draw_(texts),
        "segment": draw_(st.none() | st.dictionaries(texts, texts, max_size=2)),
        "summary": draw_(texts),
        "statistic": Statistic(draw_(texts), draw_(finite), draw_(finite), None, None, 7, (0.1, 2)),
        "evidence": Evidence(contributors=[Contributor(draw_(texts), 0.5, "up")]),
        "causes": [Cause("code", draw_(texts))],
        "counterparts": [Counterpart(draw_(texts), 0.1, draw_(texts))],
        "links": draw_(st.dictionaries(texts, texts.map("https://x/".__add__), max_size=2)),
        "started_at": draw_(texts),
        "severity": draw_(st.sampled_from(["info", "warning", "critical"])),
        "id": draw_(texts),
    }
    return make_alert(1, **more) if firing else resolved(1, **more)


MAIL = Mail("m", host="h", port=1, tls="none", sender="d@example.org", to=["t@example.org"])
HEADERS = {
    *("From", "To", "Date", "Subject", "Message-ID", "In-Reply-To", "References"),
    *("Auto-Submitted", "X-Driftline-Severity", "X-Driftline-Status", "Importance"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
}


def inert(text: str) -> bool:
    """Whether a line holds nothing but what is read."""
    return all(unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"} for c in text) and not any(
        c in text for c in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
    )


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(alerts(), min_size=1, max_size=2), texts)
def test_nothing_in_an_alert_becomes_a_header_a_mention_markup_or_a_second_line(
    found: list[Alert], root: str
):
    parts = tuple(Part(a, encode(a) if _can(a) else b"{}", root=root) for a in found)
    told = Message(found[0].id, parts, "digest" if len(found) > 1 else "alert")
    title = render.title(told)
    assert inert(title)
    assert len(title) <= render.MAX_TITLE
    for call in ("@everyone", "@here", "@channel", "<!", "<@"):
        assert call not in f"{title}\n{render.text(told)}"
    assert all(inert(line) for line in render.text(told).split("\n"))
    page = render.html(told)
    assert "<script" not in page
    assert page.count("<") == page.count(">")
    said = slack.payload(told)
    assert "<" not in str(said["text"])
    for block in said["attachments"][0]["blocks"]:  # type: ignore[index]
        size = len(block.get("text", {}).get("text", ""))
        assert size <= 3000
    for body in (pagerduty._payload(told, told.alert), said):
        assert len(str(body)) < 60_000
    assert len(pagerduty.dedup_key(told.leading, told)) <= 255
    assert all(inert(v) for v in alertmanager.labels(told.alert, "info").values())
    assert len(apprise.words(told, 160)[1]) <= 160


def test_texts_of_a_hundred_kilobytes_are_cut():
    huge = "é<!channel>\r\n" * 10_000
    long = make_alert(
        1, model=huge, signal=huge, segment={huge: huge}, causes=[Cause("code", huge)], id=huge
    )
    told = Message(huge, (Part(long, b"{}"),))
    assert len(render.title(told)) <= 200
    assert len(render.text(told)) < 10_000
    assert len(MAIL.compose(told, None).as_bytes()) < 60_000
    assert len(str(slack.payload(told))) < 20_000


def _can(alert: Alert) -> bool:
    try:
        encode(alert)
    except (UnicodeEncodeError, msgspec.EncodeError):
        return False
    return True


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(alerts(), min_size=1, max_size=2), texts)
@example([make_alert(summary=NASTY[0], id=NASTY[1])], NASTY[0])
def test_a_mail_has_the_headers_we_gave_it_and_no_other(found: list[Alert], root: str):
    parts = tuple(Part(a, b"{}", root=root) for a in found)
    told = Message(found[0].id, parts, "digest" if len(found) > 1 else "alert")
    raw = MAIL.compose(told, None).as_bytes()
    read = message_from_bytes(raw, policy=policy.default)
    assert set(read.keys()) <= HEADERS
    assert len(read.keys()) == len(set(read.keys()))
    assert str(read["To"]) == "t@example.org"
    assert [part.get_content_type() for part in read.walk()] == [
        *("multipart/alternative", "text/plain", "text/html")
    ]


def test_what_jsm_is_sent_fits_its_limits():
    told = message(make_alert(summary="x" * 200))
    assert len(render.neutral(render.title(told), jsm.MAX_MESSAGE)) == jsm.MAX_MESSAGE


def test_words_that_people_use_stay_as_they_are():
    for text in ("fraud@v1", "Größe > 5 €", "日本 モデル", "a & b", "ada@example.org", "عربي"):
        assert render.neutral(text) == text


# -- pictures -------------------------------------------------------------------------------------


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


HISTOGRAM = Evidence(histogram=Histogram([0.0, 10.0, 20.0, 40.0], [50, 30, 20], [5, 15, 80]))


def test_a_distribution_is_drawn_at_the_size_of_a_phone_with_both_colours():
    png = draw(make_alert(evidence=HISTOGRAM, signal="feature:$x_1$ \u202e"), [])
    assert png is not None
    assert size(png) == (800, 450)
    colours = {c for _, c in Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 20) or ()}
    assert {(0x7F, 0x8C, 0x8D), (0xC0, 0x39, 0x2B)} <= colours


def test_a_metric_is_drawn_over_time_against_its_reference_and_threshold_and_only_once():
    async def scenario() -> None:
        pictures = Pictures()
        for revision in (1, 2, 3):
            told = make_alert(
                revision=revision,
                statistic=Statistic(
                    "recall", 0.7 - revision / 10, 0.6, 0.75, None, 900, (0.3, 0.5)
                ),
                detected_at=f"2026-11-01T0{revision}:00:00.000Z",
            )
            pictures.note(told)
        png = await pictures.of(message(told))
        assert png is not None
        assert size(png) == (800, 450)
        assert await pictures.of(message(told)) is png

    asyncio.run(scenario())


def test_where_there_is_nothing_to_draw_there_is_no_picture():
    bare = make_alert(statistic=Statistic("x", None))
    assert draw(bare, []) is None
    odd = Evidence(histogram=Histogram([0.0], [1.0], [1.0, 2.0]))
    assert draw(make_alert(evidence=odd), []) is None

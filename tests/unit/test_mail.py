"""Mail to a real SMTP server on loopback: threads, pictures, TLS, refusals."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from driftline.alerts import Evidence, Histogram, encode
from driftline.errors import DeliveryError
from streams.notify import mail
from streams.notify.api import Message, Part
from streams.notify.mail import Mail
from streams.notify.rules import Destination
from streams.notify.secrets import PlainText
from tests.notifying import QUICK, Bench, make_alert, message, resolved
from tests.smtp import Post, certificate, post_office


def mailer(post: Post, **more: Any) -> Mail:
    given = {"tls": "none", "sender": "driftline@example.org", "to": ["a@example.org"], **more}
    return Mail("team", host=post.host, port=post.port, **given)


def test_an_incident_is_one_thread_from_opened_to_retracted():
    async def scenario(post: Post) -> None:
        async with Bench(mailer(post), real=True, timeout_s=20) as bench:
            await bench.deliver(make_alert(), make_alert(revision=2, severity="critical"))
            await bench.deliver(resolved(revision=3, reason="retracted"))
            assert bench.ledger.records[-1].reference == post.mails[-1]["Message-ID"]

    with post_office() as post:
        asyncio.run(scenario(post))
    first, second, third = post.mails
    assert first["Message-ID"] == f"<{make_alert().id}@example.org>"
    assert first["In-Reply-To"] is None
    for answer in (second, third):
        assert answer["In-Reply-To"] == answer["References"] == first["Message-ID"]
    words = [m["Subject"].partition("]")[0] for m in post.mails]
    assert words == ["[WARNING", "[CRITICAL", "[RETRACTED"]
    assert second["Importance"] == "high"
    assert post.recipients == [["a@example.org"]] * 3
    text = first.get_body(("plain",))
    html = first.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "concept drift of fraud@v1, error" in text.get_content()
    assert "<table" in html.get_content()


def test_a_try_that_failed_is_repeated_as_the_same_mail():
    async def scenario(post: Post) -> None:
        async with Bench(mailer(post)) as bench:
            await bench.deliver(make_alert())
            assert bench.lost == []
            assert bench.ledger.results("team") == ["waiting", "retried", "delivered"]

    with post_office("451 later", "250 OK") as post:
        asyncio.run(scenario(post))
    assert len({m["Message-ID"] for m in post.mails}) == 1


@pytest.mark.parametrize("answer", ["550 no such user", "554 spam"])
def test_what_the_server_refuses_for_good_is_dead_lettered_at_once(answer: str):
    async def scenario(post: Post) -> None:
        async with Bench(mailer(post)) as bench:
            await bench.deliver(make_alert())
            assert bench.lost == [("team", make_alert().id, f"SMTP {answer[:3]}")]

    with post_office(answer) as post:
        asyncio.run(scenario(post))


def test_a_server_that_hangs_or_is_not_there_is_tried_again():
    async def scenario(post: Post) -> None:
        away = Mail("away", host="127.0.0.1", port=9, tls="none", sender="a@b.c", to=["a@b.c"])
        hung = Destination(mailer(post), retry=QUICK, timeout_s=0.2)
        async with Bench(hung, Destination(away, retry=QUICK)) as bench:
            await bench.deliver(make_alert())
            assert bench.count("team", "exhausted") == bench.count("away", "exhausted") == 1
            assert "no answer within 0.2 s" in {why for _, _, why in bench.lost}

    with post_office("hang") as post:
        asyncio.run(scenario(post))


def test_starttls_is_required_the_certificate_checked_and_the_login_made(tmp_path: Path):
    tls = certificate(tmp_path)
    more: dict[str, Any] = {"username": "driftline", "password": PlainText("hunter2")}

    async def scenario(post: Post) -> None:
        await mailer(post, tls="starttls", ca_file=tls[0], **more).send(message(make_alert()))
        with pytest.raises(DeliveryError, match="on the way"):
            await mailer(post, tls="starttls", **more).send(message(make_alert()))
        wrong = more | {"password": PlainText("hunter3")}
        with pytest.raises(DeliveryError, match="SMTP 535") as caught:
            await mailer(post, tls="starttls", ca_file=tls[0], **wrong).send(message(make_alert()))
        assert not caught.value.retriable
        await asyncio.sleep(0.2)  # TLS says farewell; a loop that ended at once would cut it short

    with post_office(tls=tls) as post:
        asyncio.run(scenario(post))
    assert post.logins[0] == "driftline:hunter2"
    assert len(post.raw) == 1

    async def clear(post: Post) -> None:
        with pytest.raises(DeliveryError, match="on the way"):
            await mailer(post, tls="starttls", ca_file=tls[0]).send(message(make_alert()))

    with post_office() as post:  # offers no STARTTLS: nothing may travel in clear
        asyncio.run(clear(post))
    assert post.raw == []


def test_the_picture_is_inside_the_mail():
    drawn = make_alert(
        evidence=Evidence(histogram=Histogram([0.0, 1.0, 2.0], [0.9, 0.1], [0.2, 0.8]))
    )
    from streams.notify.picture import Pictures

    async def scenario(post: Post) -> None:
        pictures = Pictures()

        async def picture() -> bytes | None:
            return await pictures.of(message(drawn))

        await mailer(post).send(message(drawn, picture=picture))

    with post_office() as post:
        asyncio.run(scenario(post))
    (image,) = [part for part in post.mails[0].walk() if part.get_content_type() == "image/png"]
    assert image.get_content().startswith(b"\x89PNG")
    html = post.mails[0].get_body(("html",))
    assert html is not None
    assert f"src='cid:{image['Content-ID'].strip('<>')}'" in html.get_content()


def test_a_digest_refers_to_every_thread_it_is_about():
    parts = tuple(
        Part(a, encode(a), root=f"root-{n}") for n, a in enumerate((make_alert(1), resolved(2)))
    )
    digest = Message("digest", parts, "digest")
    with post_office() as post:
        built = mailer(post).compose(digest, None)
    assert built["References"] == "<root-0@example.org> <root-1@example.org>"
    assert built["In-Reply-To"] is None
    assert built["Subject"] == "[2 alerts] fraud@v1: 1 warning, 1 resolved"


def test_ports_and_modes_are_known():
    assert set(mail.PORTS) == set(mail.MODES)

"""Slack, PagerDuty, JSM, Alertmanager and Apprise, against receivers on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from typer.testing import CliRunner

from driftline.alerts import Alert, encode
from driftline.errors import DeliveryError
from streams.cli.app import app
from streams.notify import alertmanager, apprise
from streams.notify.alertmanager import Alertmanager
from streams.notify.api import Message, Part, Traits
from streams.notify.apprise import Apprise
from streams.notify.jsm import JiraServiceManagement
from streams.notify.pagerduty import PagerDuty
from streams.notify.rules import Destination, Storm
from streams.notify.secrets import PlainText
from streams.notify.slack import SlackBot, SlackWebhook
from tests.notifying import Bench, FakeClock, make_alert, message, resolved
from tests.receiver import Receiver

PNG = b"\x89PNG\r\n\x1a\nnot really"
PAGER = Traits(pager=True)


async def drawn() -> bytes | None:
    return PNG


def ok(**more: Any) -> tuple[int, dict[str, str], bytes]:
    return (200, {}, orjson.dumps({"ok": True, **more}))


# -- Slack ----------------------------------------------------------------------------------------


def slack_api(receiver: Receiver) -> Any:
    def answer(path: str) -> Any:
        if path.endswith("chat.postMessage"):
            return ok(channel="C1", ts=f"17.{len(receiver.paths)}")
        if path.endswith("files.getUploadURLExternal"):
            return ok(upload_url=receiver.url + "/upload", file_id="F1")
        return ok()

    return answer


def test_a_slack_bot_keeps_an_incident_in_one_thread_with_its_picture():
    async def scenario() -> None:
        async with Receiver([]) as receiver:
            receiver.script = [slack_api(receiver)]
            bot = SlackBot("chat", PlainText("xoxb-1"), "#ops", PlainText(receiver.url))
            async with Bench(bot) as bench:
                await bench.deliver(make_alert())
                await bench.deliver(resolved())
            first, second = (orjson.loads(body) for _, body in receiver.seen)
            assert (first["channel"], "thread_ts" in first) == ("#ops", False)
            assert (second["channel"], second["thread_ts"]) == ("C1", "17.1")
            assert second["reply_broadcast"] is True
            assert first["metadata"]["event_payload"]["id"] == make_alert().id
            assert receiver.seen[0][0]["Authorization"] == "Bearer xoxb-1"
            del receiver.seen[:], receiver.paths[:]
            await bot.send(message(make_alert(), picture=drawn))
            await bot.close()
        assert [p.rpartition("/")[2] for p in receiver.paths] == [
            *("chat.postMessage", "files.getUploadURLExternal"),
            *("upload", "files.completeUploadExternal"),
        ]
        assert parse_qs(receiver.seen[1][1].decode())["length"] == [str(len(PNG))]
        assert receiver.seen[2][1] == PNG
        assert "Authorization" not in receiver.seen[2][0], "the upload goes where Slack says"
        complete = orjson.loads(receiver.seen[3][1])
        assert (complete["channel_id"], complete["thread_ts"]) == ("C1", "17.1")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "results"),
    [
        ((200, {}, b'{"ok":false,"error":"invalid_auth"}'), ["waiting", "refused"]),
        ((200, {}, b'{"ok":false,"error":"channel_not_found"}'), ["waiting", "refused"]),
        ((200, {}, b'{"ok":false,"error":"internal_error"}'), ["waiting", "retried", "delivered"]),
        ((200, {}, b"<html>"), ["waiting", "retried", "delivered"]),
        ((429, {"Retry-After": "3"}, b""), ["waiting", "retried", "delivered"]),
        ((503, {}, b""), ["waiting", "retried", "delivered"]),
        ((404, {}, b""), ["waiting", "refused"]),
    ],
)
def test_what_slack_says_decides_whether_it_is_tried_again(answer: Any, results: list[str]):
    async def scenario() -> None:
        async with Receiver([answer, ok(channel="C1", ts="1.1")]) as receiver:
            bot = SlackBot("chat", PlainText("xoxb-1"), "#ops", PlainText(receiver.url))
            async with Bench(bot) as bench:
                await bench.deliver(make_alert())
                assert bench.ledger.results("chat") == results
                waits = [3.0] if answer[0] == 429 else [0.5]
                assert bench.time.slept == (waits if "retried" in results else [])

    asyncio.run(scenario())


def test_a_slack_webhook_gets_words_in_which_nothing_is_a_mention_or_a_link():
    async def scenario() -> None:
        nasty = make_alert(
            summary="<!channel> & <@U1> <http://evil|click> ``` *b*",
            links={"runbook": "https://r/"},
        )
        async with Receiver([200]) as receiver:
            hook = SlackWebhook("chat", PlainText(receiver.url))
            await hook.send(message(nasty))
            await hook.close()
        (said,) = receiver.json()
        for text in (said["text"], said["attachments"][0]["blocks"][1]["text"]["text"]):
            assert "<" not in text
            assert "&lt;" in text
        assert said["attachments"][0]["blocks"][2]["elements"][0]["text"] == "<https://r/|runbook>"
        body = said["attachments"][0]["blocks"][1]["text"]["text"]
        assert body.count("```") == 2, "nothing in it ends the code block"

    asyncio.run(scenario())


# -- pagers ---------------------------------------------------------------------------------------


def test_pagerduty_opens_raises_and_ends_one_incident_under_one_key():
    async def scenario() -> None:
        async with Receiver([202]) as receiver:
            pager = PagerDuty("pager", PlainText("R0"), PlainText(receiver.url))
            async with Bench(Destination(pager, traits=PAGER)) as bench:
                await bench.deliver(make_alert())
                await bench.deliver(make_alert(revision=2, severity="critical"))
                await bench.deliver(resolved(revision=3))
            await pager.acknowledge("driftline-x")
            await pager.close()
        opened, raised, ended, taken = receiver.json()
        key = f"driftline-{make_alert().fingerprint}"
        assert {e["dedup_key"] for e in (opened, raised, ended)} == {key}
        assert [e["event_action"] for e in receiver.json()] == [
            *("trigger", "trigger", "resolve", "acknowledge")
        ]
        assert taken["dedup_key"] == "driftline-x"
        assert opened["routing_key"] == "R0"
        assert [e["payload"]["severity"] for e in (opened, raised)] == ["warning", "critical"]
        assert opened["payload"]["summary"].startswith("[WARNING] fraud@v1: error rose")
        assert opened["payload"]["custom_details"]["alert_id"] == make_alert().id

    asyncio.run(scenario())


def test_a_storm_is_one_page_that_ends_when_all_of_it_is_over():
    async def scenario() -> None:
        async with Receiver([202]) as receiver:
            pager = PagerDuty("pager", PlainText("R0"), PlainText(receiver.url))
            stormy = Destination(pager, traits=PAGER, storm=Storm(alerts=1))
            async with Bench(stormy) as bench:
                await bench.deliver(*map(make_alert, range(9)))
                await bench.deliver(*(resolved(n) for n in range(1, 9)))
        first, digest, end = receiver.json()
        assert digest["payload"]["summary"] == "[8 alerts] fraud@v1: 8 warning"
        key = digest["dedup_key"]
        assert end == {"event_action": "resolve", "dedup_key": key, "routing_key": "R0"}
        assert first["dedup_key"] != digest["dedup_key"]

    asyncio.run(scenario())


def test_jsm_creates_by_alias_and_closes_by_alias():
    async def scenario() -> None:
        async with Receiver([202]) as receiver:
            jsm = JiraServiceManagement("jsm", PlainText("K"), PlainText(receiver.url))
            async with Bench(Destination(jsm, traits=PAGER)) as bench:
                await bench.deliver(make_alert(severity="critical"))
                await bench.deliver(resolved())
        alias = f"driftline-{make_alert().fingerprint}"
        assert receiver.paths == ["/hook", f"/hook/{alias}/close?identifierType=alias"]
        created, _ = receiver.json()
        assert (created["alias"], created["priority"]) == (alias, "P1")
        assert receiver.seen[0][0]["Authorization"] == "GenieKey K"

    asyncio.run(scenario())


# -- Alertmanager ---------------------------------------------------------------------------------


def test_a_change_of_severity_resolves_the_old_and_fires_the_new_in_one_post():
    async def scenario() -> None:
        async with Receiver([200]) as receiver:
            manager = Alertmanager("am", PlainText(receiver.url), clock=FakeClock().clock())
            async with Bench(manager) as bench:
                await bench.deliver(make_alert())
                await bench.deliver(make_alert(revision=2, severity="critical"))
        assert set(receiver.paths) == {"/hook/api/v2/alerts"}
        ((old, new),) = [body for body in receiver.json() if len(body) == 2]
        assert (old["labels"]["severity"], new["labels"]["severity"]) == ("warning", "critical")
        assert old["endsAt"] == "2026-11-01T02:26:40.000Z"
        assert new["endsAt"] == "2026-11-01T02:30:40.000Z"

    asyncio.run(scenario())


def test_what_fires_is_told_again_every_minute_also_after_a_restart_and_what_ended_is_not():
    async def scenario() -> None:
        async with Receiver([200]) as receiver:
            time_ = FakeClock()
            manager = Alertmanager("am", PlainText(receiver.url), clock=time_.clock())
            async with Bench(manager, clock=time_) as bench:
                await bench.deliver(make_alert(1), make_alert(2))
                await bench.deliver(resolved(2))
                ledger = bench.ledger
            del receiver.seen[:]
            again = Alertmanager("am", PlainText(receiver.url), clock=time_.clock())
            async with Bench(again, clock=time_, ledger=ledger) as bench:
                bench.engine.wake()
                began = time_.now
                await bench.until(lambda: len(receiver.seen) >= 3)
                assert time_.now - began >= 120
        for body in receiver.json()[:3]:
            assert [e["labels"]["fingerprint"] for e in body] == [make_alert(1).fingerprint]

    asyncio.run(scenario())


def test_labels_are_such_as_alertmanager_takes():
    odd = make_alert(segment={"bad-name é": "x\ny"}, kind="feature_drift")
    labels = alertmanager.labels(odd, "warning")
    assert labels["segment_bad_name__"] == "x y"
    assert labels["alertname"] == "DriftlineFeatureDrift"


@pytest.fixture(scope="module")
def real_alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = os.environ.get("DRIFTLINE_ALERTMANAGER") or shutil.which("prometheus-alertmanager")
    if not binary:
        pytest.skip("no Alertmanager here (DRIFTLINE_ALERTMANAGER): .ci/run fetches Debian's")
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "am.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *(binary, f"--config.file={folder / 'am.yml'}", f"--storage.path={folder / 'data'}"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("Alertmanager did not start")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def test_the_real_alertmanager_shows_what_fires_and_what_ended(real_alertmanager: str):
    def active() -> dict[str, str]:
        with urllib.request.urlopen(f"{real_alertmanager}/api/v2/alerts", timeout=5) as answer:
            found = orjson.loads(answer.read())
        return {a["labels"]["fingerprint"][-1]: a["labels"]["severity"] for a in found}

    odd = make_alert(3, segment={"bad-name": "x"}, summary="tab\t<b> $(rm) \u202e")

    async def scenario() -> None:
        manager = Alertmanager("am", PlainText(real_alertmanager))
        async with Bench(manager, real=True) as bench:
            await bench.deliver(make_alert(1), make_alert(2), odd)
            assert active() == {"1": "warning", "2": "warning", "3": "warning"}
            await bench.deliver(make_alert(1, revision=2, severity="critical"), resolved(2))
            assert active() == {"1": "critical", "3": "warning"}
            assert bench.lost == []

    asyncio.run(scenario())


# -- Apprise --------------------------------------------------------------------------------------


def apprise_url(receiver: Receiver) -> str:
    return receiver.url.replace("http://", "json://") + "/T0KEN?+X-Secret=T0KEN"


def test_apprise_reaches_a_service_with_the_picture_and_repeats_what_failed(caplog: Any):
    async def scenario() -> None:
        async with Receiver([503, 200]) as receiver:
            service = Apprise("any", PlainText(apprise_url(receiver)))
            async with Bench(Destination(service, traits=apprise.TRAITS)) as bench:
                await bench.deliver(make_alert())
                assert bench.ledger.results("any") == ["waiting", "retried", "delivered"]
                assert "T0KEN" not in caplog.text + str(bench.ledger.records)
            other = Apprise("any", PlainText(apprise_url(receiver)))
            await other.send(message(make_alert(), picture=drawn))
            await other.close()
        first, second, third = receiver.json()
        assert first["title"] == second["title"] == "[WARNING] fraud@v1: error rose from 0.1 to 0.3"
        assert first["type"] == "warning"
        assert [a["mimetype"] for a in third["attachments"]] == ["image/png"]

    caplog.set_level(1)
    asyncio.run(scenario())


def test_a_hung_service_of_apprise_holds_up_no_other():
    """Its shared pool would: six hung services delayed a healthy one by 3.8 s."""

    async def scenario() -> None:
        async with Receiver(["hang"]) as hung, Receiver([200]) as good:
            url = apprise_url(hung) + "&cto=0.5&rto=0.5"
            slow = [Apprise(f"hung-{n}", PlainText(url)) for n in range(8)]
            stuck = [asyncio.create_task(s.send(message(make_alert()))) for s in slow]
            await asyncio.sleep(0.2)
            healthy = Apprise("good", PlainText(apprise_url(good)))
            began = time.monotonic()
            await healthy.send(message(make_alert()))
            assert time.monotonic() - began < 0.4
            results = await asyncio.gather(*stuck, return_exceptions=True)
            assert all(isinstance(r, DeliveryError) and r.retriable for r in results)
            for service in [*slow, healthy]:
                await service.close()

    asyncio.run(scenario())


def test_a_service_with_little_room_gets_one_line():
    title, body = apprise.words(message(make_alert(summary="x" * 190)), 160)
    assert title == ""
    assert len(body) == 160
    assert "\n" not in body


def digest(*alerts: Alert) -> Message:
    return Message("d", tuple(Part(a, encode(a)) for a in alerts), "digest")


def test_a_digest_lists_the_worst_and_counts_the_rest():
    alerts = [make_alert(n, severity="critical" if n == 29 else "info") for n in range(30)]
    _, body = apprise.words(digest(*alerts), 100_000)
    lines = body.splitlines()
    assert lines[0].startswith("- CRITICAL fraud@v1 error: error rose")
    assert len(lines) == 21
    assert lines[-1] == "and 10 more: driftline alerts"


# -- the command ----------------------------------------------------------------------------------


def test_the_command_sends_a_test_and_its_end_and_says_what_went_wrong(tmp_path: Path):
    from streams.cli.notify import tell
    from streams.notify.destinations import read

    async def scenario() -> None:
        async with Receiver([202]) as receiver:
            text = f"destinations: [{{name: p, kind: pagerduty, key_env: K, url: {receiver.url}}}]"
            (pager,) = read(text, "x", {"K": "R0"})
            assert str(await tell(pager)).startswith("driftline-")
        fired, over = receiver.json()
        assert fired["payload"]["summary"].startswith("[TEST INFO] _driftline@test: a test by")
        assert (over["event_action"], over["dedup_key"]) == ("resolve", fired["dedup_key"])
        async with Receiver([401]) as receiver:
            text = f"destinations: [{{name: p, kind: pagerduty, key_env: K, url: {receiver.url}}}]"
            (pager,) = read(text, "x", {"K": "R0"})
            with pytest.raises(DeliveryError, match="HTTP 401"):
                await tell(pager)

    asyncio.run(scenario())
    path = tmp_path / "notify.yaml"
    path.write_text("destinations: [{name: journal, kind: log}]")
    run = CliRunner().invoke(app, ["notify", "test", "jornal", "--destinations", str(path)])
    assert (run.exit_code, "did you mean `journal`?" in run.stderr) == (3, True)
    run = CliRunner().invoke(app, ["notify", "test", "journal", "--destinations", str(path)])
    assert (run.exit_code, run.stdout) == (0, "journal: took the test alert\n")

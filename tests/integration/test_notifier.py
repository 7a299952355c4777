"""The notifier in a real worker on a real broker: started on old alerts, and killed."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

from driftline.alerts import Alert, encode
from streams.brokers import Broker
from streams.notify.ledger import decode
from streams.topics import Topics
from tests.integration.live import Reader, Workers
from tests.notifying import make_alert, resolved
from tests.receiver import SECRET, Receiver
from tests.smtp import Post, post_office

ALERTS = 100
DESTINATIONS = """
destinations:
  - {name: hook, kind: webhook, url: URL, secret_env: HOOK_SECRET}
  - {name: hung, kind: webhook, url: HUNG, secret_env: HOOK_SECRET, timeout: 10m}
  - name: mail
    kind: email
    host: 127.0.0.1
    port: PORT
    tls: none
    from: driftline@example.org
    to: team@example.org
    group: none
    storm: none
"""


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    """The receiver, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(receiver.__aenter__(), loop).result(10)
        yield receiver
        asyncio.run_coroutine_threadsafe(_close(receiver), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(receiver: Receiver) -> None:
    await receiver.__aexit__()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def mail_ids(post: Post) -> list[str]:
    """The alerts that mails are about; cheap, because the server's thread must have its turn."""
    found = (re.search(rb"Message-ID: <(.*?)@", raw) for raw in list(post.raw))
    return [match[1].decode() for match in found if match]


def publish(broker: Broker, topics: Topics, *alerts: Alert) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for alert in alerts:
        producer.produce(topics.alerts, encode(alert), alert.fingerprint.encode())
    assert producer.flush(20) == 0


def wait(done: Callable[[], bool], logs: Callable[[], str], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, logs()
        time.sleep(0.05)


def test_a_killed_notifier_repeats_at_most_one_message_a_destination_and_under_the_same_id(
    broker: Broker, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    old = [make_alert(1_000), make_alert(1_001), resolved(1_001)]
    alerts = [make_alert(n, revision=r) for n in range(ALERTS // 2) for r in (1, 2)]
    with (
        listening(Receiver([200])) as hook,
        listening(Receiver(["hang"])) as hung,
        post_office() as post,
    ):
        text = DESTINATIONS.replace("URL", hook.url).replace("HUNG", hung.url)
        path = tmp_path / "notify.yaml"
        path.write_text(text.replace("PORT", str(post.port)))
        workers = Workers(
            broker.bootstrap, topics, tmp_path, settings={"DRIFTLINE_DESTINATIONS": str(path)}
        )
        ledger = Reader(broker.bootstrap, topics.notifications)
        try:
            publish(broker, topics, *old)
            first = workers.start()
            wait(lambda: len(hook.seen) == 1, workers.logs, seconds=120)
            assert hook.ids() == [old[0].id], "of the past: what fires, nothing else"
            publish(broker, topics, *alerts)
            begun = lambda: len(hook.seen) > ALERTS // 3 and len(post.raw) > 0  # noqa: E731
            wait(begun, workers.logs, seconds=90)
            workers.kill(first)
            assert min(len(post.raw), len(hook.seen)) < ALERTS, "too late to prove anything"
            workers.start()
            expected = {a.id for a in alerts} | {old[0].id}

            def all_there() -> bool:
                return set(hook.ids()) == expected == set(mail_ids(post))

            wait(all_there, workers.logs, seconds=120)
            for ids in (hook.ids(), mail_ids(post)):
                assert len(ids) - len(set(ids)) <= 1, Counter(ids).most_common(3)
            told: dict[str, int] = {}
            for alert_id in hook.ids():
                alert = next(a for a in [*alerts, *old] if a.id == alert_id)
                assert told.get(alert.fingerprint, 0) <= alert.revision, "order within an incident"
                told[alert.fingerprint] = alert.revision

            def recorded(records: list[Message]) -> bool:
                results = Counter(
                    (r.destination, r.result) for m in records if (r := decode(m.value()))
                )
                return results["hook", "delivered"] >= len(expected) <= results["mail", "delivered"]

            assert ledger.until(recorded, timeout=60)
        finally:
            ledger.close()
            for process in list(workers.running):
                workers.kill(process)

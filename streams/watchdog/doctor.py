"""What `driftline doctor` looks at: each check is one line that says how it is and what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal, TypeAlias

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from driftline.alerts import PIPELINE_MODEL, Alert, decode_alert
from driftline.errors import BrokerUnreachable, ContractError, DriftlineError
from streams.config import WorkerSettings
from streams.kafka.provision import differences
from streams.kafka.records import ends, partitions_of, records
from streams.monitors.load import Monitors
from streams.monitors.load import load as load_monitors
from streams.notify.destinations import load as load_destinations
from streams.notify.rules import Destination
from streams.state.report import report
from streams.topics import Topics

Verdict: TypeAlias = Literal["ok", "note", "bad"]

SKEW_MS = 1_000
"""A clock so far off makes silence look early or late; at 2 s the idle clock runs ahead of rows."""
LAG_LEAST = 1_000
AGE_INTERVALS = 4.0
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, and what to do where it is not well."""

    name: str
    verdict: Verdict
    what: str
    do: str = ""
    code: int = 1
    """Exit code of the command where the verdict is `bad`."""


def examine(settings: WorkerSettings, *, probe: bool = False) -> Iterator[Check]:
    """All checks, those without a broker first; where it does not answer, those of it are left out.

    Args:
        settings: what a worker on this machine would run with.
        probe: whether to write an empty record to the predictions topic, which workers pass over:
            its append time tells the broker's clock.
    """
    monitors, found = _monitors(settings)
    yield found
    yield _destinations(settings, monitors)
    yield _state_folder(settings)
    if settings.broker is None:
        what, do = "no broker named", "set DRIFTLINE_BROKER or give --broker HOST:PORT"
        yield Check("broker", "bad", what, do, 2)
        return
    try:
        yield _broker(settings.broker)
        yield from _cluster(settings, settings.broker, monitors, probe=probe)
    except BrokerUnreachable as away:
        do = "is it running, is the address right, does a firewall or its listener name differ?"
        yield Check("broker", "bad", str(away), do, away.exit_code)


def _cluster(
    settings: WorkerSettings, broker: str, monitors: Monitors, *, probe: bool
) -> Iterator[Check]:
    topics = Topics(
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        source_partitions=settings.source_partitions,
        horizon_ms=monitors.longest_horizon_ms,
        names=Topics.from_other_sources(settings.source_prefix),
    )
    wrong = list(_topics(settings, broker, topics))
    yield from wrong
    if any(check.verdict == "bad" for check in wrong):
        return
    yield _clock(settings, broker, topics, probe=probe)
    yield _workers(broker, settings.group)
    yield _ingest_lag(broker, settings.group, topics)
    yield from _checkpoints(settings, broker, topics)
    yield from _troubles(broker, topics)


# -- this machine --------------------------------------------------------------------------------


def _monitors(settings: WorkerSettings) -> tuple[Monitors, Check]:
    try:
        monitors = load_monitors(settings.monitors)
    except DriftlineError as error:
        do = f"driftline check {settings.monitors}"
        return Monitors(), Check("monitors", "bad", str(error).splitlines()[0], do, error.exit_code)
    if settings.monitors is None:
        return monitors, Check("monitors", "ok", "no folder named: defaults for every model")
    return monitors, Check("monitors", "ok", f"{len(monitors.specs)} in {settings.monitors}")


def _destinations(settings: WorkerSettings, monitors: Monitors) -> Check:
    try:
        found: list[Destination] = load_destinations(settings.destinations, models=monitors.notify)
    except DriftlineError as error:
        do = "see docs/alerts.md; `driftline notify test NAME` tries one out"
        return Check("destinations", "bad", str(error).splitlines()[0], do, error.exit_code)
    return Check("destinations", "ok", ", ".join(d.name for d in found))


def _state_folder(settings: WorkerSettings) -> Check:
    folder = settings.state_dir
    if folder is None:
        what = "none: predictions wait for labels in memory and in checkpoints"
        return Check("state folder", "ok", what)
    there: Path = folder if folder.exists() else folder.parent
    try:
        with NamedTemporaryFile(dir=there):
            pass
    except OSError as error:
        do = f"give this user (the container's 10001) write access to {folder}"
        return Check("state folder", "bad", f"{there}: {error.strerror}", do)
    return Check("state folder", "ok", f"{folder} can be written")


# -- the broker ----------------------------------------------------------------------------------


def _broker(bootstrap: str) -> Check:
    began = time.monotonic()
    try:
        cluster = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(
            timeout=TIMEOUT_S
        )
    except KafkaException as error:
        raise BrokerUnreachable(bootstrap, error.args[0].str()) from error
    took_ms = round((time.monotonic() - began) * 1000)
    what = f"{len(cluster.brokers)} at {bootstrap} answer in {took_ms} ms"
    return Check("broker", "ok", what)


def _topics(settings: WorkerSettings, broker: str, topics: Topics) -> Iterator[Check]:
    try:
        found = differences(broker, topics, create_time=settings.clock == "records")
    except BrokerUnreachable:
        raise
    except DriftlineError as error:
        yield Check("topics", "bad", str(error), "see the message")
        return
    missing = [text for text in found if text.endswith(": missing")]
    for text in found:
        verdict: Verdict = "bad" if text in missing else "note"
        yield Check("topics", verdict, text, "driftline topics apply")
    if not found:
        yield Check("topics", "ok", f"{len(topics.table())} as they should be")


def _clock(settings: WorkerSettings, broker: str, topics: Topics, *, probe: bool) -> Check:
    if settings.clock == "records":
        return Check("clock", "ok", "time moves with the records (clock: records)")
    if not probe:
        return Check("clock", "note", "not looked at", "`--probe` writes an empty record to see it")
    skew_ms = _skew_ms(broker, topics.predictions)
    if skew_ms is None:
        return Check("clock", "note", "the broker did not say when it took a record")
    what = f"the broker's is {abs(skew_ms)} ms {'ahead of' if skew_ms > 0 else 'behind'} ours"
    if abs(skew_ms) > SKEW_MS:
        return Check("clock", "bad", what, "let NTP set both clocks")
    return Check("clock", "ok", what)


def _skew_ms(broker: str, topic: str) -> int | None:
    """Append time of a record without a value, less the middle of our own times around it."""
    taken: list[int] = []
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 0, "log_level": 0})

    def note(error: object, message: object) -> None:
        if error is None:
            taken.append(message.timestamp()[1])  # type: ignore[attr-defined]  # untyped library

    for _ in range(2):  # the first one waits for connections
        taken.clear()
        before = time.time_ns() // 1_000_000
        producer.produce(topic, None, on_delivery=note)
        producer.flush(TIMEOUT_S)
        after = time.time_ns() // 1_000_000
    return taken[-1] - (before + after) // 2 if taken else None


def _workers(broker: str, group: str) -> Check:
    try:
        future = AdminClient({"bootstrap.servers": broker, "log_level": 0})
        found = future.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group].result()
    except (KafkaException, ValueError) as error:
        return Check("workers", "note", f"the broker does not tell: {error}")
    members, state = len(found.members), found.state.name.lower()
    if not members:
        return Check("workers", "bad", f"none in group {group}", "driftline worker")
    verdict: Verdict = "ok" if state == "stable" else "note"
    return Check("workers", verdict, f"{members} in group {group}, {state}")


def _ingest_lag(broker: str, group: str, topics: Topics) -> Check:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": group, "log_level": 0})
    lag = 0
    try:
        for topic in (topics.predictions, topics.labels):
            asked = [TopicPartition(topic, p) for p in partitions_of(broker, topic)]
            at = {tp.partition: max(0, tp.offset) for tp in consumer.committed(asked, TIMEOUT_S)}
            reached = ends(broker, topic, at)
            lag += sum(max(0, end - at[p]) for p, end in reached.items())
    except KafkaException as error:
        return Check("lag", "note", f"the broker does not tell: {error}")
    finally:
        consumer.close()
    what = f"ingest is {lag:,} messages behind"
    if lag > LAG_LEAST:
        return Check("lag", "note", what, "look again: if it grows, add workers or partitions")
    return Check("lag", "ok", what)


def _checkpoints(settings: WorkerSettings, broker: str, topics: Topics) -> Iterator[Check]:
    found = list(report(broker, topics, None, time.time_ns() // 1_000_000))
    limit_s = AGE_INTERVALS * settings.checkpoint_interval_s
    old = [each for each in found if each.lag and each.age_s > limit_s]
    for each in old:
        what = f"{each.stage}/{each.partition}: {each.age_s:,.0f} s old, {each.lag:,} behind"
        do = "is a worker running, what does its log say? see `driftline state`"
        yield Check("checkpoints", "bad", what, do)
    if not found:
        yield Check("checkpoints", "note", "none yet", "they come seconds after the first traffic")
    elif not old:
        yield Check("checkpoints", "ok", f"{len(found)} partitions up to date")


def _troubles(broker: str, topics: Topics) -> Iterator[Check]:
    newest: dict[str, Alert] = {}
    for record in records(broker, topics.alerts):
        if record.value is None or PIPELINE_MODEL.encode() not in record.value:
            continue
        try:
            alert = decode_alert(record.value)
        except ContractError:
            continue  # the notifier dead-letters it
        known = newest.get(alert.fingerprint)
        if alert.model == PIPELINE_MODEL and (known is None or alert.order > known.order):
            newest[alert.fingerprint] = alert
    firing = [alert for alert in newest.values() if alert.status == "firing"]
    for alert in firing:
        what = f"{alert.version} {alert.signal} since {alert.started_at}: {alert.summary}"
        yield Check("pipeline", "bad", what, "docs/operations.md says what each signal means")
    if not firing:
        yield Check("pipeline", "ok", "no pipeline alert fires")

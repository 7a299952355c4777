"""`driftline demo`: broker, topics, worker, traffic and story, put together."""

from __future__ import annotations

import gzip
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from driftline.alerts import decode_alert, decode_window
from driftline.errors import DriftlineError
from streams.brokers import Broker, start_broker
from streams.demo import lines, traffic
from streams.demo.data import DAY_MS
from streams.demo.expected import differences
from streams.demo.feed import Feed, Gate
from streams.demo.listen import Listener
from streams.demo.receiver import Receiver, new_secret
from streams.demo.story import Story
from streams.demo.worker import MONITORS, WorkerProcess
from streams.kafka.provision import apply
from streams.topics import Topics

START_S = 120.0
"""Longest the worker may take to get its partitions."""
STALL_S = 90.0
"""Longest without any window closing."""
WEBHOOK_S = 15.0
PARTITIONS = 2


class DemoError(DriftlineError):
    """The demo could not be played to its end."""


def run(*, bootstrap: str | None = None, stay: bool = False, console: Console | None = None) -> int:
    """Plays the demo and returns its exit code: 0 if exactly the expected alerts came, else 1.

    Args:
        bootstrap: `host:port` of a Kafka to use; absent: the environment's, else the embedded one.
        stay: keep everything running at the end, to look around, until Ctrl-C.
        console: where to tell the story; absent: stdout.

    Raises:
        DriftlineError: there is no broker, or the worker failed or stood still.
    """
    story = Story(console or _console())
    story.say("training three models on real data ...")
    records = traffic.records()
    story.say(f"{len(records):,} events: two models served, {_days()} days, in fast-forward")
    with ExitStack() as stack:
        broker = stack.enter_context(start_broker("quick", bootstrap=bootstrap, say=story.say))
        topics = _topics(broker)
        apply(broker.bootstrap, topics, create_time=True)
        secret = new_secret()
        gate = Gate()
        receiver = stack.enter_context(Receiver(secret, story.delivery))
        log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftline-demo-")))
        worker = stack.enter_context(
            WorkerProcess(
                log / "worker.log",
                {
                    "DRIFTLINE_BROKER": broker.bootstrap,
                    "DRIFTLINE_TOPIC_PREFIX": topics.prefix,
                    "DRIFTLINE_PARTITIONS": str(PARTITIONS),
                    "DRIFTLINE_SOURCE_PARTITIONS": str(PARTITIONS),
                    "DRIFTLINE_WEBHOOK_URL": receiver.url,
                    "DRIFTLINE_WEBHOOK_SECRET": secret,
                },
            )
        )
        listener = stack.enter_context(_listener(broker, topics, story, gate))
        _wait_until_ready(worker)
        story.say(f"worker: ready, metrics at {worker.metrics_url}\n")
        story.milestones(traffic.MILESTONES)
        with story.playing(), _feeding(broker, topics, records, gate) as feed:
            _watch(story, worker, listener, feed)
        different = [*differences(story.alerts), *_undelivered(story, receiver)]
        story.summary(different)
        story.next_steps(_steps(broker, topics, worker, stay=stay))
        if stay:
            _look_around(story)
    return 1 if different else 0


def write(folder: Path) -> tuple[Path, Path]:
    """Writes the demo's traffic as files for `driftline replay`; returns predictions and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    records = traffic.records()
    paths = []
    for kind in ("prediction", "label"):
        path = folder / f"{kind}s.jsonl.gz"
        text = b"".join(record.value + b"\n" for record in records if record.kind == kind)
        path.write_bytes(gzip.compress(text, 6, mtime=0))
        paths.append(path)
    return paths[0], paths[1]


def _console() -> Console:
    """Stdout; wide enough for the summary where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def _topics(broker: Broker) -> Topics:
    """The plain names on our own broker; on somebody's, names that touch nothing of theirs."""
    prefix = "" if _is_ours(broker) else f"demo-{secrets.token_hex(3)}-"
    return Topics(prefix=prefix, partitions=PARTITIONS, source_partitions=PARTITIONS)


def _is_ours(broker: Broker) -> bool:
    from streams.brokers import LocalBroker  # noqa: PLC0415

    return isinstance(broker, LocalBroker)


def _listener(broker: Broker, topics: Topics, story: Story, gate: Gate) -> Listener:
    def on_alert(value: bytes) -> None:
        story.alert(decode_alert(value))

    def on_window(value: bytes) -> None:
        story.window(decode_window(value))
        gate.closed(story.now)

    return Listener(broker.bootstrap, {topics.alerts: on_alert, topics.windows: on_window})


class _Feeding:
    """The feed in a thread of its own."""

    def __init__(self, feed: Feed, records: Sequence[traffic.Record], gate: Gate) -> None:
        self.error: Exception | None = None
        self._feed, self._records, self._gate = feed, records, gate
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._feed.play(self._records, self._gate)
        except Exception as error:  # told by the main thread, which must not wait for ever
            self.error = error

    def join(self) -> None:
        self._thread.join(timeout=10)


@contextmanager
def _feeding(
    broker: Broker, topics: Topics, records: Sequence[traffic.Record], gate: Gate
) -> Iterator[_Feeding]:
    names = {"prediction": topics.predictions, "label": topics.labels}
    feeding = _Feeding(Feed(broker.bootstrap, names, PARTITIONS), records, gate)
    try:
        yield feeding
    finally:
        gate.give_up()
        feeding.join()


def _wait_until_ready(worker: WorkerProcess) -> None:
    deadline = time.monotonic() + START_S
    while not worker.ready:
        _check(worker)
        if time.monotonic() > deadline:
            raise DemoError(f"the worker is not ready after {START_S:.0f} s:\n{worker.log_tail()}")
        time.sleep(0.1)


def _watch(story: Story, worker: WorkerProcess, listener: Listener, feed: _Feeding) -> None:
    """Returns when the last windows have closed and the webhooks have come."""
    seen, since = -1, time.monotonic()
    while story.now < traffic.END:
        story.tell()
        _check(worker)
        for error in (listener.error, feed.error):
            if error is not None:
                raise error
        if story.windows > seen:
            seen, since = story.windows, time.monotonic()
        elif time.monotonic() - since > STALL_S:
            where = lines.day(story.now)
            raise DemoError(
                f"no window closed for {STALL_S:.0f} s, at {where}:\n{worker.log_tail()}"
            )
        time.sleep(0.1)
    time.sleep(1.0)  # whatever alert is still on its way would be one too many
    deadline = time.monotonic() + WEBHOOK_S
    while _missing_deliveries(story) and time.monotonic() < deadline:
        time.sleep(0.1)


def _check(worker: WorkerProcess) -> None:
    failure = worker.failure
    if failure is not None:
        raise DemoError(f"{failure}:\n{worker.log_tail()}")


def _missing_deliveries(story: Story) -> list[str]:
    return sorted({alert.id for alert in story.alerts} - story.deliveries)


def _undelivered(story: Story, receiver: Receiver) -> list[str]:
    found = [f"webhook: alert {each} was not delivered" for each in _missing_deliveries(story)]
    if receiver.refused:
        found.append(f"webhook: {receiver.refused} came with a wrong signature")
    return found


def _steps(
    broker: Broker, topics: Topics, worker: WorkerProcess, *, stay: bool
) -> list[tuple[str, str]]:
    """Commands to try, as they must be typed in this folder, and what each is for."""
    command = _shown(Path(sys.argv[0])) if shutil.which("driftline") is None else "driftline"
    at = f"--broker {broker.bootstrap}"
    if topics.prefix:
        at += f" --topic-prefix {topics.prefix}"
    live = [
        (f"{command} alerts --all {at}", "every incident, from the alert topic"),
        (f"{command} alerts --all --json {at}", "the same as a program would read it"),
        (f"curl -s {worker.metrics_url} | grep performance_value", "what Prometheus scrapes"),
    ]
    files = "--predictions demo-data/predictions.jsonl.gz --labels demo-data/labels.jsonl.gz"
    always = [
        (f"{command} demo --write demo-data", "the demo's traffic as files"),
        (
            f"{command} replay {files} --config {_shown(MONITORS)}",
            "the same steps without Kafka, and the same alerts",
        ),
        (f"{command} up --help", "broker, topics and worker for events of your own"),
    ]
    return [*live, *always] if stay else [(f"{command} demo --stay", "look around"), *always]


def _shown(path: Path) -> str:
    """A path as one would type it here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _look_around(story: Story) -> None:
    story.say("\nEverything is still running. Ctrl-C ends it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        story.say("stopping")


def _days() -> int:
    return (traffic.END - traffic.START) // DAY_MS

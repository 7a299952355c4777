"""One campaign: a seeded stream, random faults while it flows, and what must be equal at the end.

Equal means: per prediction id what join emitted, every counter, window and alert, of the disturbed
deployment, of an undisturbed one over the same source topics, and of `replay` over their export.
"""

from __future__ import annotations

import random
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from streams.kafka.provision import apply
from streams.topics import Topics
from tests.chaos.cluster import Cluster
from tests.chaos.export import export, missing
from tests.chaos.faults import FAULTS, Deployment, Fault, FaultError
from tests.chaos.ids import Seen, differences, per_id
from tests.chaos.progress import Progress
from tests.integration.live import Workers, feed
from tests.integration.test_pipeline import MONITOR, SETTLE_MS, Expected, Live, replay
from tests.stream import Stream, make_stream

ROWS_PER_FAULT = 120
GOES_ON_S = 240.0
"""How long the deployment may take after a fault to be done with what came before the last one."""
DONE_S = 600.0
APART_S = 120.0
"""The same where windows are expected to differ: they are waited for in vain."""
COUNTED = ("joined", "duplicates", "late")
D = TypeVar("D", bound=Deployment)
Act = tuple[str, Fault]
"""What it is called, and what it does."""


@dataclass
class Outcome:
    """What a campaign went through and found."""

    seed: int
    survived: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    ids: int = 0
    ended: int = 0
    """Workers that ended by themselves, and were started again as a supervisor does."""
    seconds: float = 0.0


def run(
    seed: int, faults: int, kinds: Sequence[str] = tuple(FAULTS), logs: Path | None = None
) -> Outcome:
    """Runs one campaign on three brokers of its own; `logs`: where the workers' logs are kept."""
    outcome, began = Outcome(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="driftline-campaign-") as folder:
        root = Path(folder)
        try:
            with Cluster.start() as cluster:
                campaign(outcome, cluster.bootstrap, root, plan(seed, faults, kinds), cluster)
        finally:
            if logs is not None:
                shutil.copytree(root / "hurt", logs / f"seed-{seed}", dirs_exist_ok=True)
    outcome.seconds = time.monotonic() - began
    return outcome


def plan(seed: int, faults: int, kinds: Sequence[str]) -> list[str]:
    """The faults in order: each kind once if there are so many, and then any."""
    rng = random.Random(seed)
    first = rng.sample(list(kinds), min(faults, len(kinds)))
    return first + [rng.choice(kinds) for _ in range(faults - len(first))]


def campaign(
    outcome: Outcome, bootstrap: str, root: Path, faults: Sequence[str], cluster: Cluster | None
) -> None:
    """Runs one campaign; what is not as it should be is in `outcome.problems` then.

    Args:
        outcome: with the seed; the rest is filled in.
        bootstrap: of the broker that the workers use.
        root: an empty folder for state and logs.
        faults: their names, in order.
        cluster: what faults on brokers act on; None: there are none.
    """
    play(
        outcome,
        bootstrap,
        root,
        [(name, FAULTS[name]) for name in faults],
        make=lambda workers: Deployment(cluster, workers, random.Random(outcome.seed), root),
    )


def play(
    outcome: Outcome,
    bootstrap: str,
    root: Path,
    acts: Sequence[Act],
    *,
    make: Callable[[Workers], D],
    former: Path | None = None,
) -> D:
    """A stream in as many parts as there are acts, one act in each, and the comparison at the end.

    Returns what they acted on; no worker runs any more.

    Args:
        outcome: with the seed; the rest is filled in.
        bootstrap: of the broker that the workers use.
        root: an empty folder for state and logs.
        acts: names and faults, in order.
        make: what they act on.
        former: another program that is part of it: what it says of the same events otherwise than
            this one is left out of the comparison, and told.
    """
    stream = make_stream(max(2_000, ROWS_PER_FAULT * len(acts)), seed=outcome.seed)
    monitors = write_monitors(root)
    say(f"seed {outcome.seed}: {len(stream.predictions)} predictions, {len(acts)} faults")
    name = f"{secrets.token_hex(3)}-"
    hurt = deployment(bootstrap, root / "hurt", monitors, f"hurt-{name}")
    on = make(hurt.workers)
    try:
        on.start()
        on.start()
        progress = _hurt(on, hurt, stream, acts, outcome)
        end = stream.last_arrival + SETTLE_MS
        rest = stream.since(cuts(stream, len(acts))[-1])
        feed(bootstrap, hurt.topics, rest, end_ms=end)
        source = export(bootstrap, hurt.topics, end)
        if lost := missing(stream, source):
            outcome.problems.append(f"{lost} events were never in the source topics")
        expected = replay(source, monitors, root)
        apart = _apart(source, expected, monitors, root, former) if former else frozenset()
        compare("after the faults", outcome, hurt, expected, apart)
        found = per_id(progress.records(end, more_s=3))  # what a zombie may add
        progress.close()
        if waiting := on.armed:
            outcome.problems.append(f"{waiting} messages that were to be lost were never sent")
    finally:
        outcome.ended = on.ended
        on.end()
    calm = deployment(bootstrap, root / "calm", monitors, f"calm-{name}", source=hurt.topics.prefix)
    hold_against(calm, outcome, found, expected, end)
    return on


def _apart(
    source: Stream, expected: Expected, monitors: Path, root: Path, former: Path
) -> frozenset[str]:
    """The windows and alerts that the former program computes otherwise, from the same events."""
    folder = root / "former-says"
    folder.mkdir()
    theirs = replay(source, monitors, folder, former)
    ours, said = {**expected.windows, **expected.alerts}, {**theirs.windows, **theirs.alerts}
    apart = frozenset(k for k in ours.keys() | said.keys() if ours.get(k) != said.get(k))
    if apart:
        say(f"  {len(apart)} of {len(ours)} windows and alerts are computed otherwise: left out")
    return apart


def hold_against(calm: Live, outcome: Outcome, found: Seen, expected: Expected, end: int) -> None:
    """Runs an undisturbed worker over the same source topics, and compares per prediction id.

    Args:
        calm: its deployment.
        outcome: takes what differs.
        found: what the disturbed deployment emitted.
        expected: what `replay` says.
        end: arrival at which the stream ends, in ms.
    """
    progress = Progress(calm.bootstrap, calm.topics)
    try:
        calm.workers.start()
        compare("undisturbed", outcome, calm, expected)
        wanted = per_id(progress.records(end))
        progress.close()
    finally:
        calm.workers.stop()
    outcome.ids = len(wanted)
    outcome.problems += differences(found, wanted)


def write_monitors(root: Path) -> Path:
    """The folder with the stream's monitor files."""
    monitors = root / "monitors"
    monitors.mkdir()
    for model in ("fraud", "price"):
        (monitors / f"{model}.yaml").write_text(MONITOR.format(model=model))
    return monitors


def deployment(
    bootstrap: str, folder: Path, monitors: Path, prefix: str, *, source: str | None = None
) -> Live:
    """A deployment without workers yet, with topics of its own.

    Args:
        bootstrap: of the broker.
        folder: made for the logs of its workers.
        monitors: folder of monitor files.
        prefix: of its topics.
        source: prefix of another deployment whose source topics it reads.
    """
    folder.mkdir()
    topics = Topics(
        prefix=prefix, names=Topics.from_other_sources(source), horizon_ms=6 * 3_600_000
    )
    apply(bootstrap, topics, create_time=True)
    settings = {"DRIFTLINE_REQUEST_TIMEOUT_S": "10"}
    if source is not None:
        settings["DRIFTLINE_SOURCE_PREFIX"] = source
    workers = Workers(bootstrap, topics, folder, monitors, settings)
    return Live(workers, topics, bootstrap)


def cuts(stream: Stream, faults: int) -> list[int]:
    """Arrivals at which a part of the stream ends and the next fault comes."""
    every = len(stream.predictions) // (faults + 1)
    return [stream.predictions[i * every]["arrival"] for i in range(1, faults + 1)]


def _hurt(
    on: Deployment, live: Live, stream: Stream, acts: Sequence[Act], outcome: Outcome
) -> Progress:
    """Feeds the stream part by part, each with a fault in the middle of it."""
    begin = 0
    progress = Progress(live.bootstrap, live.topics)
    with ThreadPoolExecutor(1) as pool:
        for number, ((name, act), cut) in enumerate(
            zip(acts, cuts(stream, len(acts)), strict=True), 1
        ):
            part = stream.since(begin).until(cut)
            fed = pool.submit(feed, live.bootstrap, live.topics, part, end_ms=cut)
            time.sleep(on.rng.uniform(0, 2))
            began = time.monotonic()
            try:
                act(on)
                fed.result()
                progress.wait(begin, GOES_ON_S, on.any_worker)  # whatever ended is started again
            except FaultError as error:
                outcome.problems.append(f"fault {number}, {name}: {error}")
            else:
                outcome.survived[name] += 1
            say(f"  {number:3d}/{len(acts)}  {name}  ({time.monotonic() - began:.1f} s)")
            begin = cut
    return progress


def compare(
    when: str,
    outcome: Outcome,
    live: Live,
    expected: Expected,
    apart: frozenset[str] = frozenset(),
) -> None:
    """Alerts, windows and counters against those of replay; `pipeline` alerts and `apart` apart."""
    alerts, windows = live.says(expected, APART_S if apart else DONE_S)
    ours = {key: a for key, a in alerts.items() if a["kind"] != "pipeline"}
    outcome.problems += unlike(f"{when}: alert", ours, expected.alerts, apart)
    outcome.problems += unlike(f"{when}: window", windows, expected.windows, apart)
    counts = live.workers.counters(60)
    for name in COUNTED:
        if counts.get(name) != expected.summary[name]:
            said = f"{when}: {name} {counts.get(name)}, expected {expected.summary[name]}"
            outcome.problems.append(said)


def unlike(
    what: str, got: Mapping[str, object], expected: Mapping[str, object], apart: frozenset[str]
) -> list[str]:
    """A line for each key, but those `apart`, whose values differ."""
    keys = sorted((got.keys() | expected.keys()) - apart)
    return [f"{what} {key} differs" for key in keys if got.get(key) != expected.get(key)]


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)

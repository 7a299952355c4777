"""One campaign: a seeded stream, random faults while it flows, and what must be equal at the end.

Equal means: per prediction id what join emitted, every counter, window and alert, of the disturbed
deployment, of an undisturbed one over the same source topics, and of `replay` over the files.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Message

from streams.provision import apply
from streams.topics import Topics
from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS, Deployment
from tests.chaos.ids import differences, per_id
from tests.integration.live import Reader, Workers, feed
from tests.integration.test_pipeline import MONITOR, SETTLE_MS, Expected, Live, replay
from tests.stream import Stream, make_stream

ROWS_PER_FAULT = 120
DONE_S = 180.0
COUNTED = ("joined", "duplicates", "late")


@dataclass
class Outcome:
    """What a campaign went through and found."""

    seed: int
    survived: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    ids: int = 0
    seconds: float = 0.0


def run(seed: int, faults: int, kinds: Sequence[str] = tuple(FAULTS)) -> Outcome:
    """Runs one campaign on three brokers of its own."""
    outcome, began = Outcome(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="driftline-campaign-") as folder:
        root = Path(folder)
        with Cluster.start() as cluster:
            _campaign(outcome, cluster, root, faults, kinds)
    outcome.seconds = time.monotonic() - began
    return outcome


def _campaign(
    outcome: Outcome, cluster: Cluster, root: Path, faults: int, kinds: Sequence[str]
) -> None:
    rng = random.Random(outcome.seed)
    stream = make_stream(max(2_000, ROWS_PER_FAULT * faults), seed=outcome.seed)
    monitors = root / "monitors"
    monitors.mkdir()
    for model in ("fraud", "price"):
        (monitors / f"{model}.yaml").write_text(MONITOR.format(model=model))
    expected = replay(stream, monitors, root)
    say(f"seed {outcome.seed}: {len(stream.predictions)} predictions, {faults} faults")
    hurt = _live(cluster, root / "hurt", monitors, f"hurt{outcome.seed}-")
    on = Deployment(cluster, hurt.workers, rng, root)
    on.start()
    on.start()
    plan = [rng.choice(kinds) for _ in range(faults)]
    plan[: len(kinds)] = rng.sample(list(kinds), len(kinds))[:faults]  # each at least once
    _hurt(on, hurt, stream, plan, outcome)
    end = stream.last_arrival + SETTLE_MS
    feed(cluster.bootstrap, hurt.topics, stream.since(_cuts(stream, faults)[-1]), end_ms=end)
    _compare("after the faults", outcome, hurt, expected)
    found = per_id(_observations(hurt))
    hurt.workers.stop()
    calm = _live(
        cluster, root / "calm", monitors, f"calm{outcome.seed}-", source=hurt.topics.prefix
    )
    calm.workers.start()
    _compare("undisturbed", outcome, calm, expected)
    wanted = per_id(_observations(calm))
    calm.workers.stop()
    outcome.ids = len(wanted)
    outcome.problems += differences(found, wanted)


def _live(
    cluster: Cluster, folder: Path, monitors: Path, prefix: str, *, source: str | None = None
) -> Live:
    folder.mkdir()
    topics = Topics(
        prefix=prefix, names=Topics.from_other_sources(source), horizon_ms=6 * 3_600_000
    )
    apply(cluster.bootstrap, topics, create_time=True)
    settings = {"DRIFTLINE_REQUEST_TIMEOUT_S": "10"}
    if source is not None:
        settings["DRIFTLINE_SOURCE_PREFIX"] = source
    workers = Workers(cluster.bootstrap, topics, folder, monitors, settings)
    return Live(workers, topics, cluster.bootstrap)


def _cuts(stream: Stream, faults: int) -> list[int]:
    """Arrivals at which a part of the stream ends and the next fault comes."""
    every = len(stream.predictions) // (faults + 1)
    return [stream.predictions[i * every]["arrival"] for i in range(1, faults + 1)]


def _hurt(
    on: Deployment, live: Live, stream: Stream, plan: Sequence[str], outcome: Outcome
) -> None:
    """Feeds the stream part by part, each with a fault in the middle of it."""
    begin = 0
    with ThreadPoolExecutor(1) as pool:
        for number, (name, cut) in enumerate(zip(plan, _cuts(stream, len(plan)), strict=True), 1):
            part = stream.since(begin).until(cut)
            fed = pool.submit(feed, on.cluster.bootstrap, live.topics, part, end_ms=cut)
            time.sleep(on.rng.uniform(0, 2))
            began = time.monotonic()
            FAULTS[name](on)
            fed.result()
            on.any_worker()  # whatever ended is started again
            live.wait_for_observations(1)  # it goes on
            outcome.survived[name] += 1
            say(f"  {number:3d}/{len(plan)}  {name}  ({time.monotonic() - began:.1f} s)")
            begin = cut


def _compare(when: str, outcome: Outcome, live: Live, expected: Expected) -> None:
    """Alerts, windows and counters against those of replay; `pipeline` alerts apart."""
    alerts, windows = live.says(expected, DONE_S)
    ours = {key: a for key, a in alerts.items() if a["kind"] != "pipeline"}
    outcome.problems += _unlike(f"{when}: alert", ours, expected.alerts)
    outcome.problems += _unlike(f"{when}: window", windows, expected.windows)
    counts = live.workers.counters(60)
    for name in COUNTED:
        if counts.get(name) != expected.summary[name]:
            said = f"{when}: {name} {counts.get(name)}, expected {expected.summary[name]}"
            outcome.problems.append(said)


def _unlike(what: str, got: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    keys = sorted(got.keys() | expected.keys())
    return [f"{what} {key} differs" for key in keys if got.get(key) != expected.get(key)]


def _observations(live: Live) -> list[Message]:
    reader = Reader(live.bootstrap, live.topics.observations)
    try:
        quiet = [0, time.monotonic()]

        def done(records: list[Message]) -> bool:
            if len(records) != quiet[0]:
                quiet[:] = [len(records), time.monotonic()]
            return time.monotonic() - quiet[1] > 5

        reader.until(done, timeout=60)
        return reader.records
    finally:
        reader.close()


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)

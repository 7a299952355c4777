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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from streams.kafka.provision import apply
from streams.topics import Topics
from tests.chaos.cluster import Cluster
from tests.chaos.export import export, missing
from tests.chaos.faults import FAULTS, Deployment, FaultError
from tests.chaos.ids import differences, per_id
from tests.chaos.progress import Progress
from tests.integration.live import Workers, feed
from tests.integration.test_pipeline import MONITOR, SETTLE_MS, Expected, Live, replay
from tests.stream import Stream, make_stream

ROWS_PER_FAULT = 120
GOES_ON_S = 240.0
"""How long the deployment may take after a fault to be done with what came before the last one."""
DONE_S = 600.0
COUNTED = ("joined", "duplicates", "late")


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
    stream = make_stream(max(2_000, ROWS_PER_FAULT * len(faults)), seed=outcome.seed)
    monitors = root / "monitors"
    monitors.mkdir()
    for model in ("fraud", "price"):
        (monitors / f"{model}.yaml").write_text(MONITOR.format(model=model))
    say(f"seed {outcome.seed}: {len(stream.predictions)} predictions, {len(faults)} faults")
    name = f"{secrets.token_hex(3)}-"
    hurt = _live(bootstrap, root / "hurt", monitors, f"hurt-{name}")
    on = Deployment(cluster, hurt.workers, random.Random(outcome.seed), root)
    try:
        on.start()
        on.start()
        progress = _hurt(on, hurt, stream, faults, outcome)
        end = stream.last_arrival + SETTLE_MS
        rest = stream.since(_cuts(stream, len(faults))[-1])
        feed(bootstrap, hurt.topics, rest, end_ms=end)
        source = export(bootstrap, hurt.topics, end)
        if lost := missing(stream, source):
            outcome.problems.append(f"{lost} events were never in the source topics")
        expected = replay(source, monitors, root)
        _compare("after the faults", outcome, hurt, expected)
        found = per_id(progress.records(end, more_s=3))  # what a zombie may add
        progress.close()
        if waiting := sum(cluster.proxies.armed.values()) if cluster is not None else 0:
            outcome.problems.append(f"{waiting} messages that were to be lost were never sent")
    finally:
        outcome.ended = on.ended
        on.end()
    calm = _live(bootstrap, root / "calm", monitors, f"calm-{name}", source=hurt.topics.prefix)
    progress = Progress(bootstrap, calm.topics)
    try:
        calm.workers.start()
        _compare("undisturbed", outcome, calm, expected)
        wanted = per_id(progress.records(end))
        progress.close()
    finally:
        calm.workers.stop()
    outcome.ids = len(wanted)
    outcome.problems += differences(found, wanted)


def _live(
    bootstrap: str, folder: Path, monitors: Path, prefix: str, *, source: str | None = None
) -> Live:
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


def _cuts(stream: Stream, faults: int) -> list[int]:
    """Arrivals at which a part of the stream ends and the next fault comes."""
    every = len(stream.predictions) // (faults + 1)
    return [stream.predictions[i * every]["arrival"] for i in range(1, faults + 1)]


def _hurt(
    on: Deployment, live: Live, stream: Stream, faults: Sequence[str], outcome: Outcome
) -> Progress:
    """Feeds the stream part by part, each with a fault in the middle of it."""
    begin = 0
    progress = Progress(live.bootstrap, live.topics)
    with ThreadPoolExecutor(1) as pool:
        for number, (name, cut) in enumerate(
            zip(faults, _cuts(stream, len(faults)), strict=True), 1
        ):
            part = stream.since(begin).until(cut)
            fed = pool.submit(feed, live.bootstrap, live.topics, part, end_ms=cut)
            time.sleep(on.rng.uniform(0, 2))
            began = time.monotonic()
            try:
                FAULTS[name](on)
                fed.result()
                progress.wait(begin, GOES_ON_S, on.any_worker)  # whatever ended is started again
            except FaultError as error:
                outcome.problems.append(f"fault {number}, {name}: {error}")
            else:
                outcome.survived[name] += 1
            say(f"  {number:3d}/{len(faults)}  {name}  ({time.monotonic() - began:.1f} s)")
            begin = cut
    return progress


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


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)

"""`python -m tests.bench.quix_app`: the job as a Quix Streams application; the peer to beat.

One streaming dataframe per topic, its own JSON deserializer (orjson), the join in memory,
at-least-once, no changelog. Runs in `.venv-bench`, because it wants an older confluent-kafka.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from quixstreams import Application

from tests.bench.job import Job, Progress


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("group")
    parser.add_argument("predictions")
    parser.add_argument("labels")
    parser.add_argument("progress")
    given = parser.parse_args()
    job, progress = Job(), Progress(given.progress)

    def prediction(event: dict[str, Any]) -> None:
        job.prediction(event)
        progress.one()

    def label(event: dict[str, Any]) -> None:
        job.label(event)
        progress.one()

    app = Application(
        broker_address=given.bootstrap,
        consumer_group=given.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=Path(given.progress).parent / "quix",
        loglevel="WARNING",
        consumer_extra_config={"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000},
    )
    for name, take in ((given.predictions, prediction), (given.labels, label)):
        topic = app.topic(name, value_deserializer="json", key_deserializer="bytes")
        app.dataframe(topic).update(take)
    app.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

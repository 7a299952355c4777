"""`python -m tests.bench.faust_app`: the job as a stock Faust application; a baseline.

Per event, two agents, raw bytes decoded by orjson (quicker than Faust's own models and codecs), the
join in memory, at-least-once. Faust's own settings but for a join that does not take a minute.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faust
import orjson

from tests.bench.job import Job, Progress


def build(
    bootstrap: str, group: str, topics: Sequence[str], progress: Progress, folder: Path
) -> Any:
    """The application; `topics`: predictions, labels; `folder`: for what Faust makes."""
    app = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder / "faust",
        value_serializer="raw",
        key_serializer="raw",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        broker_rebalance_timeout=6.0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    job = Job()

    async def predictions(stream: Any) -> None:
        async for value in stream:
            job.prediction(orjson.loads(value))
            progress.one()

    async def labels(stream: Any) -> None:
        async for value in stream:
            job.label(orjson.loads(value))
            progress.one()

    for agent, topic in zip((predictions, labels), topics, strict=True):
        app.agent(app.topic(topic), name=agent.__name__)(agent)
    return app


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("group")
    parser.add_argument("predictions")
    parser.add_argument("labels")
    parser.add_argument("progress")
    given = parser.parse_args()
    app = build(
        given.bootstrap,
        given.group,
        (given.predictions, given.labels),
        Progress(given.progress),
        Path(given.progress).parent,
    )
    worker = faust.Worker(
        app, loglevel="warning", quiet=True, redirect_stdouts=False, stdout=io.StringIO()
    )
    worker.execute_from_commandline()
    return 0


if __name__ == "__main__":
    sys.exit(main())

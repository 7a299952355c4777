"""The composition root: builds the stages and the Faust app that drives them, and runs both.

settings -> health server -> wait for the broker -> topics there? -> stages -> Faust -> run
"""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import faust
from faust.types import TP

from driftline.errors import BrokerUnreachable, DriftlineError
from streams.agents.answers import CommandFeed
from streams.agents.commands import Commands
from streams.agents.detect import Detect
from streams.agents.execute import Execute
from streams.agents.ingest import Ingest
from streams.agents.join import Join
from streams.agents.ledger import KafkaLedger
from streams.agents.notify import GivenUp, Notify
from streams.audit.recorder import Recorder
from streams.config import WorkerSettings
from streams.kafka import raw_fetch, transport
from streams.kafka.provision import apply
from streams.monitors.load import Monitors
from streams.monitors.load import load as load_monitors
from streams.notify.delivery import Engine
from streams.notify.destinations import load as load_destinations
from streams.notify.picture import Pictures
from streams.notify.rules import Destination
from streams.operators.execution import executor
from streams.session import Headers, Stage
from streams.stages import Stages
from streams.state.changes import ChangeLog
from streams.state.checkpoint import CheckpointStore
from streams.state.held_rows import HeldRows
from streams.state.topic_ids import ClusterTopicIds
from streams.telemetry import logs
from streams.telemetry.health import HealthServer
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics
from streams.watchdog.self_watch import SelfWatch

log = logging.getLogger(__name__)

QUEUED_BATCHES = 8
"""Batches that wait for an agent before its partitions are paused: what bounds memory."""

MAX_REQUEST_BYTES = 16 << 20
BROKER_WAIT_S = 600.0
STOP_LIMIT_S = 9.5
"""How long a clean stop may take: supervisors that send SIGKILL wait 10 s or longer."""


@dataclass(slots=True)
class ProducerOutbox:
    """Faust's producer as the stages' outbox."""

    app: Any

    async def send(
        self,
        topic: str,
        partition: int | None,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
    ) -> Awaitable[Any]:
        """The library's own future: it ends with the broker's ack, or raises."""
        future: Awaitable[Any] = await self.app.producer.send(
            topic, key, value, partition, None, list(headers)
        )
        return future


class _FaustWorker(faust.Worker):
    """Stops at the first signal; a second one, or a stop that hangs, ends the process at once.

    What is not in a checkpoint then is read again, as after a kill -9.
    """

    def _schedule_shutdown(self, signal: Signals) -> None:
        if self._signal_stop_time:
            log.critical("a second signal: ending at once")
            os._exit(128 + signal)
        deadline = threading.Timer(STOP_LIMIT_S, _end_anyway)
        deadline.daemon = True
        deadline.start()
        super()._schedule_shutdown(signal)


class App(faust.App):
    """Makes no folders: there is no Faust table, and nothing is left where a worker was started."""

    def _create_directories(self) -> None:
        """Faust would make `<group>-data` with folders for its tables in the current directory."""


def _end_anyway() -> None:
    log.critical("could not stop within %.0f s: ending at once", STOP_LIMIT_S)
    os._exit(1)


class Worker:
    """One worker process: the stages it can run, and the Faust app that gives them partitions."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        topics: Topics,
        monitors: Monitors,
        destinations: Sequence[Destination],
        telemetry: Telemetry,
        health: HealthServer,
    ) -> None:
        self.settings = settings
        self.topics = topics
        self.telemetry = telemetry
        self.health = health
        self.stages = Stages(telemetry, time.monotonic)
        self.app = _faust_app(settings, self.stages)
        self.outbox = ProducerOutbox(self.app)
        self.ledger = KafkaLedger(
            self.outbox, bootstrap_servers(settings), topics.notifications, topics.alerts
        )
        self.notifier = Engine(
            destinations,
            telemetry,
            self.ledger,
            GivenUp(self.outbox, topics),
            pictures=Pictures(),
        )
        self.watch = SelfWatch(
            self.stages,
            telemetry,
            self.outbox,
            bootstrap=bootstrap_servers(settings),
            topic=topics.alerts,
            timing=settings,
            monotonic=time.monotonic,
            wall_ms=_wall_ms,
        )
        self.executor = executor(monitors, destinations)
        self.answers = CommandFeed(
            bootstrap_servers(settings), topics.commands, self.notifier.command
        )
        self._connect(self._build(monitors))

    def _build(self, monitors: Monitors) -> list[Stage]:
        """The stages, in the order of the flow."""
        topics, settings = self.topics, self.settings
        ingest, commands = (
            kind(
                self.outbox,
                self.telemetry,
                topics,
                clock_from_records=settings.clock == "records",
                now_ms=_wall_ms,
                end_of=self._end_of,
                partitions_of=self._partitions_of,
            )
            for kind in (Ingest, Commands)
        )
        shards, models = topics.partitions, topics.partitions
        servers = bootstrap_servers(settings)
        held = HeldRows()
        join = Join(
            self.outbox,
            self.telemetry,
            CheckpointStore(self.outbox, servers, topics.join_manifests, topics.join_chunks),
            monitors,
            topic=topics.rows,
            inputs=shards,
            destination_topic=topics.observations,
            destinations=models,
            checkpoint_interval_s=settings.checkpoint_interval_s,
            monotonic=time.monotonic,
            held=held,
        )
        join.keep_on_disk(
            ChangeLog(self.outbox, servers, topics.join_changes), state_folder(settings, join.name)
        )
        detect = Detect(
            self.outbox,
            self.telemetry,
            CheckpointStore(self.outbox, servers, topics.detect_manifests, topics.detect_chunks),
            monitors,
            topic=topics.observations,
            inputs=models,
            checkpoint_interval_s=settings.checkpoint_interval_s,
            monotonic=time.monotonic,
            held=held,
        )
        detect.publish_to(topics)
        notify = Notify(
            self.outbox,
            self.telemetry,
            topics,
            self.notifier,
            ledger=self.ledger,
            answers=self.answers,
        )
        self.execute = Execute(
            self.outbox, self.telemetry, topics, self.executor, end_of=self._end_of
        )
        return [ingest, commands, join, detect, notify, self.execute]

    def _connect(self, stages: list[Stage]) -> None:
        """One Faust agent per stage, each on the batch channel of its topics."""
        ids = ClusterTopicIds(bootstrap_servers(self.settings))
        for stage in stages:
            stage.commit = self._commit
            stage.topic_ids = ids
            self.stages.add(stage)
            channel = self.app.topic(
                *stage.topics, schema=transport.BatchSchema(), maxsize=QUEUED_BATCHES
            )
            self.app.agent(channel, name=stage.name)(self._agent(stage))
        self.app.timer(1.0, name="tick")(self._tick)
        self.app.on_before_shutdown.connect(self._before_shutdown)
        self.app.on_rebalance_complete.connect(self._assigned)

    def _agent(self, stage: Stage) -> Callable[[Any], Awaitable[None]]:
        """The stage as a Faust agent: batches one after the other, acked at once (rule 4)."""

        async def agent(stream: Any) -> None:
            self.stages.consumer = self.app.consumer
            async for event in stream.events():
                await self.stages.handle(event.value)

        agent.__qualname__ = stage.name  # what Faust calls it in its logs
        return agent

    async def _tick(self) -> None:
        self.health.beat()
        if not self.app.rebalancing:
            await self.stages.tick()
            self.watch.tick()

    async def _before_shutdown(self, *_: Any, **__: Any) -> None:
        """A clean stop: everything stepped is in a checkpoint, so nothing is read again."""
        self.health.set_ready(False, "stopping")
        log.info("stopping: writing checkpoints")
        await self.watch.stop()
        await self.answers.stop()
        await self.execute.stop()
        await self.notifier.stop()
        await self.stages.checkpoint_all()
        if self.app.consumer is not None:
            await self.app.consumer.commit()

    async def _assigned(self, *_: Any, **__: Any) -> None:
        self.health.set_ready(True)

    # -- what the stages ask of the consumer ---------------------------------------------------

    def _commit(self, tp: TP, position: int, metadata: str) -> None:
        self.app.consumer.commit_later(tp, position, metadata)

    def _end_of(self, tp: TP) -> int | None:
        """The partition's end as Fetch last gave it; None before the first answer."""
        end: int | None = self.app.consumer.highwater(tp)
        return end

    def _partitions_of(self, topic: str) -> int:
        count: int = self.app.consumer.partition_count(topic)
        return count

    def run(self) -> int:
        """Runs until a signal or a fatal error; returns the exit code."""
        faust_worker = _FaustWorker(
            self.app,
            override_logging=False,
            redirect_stdouts=False,
            quiet=True,
            stdout=io.StringIO(),  # ours is for data; Faust would move the terminal's cursor
        )
        self.stages.fatal = self._fatal
        try:
            faust_worker.execute_from_commandline()
        except SystemExit as end:  # the library makes one of every error
            reason = faust_worker.crash_reason
            if isinstance(reason, transport.SessionsNotOpenedError):
                raise reason from end
            return int(end.code or 0)
        except DriftlineError as error:
            log.critical("%s", error)
            return error.exit_code
        return 0

    def _fatal(self, error: Exception) -> None:
        """Ends the process: no retry can mend this, and going on would hide it."""
        self._ending = asyncio.create_task(self.app.crash(error))


def run_worker(settings: WorkerSettings) -> int:
    """Runs one worker process with these settings until it is stopped; returns its exit code.

    Raises:
        DriftlineError: monitors, destinations or topics are not as they should be, the health port
            is taken, or no broker came within ten minutes.
    """
    logs.configure(settings.log_level)
    calm_collector()
    monitors = load_monitors(settings.monitors)
    destinations = load_destinations(settings.destinations, models=monitors.notify)
    topics = Topics(
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        source_partitions=settings.source_partitions,
        horizon_ms=monitors.longest_horizon_ms,
        names=Topics.from_other_sources(settings.source_prefix),
    )
    telemetry = Telemetry(
        sources=(topics.predictions, topics.labels), destinations=[d.name for d in destinations]
    )
    health = HealthServer(telemetry, settings.health_port, host=settings.health_host)
    health.start()
    log.info("health and metrics: http://%s:%d/metrics", settings.health_host, health.port)
    recorder = Recorder(",".join(bootstrap_servers(settings)), topics, settings.group, telemetry)
    try:
        wait_for_broker(settings, topics, health)
        if settings.audit:
            recorder.start()
        return Worker(
            settings,
            topics=topics,
            monitors=monitors,
            destinations=destinations,
            telemetry=telemetry,
            health=health,
        ).run()
    finally:
        recorder.stop()
        health.stop()


def calm_collector() -> None:
    """Lets the cycle collector look less often: rows hold no cycles, and there are very many.

    At Python's own thresholds it takes a fifth of the worker's time. What is there now (modules,
    types) is not looked at any more.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def wait_for_broker(settings: WorkerSettings, topics: Topics, health: HealthServer) -> None:
    """Returns once the broker answers and the topics are there; it creates those that are missing.

    Raises:
        BrokerUnreachable: it did not answer for ten minutes.
    """
    deadline = time.monotonic() + BROKER_WAIT_S
    pause = 0.5
    while True:
        health.beat()
        try:
            for change in apply(
                ",".join(bootstrap_servers(settings)),
                topics,
                create_time=settings.clock == "records",
                timeout=10.0,
            ):
                log.info("topics: %s", change)
        except BrokerUnreachable as error:
            if time.monotonic() > deadline:
                raise
            health.set_ready(False, str(error))
            log.warning("waiting for the broker: %s", error)
            time.sleep(pause)
            pause = min(2 * pause, 10.0)
        else:
            return


def state_folder(settings: WorkerSettings, stage: str) -> Path | None:
    """Where a stage keeps its partitions' state on disk; None: nowhere."""
    return None if settings.state_dir is None else settings.state_dir / settings.group / stage


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def bootstrap_servers(settings: WorkerSettings) -> list[str]:
    """host:port of each bootstrap server."""
    assert settings.broker is not None
    return settings.broker.split(",")


def _faust_app(settings: WorkerSettings, stages: Stages) -> Any:
    transport.register()
    app = App(
        settings.group,
        broker=[f"{transport.ALIAS}://{server}" for server in bootstrap_servers(settings)],
        store="memory://",  # no Faust table anywhere: state lives in our own checkpoints
        broker_max_poll_records=10_000,
        consumer_max_fetch_size=4 << 20,
        consumer_auto_offset_reset="earliest",
        # A broker that has just begun may not name all topics yet; what a rebalance then left out
        # is found, and assigned, after this long.
        consumer_metadata_max_age_ms=5_000,
        broker_commit_interval=1.0,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_interval_s,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_request_timeout=max(90.0, settings.session_timeout_s + 10),
        producer_linger=0.0,
        producer_max_batch_size=1 << 20,
        producer_max_request_size=MAX_REQUEST_BYTES,
        producer_request_timeout=settings.request_timeout_s,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.stages = stages
    app.raw_records = settings.raw_records and raw_fetch.works()
    return app

"""The composition root: builds the stages and the Faust app that drives them, and runs both.

settings -> health server -> wait for the broker -> topics there? -> stages -> Faust -> run
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from faust.types import TP

from driftline.errors import DriftlineError
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
from streams.faust_app import FaustWorker, ProducerOutbox, faust_app
from streams.heap import GIVE_BACK_S, give_back
from streams.kafka.batches import BatchSchema
from streams.kafka.opening import SessionsNotOpenedError
from streams.monitors.load import Monitors
from streams.monitors.load import load as load_monitors
from streams.notify.delivery import Engine
from streams.notify.destinations import load as load_destinations
from streams.notify.picture import Pictures
from streams.notify.rules import Destination
from streams.operators.execution import executor
from streams.session import Stage
from streams.stages import Stages
from streams.startup import calm_collector, wait_for_broker
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
        self.app = faust_app(settings, self.stages)
        self.outbox = ProducerOutbox(self.app)
        self.ledger = KafkaLedger(
            self.outbox, settings.bootstrap_servers, topics.notifications, topics.alerts
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
            bootstrap=settings.bootstrap_servers,
            topic=topics.alerts,
            timing=settings,
            monotonic=time.monotonic,
            wall_ms=_wall_ms,
        )
        self.executor = executor(monitors, destinations)
        self.answers = CommandFeed(
            settings.bootstrap_servers, topics.commands, self.notifier.command
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
        servers = settings.bootstrap_servers
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
            ChangeLog(self.outbox, servers, topics.join_changes), settings.state_folder(join.name)
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
        ids = ClusterTopicIds(self.settings.bootstrap_servers)
        for stage in stages:
            stage.commit = self._commit
            stage.topic_ids = ids
            self.stages.add(stage)
            channel = self.app.topic(*stage.topics, schema=BatchSchema(), maxsize=QUEUED_BATCHES)
            self.app.agent(channel, name=stage.name)(self._agent(stage))
        self.app.timer(1.0, name="tick")(self._tick)
        self.app.timer(GIVE_BACK_S, name="give_back")(self._give_back)
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

    async def _give_back(self) -> None:
        give_back()

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
        faust_worker = FaustWorker(
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
            if isinstance(reason, SessionsNotOpenedError):
                raise reason from end
            if isinstance(reason, DriftlineError):  # as what a newer version wrote
                log.critical("%s", reason)
                return reason.exit_code
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
    recorder = Recorder(",".join(settings.bootstrap_servers), topics, settings.group, telemetry)
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


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000

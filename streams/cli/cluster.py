"""`driftline topics apply`, `worker` and `up`: everything that brings a cluster to work."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streams.cli.options import (
    BrokerOption,
    JsonOption,
    PrefixOption,
    print_json,
    settings,
)

if TYPE_CHECKING:
    from streams.config import WorkerSettings
    from streams.topics import Topics

MonitorsOption = Annotated[
    Path | None,
    typer.Option("--config", help="Folder of monitor files; default: DRIFTLINE_MONITORS."),
]
PartitionsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Partitions of new internal topics; then fixed."),
]
SourcePartitionsOption = Annotated[
    int | None, typer.Option(min=1, help="Partitions of the topics serving code writes; may grow.")
]
ClockOption = Annotated[
    Literal["broker", "records"] | None,
    typer.Option(help="Arrival: append time (default), or the records' own timestamps."),
]
DestinationsOption = Annotated[
    Path | None, typer.Option(help="YAML file of notification destinations.")
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", help="Folder for predictions that wait for labels; default: in memory."
    ),
]
PortOption = Annotated[
    int | None, typer.Option("--health-port", help="Port of /healthz and /metrics.")
]


def topics_apply(
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    partitions: PartitionsOption = None,
    source_partitions: SourcePartitionsOption = None,
    config: MonitorsOption = None,
    create_time: Annotated[
        bool,
        typer.Option("--create-time", help="Keep producers' timestamps (fast-forward, tests)."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Creates and alters topics; safe to repeat."""
    from dataclasses import asdict

    from streams.cli.options import bootstrap
    from streams.kafka.provision import apply

    servers = bootstrap(broker)
    chosen = settings(
        broker=broker,
        topic_prefix=topic_prefix,
        partitions=partitions,
        source_partitions=source_partitions,
        monitors=config,
    )
    changes = apply(servers, topics_of(chosen), create_time=create_time)
    if as_json:
        print_json([asdict(change) for change in changes])
        return
    for change in changes:
        typer.echo(change)
    if not changes:
        typer.echo("topics are as they should be", err=True)


def worker(
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    config: MonitorsOption = None,
    clock: ClockOption = None,
    partitions: PartitionsOption = None,
    destinations: DestinationsOption = None,
    state_dir: StateOption = None,
    health_port: PortOption = None,
) -> None:
    """Runs a worker; more share the partitions."""
    from streams.cli.options import bootstrap

    bootstrap(broker)
    run(
        again=True,
        broker=broker,
        topic_prefix=topic_prefix,
        monitors=config,
        clock=clock,
        partitions=partitions,
        destinations=destinations,
        state_dir=state_dir,
        health_port=health_port,
    )


def up(
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    config: MonitorsOption = None,
    clock: ClockOption = None,
    partitions: PartitionsOption = None,
    source_partitions: SourcePartitionsOption = None,
    destinations: DestinationsOption = None,
    state_dir: StateOption = None,
    health_port: PortOption = None,
) -> None:
    """Starts all in one: broker, topics, worker.

    A broker only if none is named (in memory, for development). Ctrl-C ends it.
    """
    from streams.brokers import start_broker
    from streams.kafka.provision import apply

    named = settings(broker=broker).broker
    with start_broker("quick", bootstrap=named) as running:
        given: dict[str, Any] = {
            "broker": running.bootstrap,
            "topic_prefix": topic_prefix,
            "monitors": config,
            "clock": clock,
            "partitions": partitions,
            "source_partitions": source_partitions,
            "destinations": destinations,
            "state_dir": state_dir,
            "health_port": health_port,
        }
        if named is None:  # the embedded broker lets a group wait for half the session timeout
            given |= {
                "session_timeout_s": 6.0,
                "heartbeat_interval_s": 1.0,
                "rebalance_timeout_s": 6.0,
            }
        chosen = settings(**given)
        for change in apply(
            running.bootstrap, topics_of(chosen), create_time=chosen.clock == "records"
        ):
            typer.echo(change, err=True)
        typer.echo(f"send predictions to {running.bootstrap}", err=True)
        run(**given)


def run(*, again: bool = False, **given: Any) -> None:  # Any: settings of every type
    """Runs a worker with these settings until it is stopped; exits with its code if not 0.

    `again`: where the broker was away for so long that Faust would not read on, the process begins
    anew in its own place, and then waits for the broker as at any start.
    """
    # A worker that is stopped before it began did nothing that has to be saved. It ends well: a
    # supervisor need not tell it from one that ran. Faust puts its own handler in this one's place.
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stopped.append(number)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    from streams.heap import keep_memory

    keep_memory()
    from streams.kafka.opening import SessionsNotOpenedError
    from streams.worker import run_worker

    try:
        code = run_worker(settings(**given))
    except SessionsNotOpenedError:
        if not again:
            raise
        typer.echo("driftline: the broker was away for too long; beginning anew", err=True)
        sys.stderr.flush()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  this very command
    except Exception:
        if stopped:  # a library in C made an error of its own of our exit
            sys.exit(0)
        raise
    if code:
        raise typer.Exit(code)


def topics_of(chosen: WorkerSettings) -> Topics:
    """The topics of a deployment; rows are kept as long as the longest label horizon asks."""
    from streams.monitors.load import load
    from streams.topics import Topics

    monitors = load(chosen.monitors)
    return Topics(
        prefix=chosen.topic_prefix,
        partitions=chosen.partitions,
        source_partitions=chosen.source_partitions,
        horizon_ms=monitors.longest_horizon_ms,
    )

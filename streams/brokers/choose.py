"""Which broker to run on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Literal

from streams.brokers.apache import start_apache
from streams.brokers.api import Broker, BrokerUnavailableError
from streams.brokers.embedded import start_embedded
from streams.brokers.external import ExternalBroker

Kind = Literal["auto", "quick", "external", "apache", "embedded"]

BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP"


def start_broker(
    kind: Kind = "auto",
    *,
    bootstrap: str | None = None,
    say: Callable[[str], object] | None = None,
) -> Broker:
    """A running broker; the caller stops it.

    Call it from a thread that lives as long as the broker shall: a local one dies with it.

    Args:
        kind: `auto` (tests): the broker that is named, else Apache Kafka from jars, else the
            embedded one. `quick` (demo, first look): the one that is named, else the embedded
            one. `external`, `apache`, `embedded`: that one and no other.
        bootstrap: The broker that is named; absent: the environment's `KAFKA_BOOTSTRAP`.
        say: Called with one line that says which broker it is and why; absent: to stderr.

    Raises:
        BrokerUnavailableError: The broker asked for cannot be had; the message says why.
    """
    named = bootstrap or os.environ.get(BOOTSTRAP_VARIABLE)
    broker, why = _start(kind, named)
    (say or _to_stderr)(f"broker: {broker.name}; {why}")
    return broker


def _start(kind: Kind, named: str | None) -> tuple[Broker, str]:
    if kind == "external" and not named:
        raise BrokerUnavailableError(f"no broker named: set {BOOTSTRAP_VARIABLE} to host:port")
    if named and kind in ("auto", "quick", "external"):
        return ExternalBroker(named), "it was named"
    if kind == "quick":
        return start_embedded(), f"none was named (--broker or {BOOTSTRAP_VARIABLE})"
    if kind == "auto":
        try:
            return start_apache(), "none was named"
        except BrokerUnavailableError as error:
            return start_embedded(), f"instead of Apache Kafka: {error}"
    return (start_apache if kind == "apache" else start_embedded)(), "it was asked for"


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")

"""`driftline notify test`: one test alert to one destination, without Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.alerts import Alert
    from streams.notify.api import Message
    from streams.notify.rules import Destination


def notify_test(
    destination: Annotated[str, typer.Argument(help="Name in the destinations file.")],
    destinations: Annotated[
        Path | None,
        typer.Option(help="The destinations file; default: DRIFTLINE_DESTINATIONS."),
    ] = None,
) -> None:
    """Sends a test alert, and then its end.

    Exit code 0 if the destination took both; 3 if not, or if there is none of that name.
    """
    import asyncio

    from driftline.errors import ConfigError, DriftlineError
    from streams.cli.options import settings
    from streams.monitors.document import suggestion
    from streams.notify.destinations import load

    path = settings(destinations=destinations).destinations
    found = {d.name: d for d in load(path)}
    if destination not in found:
        advice = suggestion(destination, sorted(found))
        raise ConfigError(
            str(path or "(no file)"), 1, 1, destination, "no such destination", advice
        )
    try:
        reference = asyncio.run(tell(found[destination]))
    except TimeoutError:
        raise DriftlineError(f"{destination}: no answer in time") from None
    typer.echo(f"{destination}: took the test alert" + (f" ({reference})" if reference else ""))


async def tell(destination: Destination) -> str | None:
    """Sends a firing and a resolved test alert past all rules; the destination's reference.

    Raises:
        DeliveryError: what the destination answered.
        TimeoutError: it did not.
    """
    import asyncio

    notifier = destination.notifier
    reference = None
    try:
        for message in messages():
            async with asyncio.timeout(destination.timeout_s):
                reference = await notifier.send(message) or reference
    finally:
        await notifier.close()
    return reference


def messages() -> list[Message]:
    """The test alert and its end, each run with ids of its own, so that none is a repeat."""
    from driftline.alerts import encode
    from streams.notify.api import Message, Part
    from streams.notify.picture import Pictures

    fired = sample("firing")
    over = sample("resolved", like=fired)
    pictures = Pictures()
    first = Message(fired.id, (Part(fired, encode(fired), key=fired.fingerprint),), "test")
    part = Part(over, encode(over), root=fired.id, severity=fired.severity, key=fired.fingerprint)

    async def picture() -> bytes | None:
        return await pictures.of(first)

    return [
        Message(fired.id, first.parts, "test", picture=picture),
        Message(over.id, (part,), "test"),
    ]


def sample(status: str, like: Alert | None = None) -> Alert:
    """A made-up alert of a model that cannot exist, with a distribution to draw."""
    import time
    import uuid

    from driftline.alerts import Alert, DetectorRef, Evidence, Histogram, Statistic
    from driftline.rules import rfc3339

    now = rfc3339(time.time_ns() // 1_000_000)
    firing = status == "firing"
    return Alert(
        id=str(uuid.uuid4()),
        fingerprint=like.fingerprint if like else uuid.uuid4().hex,
        revision=1 if firing else 2,
        status="firing" if firing else "resolved",
        reason="opened" if firing else "recovered",
        severity="info",
        kind="feature_drift",
        model="_driftline",
        version="test",
        signal="feature:test",
        rule="drift",
        detector=DetectorRef("test"),
        statistic=Statistic("example", 0.8, 0.5, 0.2, sample_size=100),
        started_at=like.started_at if like else now,
        ended_at=None if firing else now,
        detected_at=now,
        evidence=Evidence(
            histogram=Histogram([0.0, 1.0, 2.0, 3.0], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7])
        ),
        summary="a test by `driftline notify test`; nothing is wrong",
    )

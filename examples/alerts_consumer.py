"""Follows `driftline.alerts` and keeps the latest state of every incident.

    pip install driftline[client]
    python examples/alerts_consumer.py localhost:9092     # Ctrl-C ends it

Delivery is at-least-once: a record may come twice, or after a later one. So, per fingerprint, the
greatest (started_at, revision) counts, and what is not greater is ignored.
"""

from __future__ import annotations

import sys

from confluent_kafka import Consumer

from driftline import Alert, ContractError, decode_alert


def is_news(latest: dict[str, Alert], alert: Alert) -> bool:
    """Takes the alert into `latest`; False if that knew as much already."""
    known = latest.get(alert.fingerprint)
    # times have a fixed width, so their order as text is their order in time
    if known and (alert.started_at, alert.revision) <= (known.started_at, known.revision):
        return False
    latest[alert.fingerprint] = alert
    return True


def main(bootstrap: str, group: str = "alerts-example") -> None:
    """Prints what changes."""
    latest: dict[str, Alert] = {}
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6_000,
        }
    )
    consumer.subscribe(["driftline.alerts"])
    try:
        while True:
            record = consumer.poll(1.0)
            if record is None or record.error() or record.value() is None:
                continue
            try:
                alert = decode_alert(record.value())
            except ContractError as error:
                print(f"not an alert: {error}", file=sys.stderr)
                continue
            if is_news(latest, alert):
                firing = sum(known.status == "firing" for known in latest.values())
                print(f"{alert.status:8} {alert.severity:8} {alert.summary}  [{firing} firing]")
    except KeyboardInterrupt:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

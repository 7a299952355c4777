"""From late label revisions to a retraction in the thread of those who had heard of the alert."""

from __future__ import annotations

import asyncio
from pathlib import Path

from detectors.spec import MonitorSpec, Threshold
from driftline.alerts import Alert
from driftline.rules import rfc3339
from streams.notify.mail import Mail
from streams.notify.rules import Destination
from tests.notifying import Bench
from tests.smtp import Post, post_office
from tests.unit.test_replay import Event, run

T = 1_793_498_400_000
MINUTE = 60_000
HOUR = 60 * MINUTE
ROWS = 160
"""In the first hour; afterwards there are fewer than a threshold judges by."""


def story() -> tuple[list[Event], list[Event]]:
    """Four hours; of the first, 40 % of the labels are wrong until they are revised."""
    predictions: list[Event] = []
    labels: list[Event] = []
    times = [T + i * HOUR // ROWS for i in range(ROWS)]
    times += [T + HOUR + i * 3 * MINUTE for i in range(60)]
    for i, ts in enumerate(times):
        says = ("fraud", "legit")[i % 2]
        base = {"prediction_id": f"p{i}", "model": "fraud", "ts": ts, "arrival": ts}
        predictions.append({**base, "version": "1", "prediction": says, "features": {}})
        first_hour = ts < T + HOUR
        wrong = first_hour and i % 5 < 2
        at = ts + 5 * MINUTE
        labels.append({**base, "label": ("legit", "fraud")[i % 2] if wrong else says, "ts": at,
                       "arrival": at})  # fmt: skip
        if wrong:
            later = T + 2 * HOUR + 30 * MINUTE + i
            labels.append({**base, "label": says, "ts": later, "arrival": later})
    return predictions, sorted(labels, key=lambda event: event["arrival"])


def test_an_alert_that_revised_labels_refute_is_taken_back_in_the_thread_that_told_it(
    tmp_path: Path,
):
    spec = MonitorSpec(
        model="fraud",
        thresholds=(Threshold(metric="accuracy", below=0.75, severity="warning"),),
    )
    _, _, found = run(tmp_path, *story(), {"fraud": spec})
    alerts = [alert for alert in found if alert.rule == "accuracy"]
    assert [(a.status, a.reason) for a in alerts] == [
        ("firing", "opened"),
        ("resolved", "retracted"),
    ]
    assert rfc3339(T + 2 * HOUR + 30 * MINUTE) <= alerts[1].detected_at
    posted = asyncio.run(deliver(alerts))
    first, second = posted.mails
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"]
    assert [m["Subject"].partition("]")[0] for m in (first, second)] == ["[WARNING", "[RETRACTED"]
    assert posted.recipients == [["team@example.org"]] * 2, "the chief heard of neither"
    body = second.get_body(("plain",))
    assert body is not None
    assert "with revised labels the limit was not passed" in body.get_content()


async def deliver(alerts: list[Alert]) -> Post:
    """Everybody's mail about these alerts."""
    with post_office() as post:
        team, chief = (
            Mail(
                name, host=post.host, port=post.port, tls="none",
                sender="driftline@example.org", to=[f"{name}@example.org"],
            )
            for name in ("team", "chief")
        )  # fmt: skip
        critical = Destination(chief, severities=frozenset({"critical"}))
        async with Bench(Destination(team), critical, real=True) as bench:
            await bench.deliver(*alerts)
            assert bench.ledger.results("chief") == ["unmatched", "unmatched"]
        return post

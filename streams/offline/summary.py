"""What a replay found: alerts and windows as files, and the closing summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, get_args

from msgspec import to_builtins

from driftline.alerts import Alert, Severity, WindowSummary, encode
from driftline.errors import UsageError
from streams.offline.replay import Replay

SEVERITIES = get_args(Severity)
ALL_TIME = "all"
"""The stretch of a metric over all joined outcomes."""


@dataclass(slots=True)
class Incident:
    """One alert's history: first and latest state, and the worst severity that it had."""

    opened: Alert
    alert: Alert
    worst: str


@dataclass(slots=True)
class Subject:
    """What the summary says of one model version."""

    metrics: dict[str, float] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)


@dataclass(slots=True)
class Summary:
    """Counts, metrics and incidents of one replay. `totals`: name -> count, in contract order."""

    totals: dict[str, int]
    rejected_by_reason: dict[str, int]
    subjects: dict[str, Subject]
    events: int
    seconds: float
    """Wall time, for throughput only."""
    opened: dict[tuple[str, str], Alert] = field(default_factory=dict)
    """(fingerprint, `started_at`) -> how the incident looked at first."""

    @property
    def incidents(self) -> list[Alert]:
        """The latest state of every incident, in order of their beginning."""
        found = [alert for subject in self.subjects.values() for alert in subject.alerts]
        return sorted(found, key=lambda alert: (alert.started_at, alert.fingerprint))

    def as_json(self) -> dict[str, Any]:  # Any: a JSON object
        """The object that `--json` prints; all but `throughput` is the same from run to run."""
        return {
            **self.totals,
            "rejected_by_reason": self.rejected_by_reason,
            "subjects": {
                name: {"metrics": s.metrics, "alerts": [to_builtins(alert) for alert in s.alerts]}
                for name, s in self.subjects.items()
            },
            "throughput": {"events": self.events, "seconds": round(self.seconds, 3)},
        }


class Results:
    """Takes alerts and windows as they are decided, and writes them to files if asked to."""

    def __init__(self, alerts: Path | None = None, windows: Path | None = None) -> None:
        self.opened = 0
        self.latest: dict[tuple[str, str], Incident] = {}
        """(fingerprint, `started_at`) -> incident."""
        self._paths = alerts, windows
        self._files: list[BinaryIO | None] = [None, None]

    def __enter__(self) -> Self:
        """Opens the files.

        Raises:
            UsageError: one cannot be written.
        """
        for i, path in enumerate(self._paths):
            if path is not None:
                try:
                    self._files[i] = path.open("wb")
                except OSError as error:
                    raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Closes the files."""
        for file in self._files:
            if file is not None:
                file.close()

    def alert(self, alert: Alert) -> None:
        """Takes an alert event."""
        if alert.reason == "opened":
            self.opened += 1
        key = alert.fingerprint, alert.started_at
        known = self.latest.get(key)
        severities = [alert.severity] if known is None else [alert.severity, known.worst]
        self.latest[key] = Incident(
            alert if known is None else known.opened, alert, max(severities, key=SEVERITIES.index)
        )
        self._write(0, alert)

    def window(self, window: WindowSummary) -> None:
        """Takes a window summary."""
        self._write(1, window)

    def _write(self, which: int, event: Alert | WindowSummary) -> None:
        file = self._files[which]
        if file is not None:
            file.write(encode(event) + b"\n")


def summarise(run: Replay, results: Results, *, seconds: float) -> Summary:
    """The closing summary of a replay that has run."""
    readings = dict(sorted(run.detect.readings()))
    counted: Counter[str] = Counter()
    for reading in readings.values():
        counted.update(reading.counters)
    subjects = {
        name: Subject({m: x for (m, over), x in reading.metrics.items() if over == ALL_TIME})
        for name, reading in readings.items()
        if name in run.detect.subjects  # others: labels that met no prediction, what is over a cap
    }
    for incident in results.latest.values():
        name = f"{incident.alert.model}@{incident.alert.version}"
        subjects.setdefault(name, Subject()).alerts.append(incident.alert)
    totals = {
        "predictions": run.counts.predictions,
        "labels": run.counts.labels,
        "joined": counted["joined"],
        "duplicates": counted["duplicates"],
        "orphan_labels": counted["orphan_labels"] + run.join.pending.waiting_labels,
        "late": counted["late_predictions"] + counted["late_labels"],
        "rejected": sum(run.counts.rejected.values()),
        "alerts": results.opened,
    }
    return Summary(
        totals=totals,
        rejected_by_reason=dict(sorted(run.counts.rejected.items())),
        subjects=subjects,
        events=run.counts.predictions + run.counts.labels,
        seconds=seconds,
        opened={key: incident.opened for key, incident in results.latest.items()},
    )

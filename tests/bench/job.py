"""The baselines' job: what an engineer writes with River in an afternoon. Shared by all of them.

Per (model, version): missing values by feature, an ADWIN per numeric feature, counts of categorical
values, and a confusion matrix of the last 1,000 labels, joined with their predictions by a dict.
No windows, reference, thresholds, alerts, checkpoints, expiry or bound on memory: less than
Driftline does. Needs River and the standard library only, so that it runs in any environment.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from river import drift, metrics, utils

ROLLING = 1_000


class Watch:
    """One model version."""

    def __init__(self) -> None:
        self.missing: Counter[str] = Counter()
        self.seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.adwin: defaultdict[str, drift.ADWIN] = defaultdict(drift.ADWIN)
        self.matrix = utils.Rolling(metrics.ConfusionMatrix, window_size=ROLLING)
        self.changes = 0
        self.joined = 0


class Job:
    """All models, and the join."""

    def __init__(self) -> None:
        self.models: defaultdict[tuple[str, str], Watch] = defaultdict(Watch)
        self._pending: dict[str, tuple[Watch, str]] = {}
        self._early: dict[str, str] = {}

    def prediction(self, event: dict[str, Any]) -> None:
        """A prediction; a label that was there before it is joined at once."""
        watch = self.models[event["model"], event["version"]]
        adwin, missing = watch.adwin, watch.missing
        for name, value in event["features"].items():
            if value is None:
                missing[name] += 1
            elif isinstance(value, str):
                watch.seen[name][value] += 1
            else:
                detector = adwin[name]
                detector.update(value)
                if detector.drift_detected:
                    watch.changes += 1
        name = event["prediction_id"]
        label = self._early.pop(name, None)
        if label is None:
            self._pending[name] = watch, event["prediction"]
        else:
            self._join(watch, event["prediction"], label)

    def label(self, event: dict[str, Any]) -> None:
        """A label; one whose prediction is not there yet waits."""
        found = self._pending.pop(event["prediction_id"], None)
        if found is None:
            self._early[event["prediction_id"]] = event["label"]
        else:
            self._join(*found, event["label"])

    @staticmethod
    def _join(watch: Watch, prediction: str, label: str) -> None:
        watch.matrix.update(label, prediction)
        watch.joined += 1

    @property
    def joined(self) -> int:
        """Labels that met their prediction."""
        return sum(watch.joined for watch in self.models.values())


class Progress:
    """Events handled so far, in a file that the benchmark reads: a system call every EVERY."""

    EVERY = 200

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY)
        self._count = 0

    def one(self) -> None:
        """One more event."""
        self._count += 1
        if self._count % self.EVERY == 0:
            os.pwrite(self._file, self._count.to_bytes(8, "little"), 0)


def progress_of(path: Path) -> int:
    """What `Progress` last wrote; 0 before."""
    return int.from_bytes(path.read_bytes(), "little") if path.exists() else 0

"""A short campaign: faults on workers while a stream flows, on the broker at hand.

`make chaos` is the long one, with faults on brokers, too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.brokers import Broker
from tests.chaos.campaign import Outcome, campaign

FAULTS = (
    "kill -9 a worker",
    "lose a state folder",
    "add a worker",
    "zombie worker",
    "remove a worker",
)


@pytest.mark.slow
def test_faults_on_workers_lose_nothing_and_double_nothing(broker: Broker, tmp_path: Path):
    outcome = Outcome(seed=11)
    campaign(outcome, broker.bootstrap, tmp_path, FAULTS, None)
    logs = [path.read_text() for path in (tmp_path / "hurt").glob("*.log")]
    assert outcome.problems == [], "\n".join(log[-2_000:] for log in logs)
    assert outcome.survived.total() == len(FAULTS)
    assert outcome.ids > 2_000
    assert any("rebuilt from Kafka" in log for log in logs), "the lost folder"

"""The benchmark of the path runs, and takes every event; nothing here looks at a clock."""

from __future__ import annotations

import json

import pytest

from streams.monitors.load import Monitors
from tests.bench import path


def test_it_prints_a_table_and_one_line_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(path, "calm_collector", lambda: None)  # this process has other work, too
    assert path.main(["--pairs", "300", "--repeats", "1"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert found["pairs"] == 300
    for costs in found["us_per_pair"].values():
        assert set(costs) == set(path.STAGES)
    assert len(lines) == len(path.STAGES) + 3


@pytest.mark.parametrize("form", [path.single, path.columnar])
def test_every_prediction_and_label_reaches_its_monitor(form):
    worker = path.Path(Monitors())
    worker.run(form(500))
    assert worker.counted() == (500, 500)

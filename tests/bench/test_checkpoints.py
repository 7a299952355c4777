"""The benchmark of checkpoints runs, and sees that little is written where little changed."""

from __future__ import annotations

import json

import pytest

from tests.bench import checkpoints


def test_it_prints_a_table_and_one_line_of_json(capsys: pytest.CaptureFixture[str]):
    assert checkpoints.main(["--pending", "4000", "2000"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    large, small = json.loads(last)
    assert (large["pending"], small["pending"], len(lines)) == (4_000, 2_000, 3)
    assert 0 < large["changed_bytes"] < large["all_bytes"] / 10
    assert large["all_bytes"] > 1.5 * small["all_bytes"]
    assert large["changed_ms"] > 0

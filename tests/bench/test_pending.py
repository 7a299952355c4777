"""The benchmark of pending predictions runs, and looks up what is there; it judges no time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.state.pending_disk import SliceDisk
from streams.state.rocks_pending import RocksPending
from tests.bench import pending
from tests.bench.pending_rows import ids_of


def test_it_prints_a_table_and_one_line_of_json(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert pending.main(["--entries", "3000", "--pairs", "4000", "--folder", str(tmp_path)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert (found["entries"], found["slices"]) == (3_000, 17)
    assert found["pair_in_memory_us"] > 0 < found["pair_on_disk_us"]
    assert 0 < found["lookup_p50_us"] <= found["lookup_p99_us"]
    assert len(lines) == len(found)


def test_every_prediction_of_it_waits_on_the_disk_and_ids_never_repeat(tmp_path: Path):
    disk = SliceDisk(tmp_path)
    store = RocksPending(disk)
    pending.fill(store, disk, 5_000, lambda _: None)
    assert (store.entries, store.changed) == (5_000, 0)
    store.fetch(ids_of(0, 5_000))
    assert all(store.find(row_id) for row_id in ids_of(0, 5_000).tolist())
    disk.close()

"""The benchmark's statistics and its outputs; nothing here looks at a clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tests.bench import report
from tests.bench.latency import Latency
from tests.bench.measure import Run
from tests.bench.plot import draw
from tests.bench.report import KEYS, Results, median, percentile

RUN = Run(events=1_000, cpu_s=0.1, wall_s=0.2, peak_rss_mb=100.0)


def full() -> Results:
    rates = {"worker_single": 20, "worker_columns": 40, "quix": 30, "plain_loop": 80, "limit": 50}
    runs = {
        name: [replace(RUN, events=1_000 * rate, cpu_s=float(s)) for s in (1, 3, 2)]
        for name, rate in rates.items()
    }
    runs["stock_faust"] = [replace(RUN, events=10_000, cpu_s=2.0)]
    return Results(
        setting={"broker": "a broker", "cores": 2, "load_average": "0.1 0.2 0.3"},
        runs=runs,
        latency=Latency([float(ms) for ms in range(100, 0, -1)], 100, 5_000.0, 0.5),
        partitions={1: RUN, 8: replace(RUN, cpu_s=0.2)},
        features={10: RUN},
        one=[RUN],
        two=[replace(RUN, cpu_s=0.125)],
        shares=[600, 400],
    )


def test_the_median_run_is_the_middle_one_by_events_per_cpu_second():
    runs = [replace(RUN, cpu_s=s) for s in (0.1, 0.4, 0.2)]
    assert median(runs).cpu_s == 0.2
    assert median([*runs, replace(RUN, cpu_s=0.8)]).cpu_s == 0.4
    with pytest.raises(ValueError, match="no runs"):
        median([])


def test_a_percentile_is_a_value_that_was_measured():
    values = [float(ms) for ms in range(1, 101)]
    assert percentile(values, 99) == 99.0
    assert percentile(values[:10], 99) == 10.0
    assert percentile(values, 50) == 50.0
    assert percentile([7.0], 1) == 7.0
    assert percentile([], 50) is None


def test_the_last_line_has_every_promised_figure():
    found = orjson.loads(report.last_line(full()))
    assert set(KEYS) <= set(found)
    assert found["worker_single_events_per_cpu_s"] == 10_000
    assert found["stock_faust_events_per_cpu_s"] == 5_000
    assert found["alert_latency_p99_ms"] == 99.0
    assert found["peak_rss_mb"] == 100.0
    assert found["two_workers_to_one"] == 0.8
    assert found["events_per_cpu_s_by_partitions"] == {"1": 10_000, "8": 5_000}


def test_what_was_not_measured_is_null_in_the_line_and_never_zero():
    found = orjson.loads(report.last_line(Results(left_out={"quix": "not installed"})))
    assert [found[key] for key in KEYS] == [None] * len(KEYS)
    assert found["left_out"] == {"quix": "not installed"}


def test_the_table_holds_each_engine_against_stock_faust():
    text = report.text(full())
    (line,) = [line for line in text.splitlines() if line.startswith("worker, columns")]
    assert "20,000" in line
    assert line.endswith("4.0")
    assert "p99 99 ms" in text
    assert "two workers to one, per CPU s: 0.80" in text


def test_markdown_rows_have_as_many_cells_as_the_head():
    rows = [line for line in report.markdown(full()).splitlines() if line.startswith("|")]
    assert len(rows) > len(full().runs)
    assert len({row.count("|") for row in rows}) == 1


def test_half_load_is_half_of_what_the_worker_did_by_the_wall_clock():
    runs = [replace(RUN, wall_s=s) for s in (0.1, 0.2, 0.4)]
    assert report.half_load(Results(runs={"worker_single": runs})) == 2_500
    assert report.half_load(Results()) is None


def test_the_plot_is_drawn_also_of_what_was_not_measured(tmp_path: Path):
    draw(full(), tmp_path / "full.png")
    draw(Results(), tmp_path / "empty.png")
    assert (tmp_path / "full.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "empty.png").stat().st_size > 1_000

"""Labels of a sample of predictions: chosen by id, so every label of one prediction or none."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.flow.join_spec import sampled
from detectors.frame import ID
from streams.monitors.load import load
from tests.detection.test_shared_data import invoke

T = 1_793_500_000_000


def ids(n: int) -> np.ndarray:
    return np.frombuffer(
        b"".join(blake2b(f"p{i}".encode(), digest_size=16).digest() for i in range(n)), ID
    )


@given(a=st.floats(0, 1), b=st.floats(0, 1))
def test_a_smaller_sample_is_a_part_of_a_larger_one(a, b):
    some, more = sorted((a, b))
    chosen = sampled(ids(500), some)
    assert not (chosen & ~sampled(ids(500), more)).any()


def test_the_sample_has_its_share():
    assert sampled(ids(20_000), 0.1).mean() == pytest.approx(0.1, abs=0.01)
    assert not sampled(ids(500), 0).any()
    assert sampled(ids(500), 1).all()


def replayed(folder: Path, labels: str) -> tuple[dict, list[dict]]:
    (folder / "m.yaml").write_text(f"model: m\ntask: binary\npositive: b\nlabels: {labels}\n")
    with (folder / "p.jsonl").open("wb") as file, (folder / "l.jsonl").open("wb") as truth:
        for i in range(2_000):
            event = {"prediction_id": f"p{i}", "model": "m", "ts": T + i * 1_000}
            said = {"version": "1", "features": {"x": i % 7}, "prediction": "ab"[i % 2]}
            file.write(orjson.dumps({**event, **said}) + b"\n")
            truth.write(orjson.dumps({**event, "label": "ab"[i % 3 == 0]}) + b"\n")
    out = invoke(
        *("replay", "--json", "--config", folder / "m.yaml", "--windows", folder / "w.jsonl"),
        *("--predictions", folder / "p.jsonl", "--labels", folder / "l.jsonl"),
    )
    lines = (folder / "w.jsonl").read_bytes().splitlines()
    return orjson.loads(out), [orjson.loads(line) for line in lines]


def test_predictions_are_all_counted_and_the_metrics_say_of_what_they_are(tmp_path):
    summary, windows = replayed(tmp_path, "{sample: 0.25}")
    assert summary["predictions"] == 2_000
    assert summary["joined"] == int(sampled(ids(2_000), 0.25).sum())
    assert sum(window["counts"]["predictions"] for window in windows) == 2_000
    assert {w["labels"]["caveat"] for w in windows} == {"of a sample of 0.25 of the predictions"}
    assert {window["labels"]["provisional"] for window in windows} == {False}


def test_a_model_without_labels_takes_none(tmp_path):
    summary, windows = replayed(tmp_path, "none")
    assert (summary["predictions"], summary["joined"]) == (2_000, 0)
    assert windows[0]["labels"]["coverage"] == 0


def test_the_monitor_file_says_it(tmp_path):
    (tmp_path / "m.yaml").write_text("model: m\nlabels: {sample: 0.1, horizon: 2h}\n")
    monitors = load(tmp_path / "m.yaml")
    assert monitors.spec("m").label_sample == pytest.approx(0.1)
    assert monitors.join.sample("m") == pytest.approx(0.1)
    assert monitors.join.sample("another") == 1

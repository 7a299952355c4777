"""Files of events: every format gives the same wire events."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftline.codec import decode
from driftline.errors import UsageError
from streams.offline.files import EventFile, atomic_write
from streams.offline.tables import ColumnMap

T = 1_793_500_000_000


def events(path: Path, **options: object) -> list[dict[str, object]]:
    return [orjson.loads(value) for value in EventFile(path, **options)]


def test_json_lines_come_as_they_are_without_blank_lines(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"a":1}\n\n  {"b": 2}  \r\nnot json')
    file = EventFile(path)
    assert list(file) == [b'{"a":1}', b'{"b": 2}', b"not json"]
    assert file.read_bytes == file.size_bytes == path.stat().st_size


def test_gzip_is_read_and_progress_counts_compressed_bytes(tmp_path: Path):
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(b'{"n":%d}' % i for i in range(50_000))))
    file = EventFile(path)
    seen = []
    for n, _ in enumerate(file):
        if n % 10_000 == 0:
            seen.append(file.read_bytes)
    assert n == 49_999
    assert seen == sorted(seen)
    assert 0 < seen[2] <= file.size_bytes == file.read_bytes


def test_a_file_that_is_cut_off_is_an_error_that_names_it(tmp_path: Path):
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"n":1}\n' * 10_000)[:-20])
    with pytest.raises(UsageError, match=r"events\.jsonl\.gz: cannot be read to its end"):
        list(EventFile(path))


@pytest.mark.parametrize("name", ["missing.jsonl", "events.txt", "events.gz"])
def test_a_missing_or_unknown_file_says_what_would_do(tmp_path: Path, name: str):
    if name != "missing.jsonl":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UsageError, match=r"no such file|use \.jsonl, \.csv"):
        EventFile(tmp_path / name)


CSV = f"""\
prediction_id,model,version,ts,prediction,label,score,amount,country,vip,scores.b,segments.r
1,m,1.10,{T},0.5,1,0.25,12,DE,true,0.75,eu
2,m,1.10,{T + 1},1.5,0,,,007,,0.5,
3,m,1.10,2026-11-01T00:00:00Z,2,1,0.5,oops,no,FALSE,,us
"""


def test_a_csv_row_is_the_event_that_serving_code_would_have_sent(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("\ufeff" + CSV, encoding="utf-8")
    first, second, third = events(path)
    assert first == {
        "prediction_id": "1",
        "model": "m",
        "version": "1.10",  # never a number
        "ts": T,
        "prediction": 0.5,
        "label": 1,
        "scores": {"b": 0.75},  # per class says more than `score`
        "features": {"amount": "12", "country": "DE", "vip": True},
        "segments": {"r": "eu"},
    }
    assert second["features"] == {"amount": None, "country": "007", "vip": None}
    assert "segments" not in second
    assert third["ts"] == "2026-11-01T00:00:00Z"


def test_a_csv_columns_type_is_what_its_first_rows_say(tmp_path: Path):
    path = tmp_path / "table.csv"
    rows = [f"p{i},m,1,{T + i},1,{i}.5,x{i}" for i in range(2_000)]
    rows[1_500] = f"p1500,m,1,{T},1,broken,y"
    head = "prediction_id,model,version,ts,prediction,n,t"
    path.write_text("\n".join([head, *rows]), encoding="utf-8")
    found = events(path)
    assert [found[0]["features"], found[1_500]["features"], found[1_999]["features"]] == [
        {"n": 0.5, "t": "x0"},
        {"n": "broken", "t": "y"},
        {"n": 1999.5, "t": "x1999"},
    ]


def test_a_mapping_renames_columns_and_fills_in_constants(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("uid,when,out,label,weight\na,2026-11-01T00:00:00Z,yes,ignored,3\n")
    columns = ColumnMap.parse(
        ["prediction_id=uid", "ts=when", "prediction=out", "model:=m", "version:=1.10",
         "label=out"]  # two fields of one column: the later one wins
    )  # fmt: skip
    columns.columns.pop("label")
    (event,) = events(path, columns=columns)
    assert event == {
        "model": "m",
        "version": "1.10",
        "prediction_id": "a",
        "ts": "2026-11-01T00:00:00Z",
        "prediction": "yes",
        "label": "ignored",
        "features": {"weight": 3},
    }
    assert decode(orjson.dumps(event)).rejects == []


@pytest.mark.parametrize(
    "option", ["prediction_id", "nonsense=column", "ts=", "features.=x", "label:="]
)
def test_a_mapping_that_cannot_be_meant_is_refused(option: str):
    with pytest.raises(UsageError, match="write field=column or field:=constant"):
        ColumnMap.parse([option])


def test_a_mapping_to_a_column_that_is_not_there_lists_those_that_are(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"--map ts=c: no such column; there are \['a', 'b'\]"):
        events(path, columns=ColumnMap.parse(["ts=c"]))


def test_a_labels_table_has_no_features(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("prediction_id,label,source,other\n7,fraud,desk,1\n")
    assert events(path, role="labels") == [
        {"prediction_id": "7", "label": "fraud", "source": "desk"}
    ]


def test_parquet_types_become_json_types(tmp_path: Path):
    path = tmp_path / "table.parquet"
    table = pa.table(
        {
            "prediction_id": pa.array([1, 2]),
            "model": ["m", "m"],
            "version": pa.array(["1", "1"]).dictionary_encode(),
            "ts": pa.array([T * 1_000_000 + 5, T * 1_000_000], pa.timestamp("ns", "UTC")),
            "prediction": [True, False],
            "x": [1.5, float("nan")],
            "n": pa.array([3, None], pa.int8()),
            "c": pa.array(["DE", None]).dictionary_encode(),
            "price": pa.array([1, 2], pa.int64()).cast(pa.decimal128(30, 2)),
            "day": pa.array([0, 1], pa.date32()),
        }
    )
    pq.write_table(table, path)
    file = EventFile(path)
    first, second = map(orjson.loads, file)
    assert first == {
        "prediction_id": "1",
        "model": "m",
        "version": "1",
        "ts": T,
        "prediction": True,
        "features": {"x": 1.5, "n": 3, "c": "DE", "price": 1.0, "day": "1970-01-01"},
    }
    assert second["features"] == {
        "x": None,
        "n": None,
        "c": None,
        "price": 2.0,
        "day": "1970-01-02",
    }
    assert file.read_bytes == file.size_bytes


def test_without_pyarrow_parquet_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        events(path)


def test_what_is_no_parquet_file_says_so(tmp_path: Path):
    path = tmp_path / "table.parquet"
    path.write_bytes(b"not parquet at all")
    with pytest.raises(UsageError, match="not a Parquet file"):
        events(path)


def test_an_atomic_write_leaves_nothing_beside_the_file(tmp_path: Path):
    path = tmp_path / "out.json"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]

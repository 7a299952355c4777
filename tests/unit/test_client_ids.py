"""Prediction ids: valid, ordered, and never the same twice."""

import os
import threading
import time
import uuid

import pytest

from driftline.ids import uuid7, uuid7_many


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front():
    before = time.time_ns() // 1_000_000
    drawn = uuid.UUID(uuid7())
    assert drawn.version == 7
    assert drawn.variant == uuid.RFC_4122
    assert before <= drawn.int >> 80 <= before + 10_000


def test_ids_ascend_whether_drawn_singly_or_in_numbers():
    ids = [uuid7() for _ in range(5_000)] + uuid7_many(5_000) + [uuid7() for _ in range(5_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_ascend_when_the_clock_is_set_back(monkeypatch):
    first = uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)
    assert first < uuid7() < uuid7_many(2)[0]


def test_no_ids_are_drawn_for_no_rows():
    assert uuid7_many(0) == []


def test_threads_never_draw_the_same_id():
    drawn: list[str] = []

    def draw() -> None:
        drawn.extend(uuid7() for _ in range(2_000))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 8_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_children_never_draw_the_same_id():
    uuid7()
    out, into = os.pipe()
    for _ in range(2):
        if os.fork() == 0:
            os.write(into, "".join(uuid7_many(50)).encode())
            os._exit(0)
    for _ in range(2):
        os.wait()
    text = os.read(out, 100 * 36).decode()
    ids = {text[at : at + 36] for at in range(0, len(text), 36)} | {uuid7()}
    os.close(out)
    os.close(into)
    assert len(ids) == 101

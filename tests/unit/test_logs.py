"""Logging: what a line says, and what it must never say."""

from __future__ import annotations

import io
import json
import logging
import logging.config

import pytest

from streams.telemetry import logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.NOISY}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def test_json_lines_carry_the_known_fields_and_no_other():
    stream = io.StringIO()
    logs.configure(stream=stream)
    extra = {"model": "fraud", "partition": 3, "amount": 12.5, "secret": "whsec_x"}
    logging.getLogger("streams.x").warning("read %d rows", 7, extra=extra)
    line = json.loads(stream.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "read 7 rows",
        "logger": "streams.x",
        "model": "fraud",
        "partition": 3,
    }


def test_an_exception_is_one_json_line():
    stream = io.StringIO()
    logs.configure(stream=stream)
    try:
        int("bad \udc80 text")
    except ValueError:
        logging.getLogger("streams.x").exception("failed")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert "ValueError: invalid literal" in json.loads(lines[0])["exception"]


def test_a_terminal_gets_short_lines_in_colour_unless_it_asks_for_none(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    logs.configure(stream=stream)
    logging.getLogger("streams.x").error("failed", extra={"partition": 3})
    assert "\x1b[31mERROR" in stream.getvalue()
    assert stream.getvalue().endswith("streams.x: failed  partition=3\n")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    logs.configure(stream=stream)
    logging.getLogger("streams.x").error("failed")
    assert "\x1b" not in stream.getvalue()


def test_control_characters_do_not_reach_a_terminal():
    stream = Terminal()
    logs.configure(stream=stream)
    logging.getLogger("streams.x").info("one\n08:00:00Z INFO forged \x1b[2J")
    assert stream.getvalue().count("\n") == 1
    assert "\\x0a08:00:00Z" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()


def test_libraries_are_quiet_at_info_and_speak_at_debug():
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    logging.getLogger("aiokafka.consumer").info("joined group")
    logging.getLogger("faust.app").info("ready")
    assert stream.getvalue() == ""
    logging.getLogger("aiokafka.consumer").warning("lost it")
    assert "lost it" in stream.getvalue()
    logs.configure("debug", stream=stream)
    logging.getLogger("faust.app").info("ready")
    assert "ready" in stream.getvalue()


def record(created: float, message: str = "broker %s away", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("streams.x", logging.WARNING, "", 0, message, ("b",), None)
    made.created = created
    vars(made).update(extra)
    return made


def test_a_warning_that_repeats_is_held_back_and_counted():
    limit = logs.RateLimit(repeats=2, period_s=60)
    passed = [limit.filter(record(100 + i)) for i in range(10)]
    assert passed == [True, True] + [False] * 8
    later = record(200)
    assert limit.filter(later)
    assert "broker b away (and 8 more like it)" in logs.LineFormatter().format(later)
    assert limit.filter(record(201, "another %s"))


def test_alerts_and_information_are_never_held_back():
    limit = logs.RateLimit(repeats=1, period_s=60)
    assert all(limit.filter(record(100, alert_id="1")) for _ in range(5))
    info = logging.LogRecord("streams.x", logging.INFO, "", 0, "text", (), None)
    assert all(limit.filter(info) for _ in range(5))


def test_what_is_remembered_of_repeats_is_bounded():
    limit = logs.RateLimit()
    for i in range(logs.REMEMBERED * 2):
        limit.filter(record(100, f"message {i} %s"))
    assert len(limit._seen) == logs.REMEMBERED


def test_faust_takes_the_configuration_as_it_is():
    from mode.utils.logging import setup_logging

    stream = io.StringIO()
    setup_logging(loglevel="INFO", logging_config=dict(logs.config(stream=stream)), loghandlers=[])
    logging.getLogger("faust.worker").warning("hello")
    assert json.loads(stream.getvalue())["event"] == "hello"

"""Logging: short lines for people on a terminal, one JSON object per line for machines.

Everything goes to stderr; stdout is data. Only the fields of `FIELDS` leave a record's `extra`, so
no feature value and no secret gets into a log by accident, and control characters never reach a
terminal. A warning that repeats is held back and counted instead of filling the disk.
"""

from __future__ import annotations

import logging
import logging.config
import os
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

FIELDS = (
    *("model", "version", "topic", "partition", "offset", "alert_id"),
    *("stage", "destination", "severity", "status", "kind", "started_at", "attempt"),
)
"""What a record may carry beside its text, as `extra={...}`."""

NOISY = ("aiokafka", "asyncio", "faust", "kafka", "mode", "aiohttp.access")
"""Loggers of libraries whose INFO says nothing to an operator."""

REPEATS = 5
PERIOD_S = 60.0
"""So many like warnings pass in each period; the next period's first says how many did not."""
REMEMBERED = 1_000

_COLOURS = {
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
    "DEBUG": "\x1b[2m",
}
_RESET = "\x1b[0m"
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The known extra fields of a record, in the order of `FIELDS`."""
    extra = vars(record)
    return {name: extra[name] for name in FIELDS if extra.get(name) is not None}


def _text(record: logging.LogRecord) -> str:
    """The record's message, with a note if like ones were held back."""
    held = getattr(record, "held_back", 0)
    return record.getMessage() + (f" (and {held} more like it)" if held else "")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[0] is not None:
        return formatter.formatException(record.exc_info)
    return formatter.formatStack(record.stack_info) if record.stack_info else None


class LineFormatter(logging.Formatter):
    """`08:01:02Z WARNING streams.worker: text  partition=3`; times are UTC, as in alerts."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, plus its traceback."""
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%SZ")
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        text = f"{_text(record)} {fields}" if fields else _text(record)
        level = f"{record.levelname:<7}"
        if self._colour and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}{_RESET}"
        line = f"{clock} {level} {record.name}: {text.translate(_CONTROL)}"
        trace = _trace(self, record)
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object: ts (RFC 3339, UTC), level, event, logger, then the known fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "ts": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": _text(record),
            "logger": record.name,
            **_fields(record),
        }
        trace = _trace(self, record)
        if trace:
            line["exception"] = trace
        return orjson.dumps(_encodable(line), default=str).decode()


def _encodable(line: dict[str, Any]) -> dict[str, Any]:
    """Lone surrogates, which no encoder takes, become question marks."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in line.items()
    }


class RateLimit(logging.Filter):
    """Lets `REPEATS` like warnings or errors pass per period; alerts (`alert_id`) always pass.

    Like: same logger, level and message before its arguments are filled in.
    """

    def __init__(self, repeats: int = REPEATS, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self._repeats = repeats
        self._period_s = period_s
        self._seen: OrderedDict[tuple[str, int, str], list[float]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written; may note on it how many before it were not."""
        if record.levelno < logging.WARNING or getattr(record, "alert_id", None) is not None:
            return True
        key = (record.name, record.levelno, str(record.msg))
        seen = self._seen.pop(key, None)
        if seen is None or not 0 <= record.created - seen[0] < self._period_s:
            record.held_back = max(0, int(seen[1]) - self._repeats) if seen else 0
            seen = [record.created, 0]
        seen[1] += 1
        self._seen[key] = seen
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return seen[1] <= self._repeats


def config(
    level: str = "info", *, json: bool | None = None, stream: TextIO | None = None
) -> dict[str, Any]:
    """A `logging.config.dictConfig` dictionary; Faust takes the same as its `logging_config`.

    Args:
        level: of our own loggers, in any case; libraries in `NOISY` speak from WARNING up unless
            it is `debug`.
        json: JSON lines; None: unless the stream is a terminal.
        stream: where lines go; None: stderr. Colour only on a terminal and without NO_COLOR.
    """
    target = stream or sys.stderr
    terminal = target.isatty()
    as_json = not terminal if json is None else json
    colour = terminal and not os.environ.get("NO_COLOR")
    form = {"()": JsonFormatter} if as_json else {"()": LineFormatter, "colour": colour}
    ours = level.upper()
    theirs = ours if ours in {"DEBUG", "ERROR", "CRITICAL"} else "WARNING"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"driftline": form},
        "filters": {"repeats": {"()": RateLimit}},
        "handlers": {
            "driftline": {
                "class": "logging.StreamHandler",
                "stream": target,
                "formatter": "driftline",
                "filters": ["repeats"],
            }
        },
        "root": {"level": ours, "handlers": ["driftline"]},
        "loggers": {name: {"level": theirs} for name in NOISY},
    }


def configure(
    level: str = "info", *, json: bool | None = None, stream: TextIO | None = None
) -> None:
    """Applies `config` to this process."""
    logging.config.dictConfig(config(level, json=json, stream=stream))

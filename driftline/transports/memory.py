"""A transport that keeps what it is given: for your own tests of your own serving code."""

from __future__ import annotations

from typing import Any

import orjson

from driftline.transports.base import Message


class MemoryTransport:
    """Keeps messages in memory, arrived at once.

    Example:
        >>> from driftline.client import Client
        >>> transport = MemoryTransport()
        >>> with Client(transport=transport) as client:
        ...     pid = client.log_prediction(
        ...         model="fraud", version="1", features={"amount": 12.5}, prediction="legit"
        ...     )
        >>> transport.predictions[0]["features"]
        {'amount': 12.5}

    Call `client.flush()` or `close()` before you look: the client sends from a thread of its own.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        """Every message as it was sent, in order."""

    def send(self, message: Message) -> None:
        """Keeps the message."""
        self.messages.append(message)
        message.done(None)

    def poll(self, timeout_s: float) -> None:
        """Nothing is ever under way."""

    def close(self, timeout_s: float) -> None:
        """Nothing is ever under way; what was sent stays readable."""

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """Every prediction as one dict, whatever form of batch it was sent in; nulls are left out.

        Features are kept even when null, as missing is a signal.
        """
        return [row for row in self._rows() if "prediction" in row]

    @property
    def labels(self) -> list[dict[str, Any]]:
        """Every label as one dict, whatever form of batch it was sent in; nulls are left out."""
        return [row for row in self._rows() if "label" in row]

    def clear(self) -> None:
        """Forgets every message."""
        self.messages.clear()

    def _rows(self) -> list[dict[str, Any]]:
        return [row for message in self.messages for row in _rows_of(orjson.loads(message.value))]


def _rows_of(content: dict[str, Any]) -> list[dict[str, Any]]:
    head = {name: content[name] for name in ("model", "version") if name in content}
    if "predictions" in content:
        return [head | row for row in content["predictions"]]
    if "columns" in content:
        columns = content["columns"]
        return [head | _row(columns, at) for at in range(len(columns["prediction_id"]))]
    return [{name: value for name, value in content.items() if name not in _COUNTS}]


_COUNTS = ("client_dropped", "invalid")


def _row(columns: dict[str, Any], at: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, column in columns.items():
        if name == "features":
            row[name] = {key: values[at] for key, values in column.items()}
        elif isinstance(column, dict):
            present = {key: values[at] for key, values in column.items() if values[at] is not None}
            row |= {name: present} if present else {}
        elif column[at] is not None:
            row[name] = column[at]
    return row

"""Driftline: the contract and the client for serving code.

`from driftline import Client` is all that serving code needs. Names are imported on first use, so
that a program which only decodes events never pays for a Kafka client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftline.alerts import Alert, Command, WindowSummary, decode_alert
    from driftline.client import Client
    from driftline.codec import decode, encode
    from driftline.errors import (
        BrokerUnreachable,
        ConfigError,
        ContractError,
        DeliveryError,
        DriftlineError,
    )
    from driftline.events import Decoded, LabelEvent, PredictionEvent
    from driftline.rules import Reason
    from driftline.subject import Subject
    from driftline.transports.memory import MemoryTransport

__all__ = [
    "Alert",
    "BrokerUnreachable",
    "Client",
    "Command",
    "ConfigError",
    "ContractError",
    "Decoded",
    "DeliveryError",
    "DriftlineError",
    "LabelEvent",
    "MemoryTransport",
    "PredictionEvent",
    "Reason",
    "Subject",
    "WindowSummary",
    "decode",
    "decode_alert",
    "encode",
]

_HOME = {
    "Alert": "driftline.alerts",
    "BrokerUnreachable": "driftline.errors",
    "Client": "driftline.client",
    "Command": "driftline.alerts",
    "ConfigError": "driftline.errors",
    "ContractError": "driftline.errors",
    "Decoded": "driftline.events",
    "DeliveryError": "driftline.errors",
    "DriftlineError": "driftline.errors",
    "LabelEvent": "driftline.events",
    "MemoryTransport": "driftline.transports.memory",
    "PredictionEvent": "driftline.events",
    "Reason": "driftline.rules",
    "Subject": "driftline.subject",
    "WindowSummary": "driftline.alerts",
    "decode": "driftline.codec",
    "decode_alert": "driftline.alerts",
    "encode": "driftline.codec",
}


def __getattr__(name: str) -> Any:  # a module attribute of any type
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - slow, and rarely wanted

        return version("driftline")
    if name not in _HOME:
        raise AttributeError(f"module 'driftline' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""Ways out of the serving process: Kafka, and memory for tests."""

from driftline.transports.base import Message, Transport
from driftline.transports.memory import MemoryTransport

__all__ = ["MemoryTransport", "Message", "Transport"]

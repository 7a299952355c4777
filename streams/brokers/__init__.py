"""Brokers to run on: the one named by the user, Apache Kafka from jars, or the embedded one."""

from streams.brokers.api import Broker, Capability
from streams.brokers.choose import Kind, start_broker
from streams.brokers.local import LocalBroker

__all__ = ["Broker", "Capability", "Kind", "LocalBroker", "start_broker"]

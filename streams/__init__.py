"""Adapters: Faust and Kafka, the command line, notifiers, metrics, replay and the demo."""

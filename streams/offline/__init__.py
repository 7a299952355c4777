"""Without Kafka: replay, sweeps, plans and references from files."""

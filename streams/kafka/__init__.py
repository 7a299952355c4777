"""Between us and Kafka: Faust's transport, topics, messages and their marks."""

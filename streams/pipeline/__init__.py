"""The stages as state machines: what join and detect do with a message. No Faust, no Kafka.

`streams.agents` feeds them messages from Kafka and `streams.offline.replay` rows from files: the
same steps, so the same results. Each is a function of its configuration and of the messages
stepped.
"""

"""The topic table says what contract.md, section 1, promises."""

import re

import pytest

from streams import topics as names
from streams.topics import DAY_MS, FOREVER, HOUR_MS, MIB, Topic, Topics

CONSTANTS = [
    value
    for key, value in vars(names).items()
    if key.isupper() and not key.startswith("_") and isinstance(value, str)
]


def by_name(topics: Topics) -> dict[str, Topic]:
    return {topic.name: topic for topic in topics.table()}


def test_every_name_constant_has_one_row_and_no_row_has_another_name() -> None:
    assert sorted(topic.name for topic in Topics().table()) == sorted(CONSTANTS)


def test_every_row_can_be_had_as_an_attribute() -> None:
    topics = Topics(prefix="p-")
    for topic in topics.table():
        attribute = re.sub(r"^p-driftline[.-]", "", topic.name).replace("-", "_")
        assert getattr(topics, attribute) == topic.name


def test_public_topics_have_a_dot_and_internal_ones_a_dash() -> None:
    for topic in Topics().table():
        assert topic.name.startswith("driftline-" if topic.internal else "driftline.")


def test_manifests_and_chunks_have_the_partition_count_of_what_they_checkpoint() -> None:
    topics = Topics(partitions=7)
    table = by_name(topics)
    assert {t.partitions for t in table.values() if t.internal} == {7}
    assert {t.partitions for t in table.values() if not t.internal} == {4}


def test_only_what_ingest_reads_is_a_source() -> None:
    topics = Topics(source_partitions=9)
    sources = {topic.name for topic in topics.table() if topic.source}
    assert sources == {topics.predictions, topics.labels, topics.commands}
    assert {by_name(topics)[name].partitions for name in sources} == {9}


def test_retention_and_limits_are_those_of_the_contract() -> None:
    topics = Topics()
    table = by_name(topics)
    assert table[topics.predictions].retention_ms == 3 * DAY_MS
    assert table[topics.labels].retention_ms == 3 * DAY_MS
    assert table[topics.deadletters].retention_ms == 14 * DAY_MS
    assert table[topics.alerts].retention_ms >= 30 * DAY_MS
    assert table[topics.windows].retention_ms >= 30 * DAY_MS
    assert table[topics.rows].retention_ms == 30 * HOUR_MS
    large = {topic.name for topic in table.values() if topic.max_message_bytes == 4 * MIB}
    assert large == {topics.predictions, topics.labels, topics.deadletters, topics.notifications}
    assert {t.max_message_bytes for t in table.values() if t.internal} == {16 * MIB}


@pytest.mark.parametrize(("horizon", "kept"), [(7 * DAY_MS, 8.75 * DAY_MS), (HOUR_MS, DAY_MS)])
def test_rows_outlive_the_horizon_by_a_quarter_and_are_kept_a_day_at_least(
    horizon: int, kept: float
) -> None:
    topics = Topics(horizon_ms=horizon)
    assert by_name(topics)[topics.rows].retention_ms == kept
    assert by_name(topics)[topics.join_changes].retention_ms == kept
    assert not by_name(topics)[topics.join_changes].compacted


def test_checkpoints_are_compacted_and_nothing_else_is() -> None:
    compacted = {topic.name for topic in Topics().table() if topic.compacted}
    assert compacted == {
        names.JOIN_MANIFESTS,
        names.DETECT_MANIFESTS,
        names.JOIN_CHUNKS,
        names.DETECT_CHUNKS,
    }
    for topic in Topics().table():
        policy = "compact" if topic.compacted else "delete"
        assert topic.config()["cleanup.policy"] == policy
        kept = topic.compacted or topic.name == names.AUDIT  # an audit asks about last year
        assert (topic.retention_ms == FOREVER) == kept


def test_what_ingest_reads_is_stamped_by_the_broker() -> None:
    stamped = {t.name for t in Topics().table() if "message.timestamp.type" in t.config()}
    assert stamped == {names.PREDICTIONS, names.LABELS, names.COMMANDS}
    assert by_name(Topics())[names.LABELS].config()["message.timestamp.type"] == "LogAppendTime"


def test_with_create_time_old_records_are_kept_and_future_ones_are_taken() -> None:
    config = by_name(Topics())[names.PREDICTIONS].config(create_time=True)
    assert config["message.timestamp.type"] == "CreateTime"
    assert config["retention.ms"] == "-1"
    assert int(config["message.timestamp.after.max.ms"]) == 2**63 - 1


def test_a_segment_never_outlives_the_retention_by_much() -> None:
    for topic in Topics().table():
        segment = int(topic.config()["segment.ms"])
        assert HOUR_MS <= segment <= max(HOUR_MS, topic.retention_ms / 12)


def test_names_and_retention_are_settings() -> None:
    topics = Topics(
        prefix="eu-",
        names={names.PREDICTIONS: "serving.out"},
        retention={names.ALERTS: DAY_MS},
    )
    assert topics.predictions == "serving.out"
    assert topics.labels == "eu-driftline.labels"
    assert by_name(topics)["serving.out"].source
    assert by_name(topics)[topics.alerts].retention_ms == DAY_MS

"""Worker settings: where they come from, and what a wrong one says."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from streams.config import SettingsError, read


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP", "DRIFTLINE_BROKER", "DRIFTLINE_CLOCK"):
        monkeypatch.delenv(name, raising=False)


def test_without_anything_there_is_no_broker_and_the_rest_is_default():
    settings = read()
    assert settings.broker is None
    assert (settings.clock, settings.partitions, settings.health_port) == ("broker", 4, 8081)
    assert settings.group == "driftline"


def test_arguments_beat_the_environment_and_none_is_no_argument(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DRIFTLINE_CLOCK", "records")
    monkeypatch.setenv("DRIFTLINE_TOPIC_PREFIX", "eu-")
    assert read(clock=None).clock == "records"
    assert read(clock="broker").clock == "broker"
    assert read().group == "eu-driftline"


def test_the_broker_may_be_named_by_kafka_bootstrap_and_loses_its_scheme(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "kafka://a:9092,b:9092")
    assert read().broker == "a:9092,b:9092"
    monkeypatch.setenv("DRIFTLINE_BROKER", "c:9092")
    assert read().broker == "c:9092"
    assert read(broker="d:9092").broker == "d:9092"
    monkeypatch.setenv("DRIFTLINE_BROKER", "")  # as compose files leave it
    assert read().broker == "a:9092,b:9092"


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        read().clock = "records"


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"health_port": 70_000}, "DRIFTLINE_HEALTH_PORT"),
        ({"partitions": 0}, "DRIFTLINE_PARTITIONS"),
        ({"clock": "wall"}, "DRIFTLINE_CLOCK"),
        ({"topic_prefix": "a b"}, "DRIFTLINE_TOPIC_PREFIX"),
        ({"nonsense": 1}, "DRIFTLINE_NONSENSE"),
    ],
)
def test_a_wrong_setting_names_its_variable(given: dict[str, object], variable: str):
    with pytest.raises(SettingsError, match=variable):
        read(**given)

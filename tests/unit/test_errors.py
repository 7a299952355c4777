"""The error tree, subjects, and the public test doubles."""

from __future__ import annotations

import pytest

from driftline import errors
from driftline.codec import decode, encode
from driftline.errors import (
    BrokerUnreachable,
    CheckpointError,
    ConfigError,
    ContractError,
    DeliveryError,
    DriftlineError,
    UnknownVersion,
)
from driftline.rules import Reason
from driftline.subject import Subject
from driftline.testing import START_MS, FakeClock, make_label, make_prediction


def test_the_drawn_tree_is_the_tree():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    for error in classes:
        line = next(line for line in errors.__doc__.splitlines() if f"{error.__name__} " in line)
        assert f"exit {error.exit_code}" in line
        depth = 0 if error is DriftlineError else error.__mro__.index(DriftlineError)
        indent = len(line) - len(line.lstrip(" │├└─"))
        assert indent == 4 + 4 * depth
    assert errors.__doc__.count("exit ") == len(classes)


def test_a_configuration_error_says_where_what_and_what_instead():
    error = ConfigError("fraud.yaml", 3, 7, "task", "no task 'binery'", "write binary")
    assert str(error) == "fraud.yaml:3:7: task: no task 'binery', write binary"
    assert str(ConfigError("f", 1, 1, "", "empty file", "name a model")) == (
        "f:1:1: empty file, name a model"
    )
    assert (error.line, error.column, error.path, error.exit_code) == (3, 7, "task", 3)


def test_callers_branch_on_retriable():
    assert BrokerUnreachable("localhost:9092").retriable
    assert BrokerUnreachable("localhost:9092").exit_code == 4
    assert not ContractError(Reason.BAD_TS, "x").retriable
    assert not UnknownVersion(9).retriable
    assert DeliveryError("429", retriable=True, retry_after_s=3.0).retry_after_s == 3.0
    assert not DeliveryError("400", retriable=False).retriable


def test_messages_say_what_to_do():
    assert "KAFKA_BOOTSTRAP" in str(BrokerUnreachable("localhost:9092", "refused"))
    assert "(refused)" in str(BrokerUnreachable("localhost:9092", "refused"))
    assert "upgrade" in str(UnknownVersion(9))
    assert isinstance(UnknownVersion(9), CheckpointError)


def test_a_subject_is_model_at_version():
    subject = Subject("fraud", "2026-11-01")
    assert str(subject) == "fraud@2026-11-01"
    assert subject.key == b"fraud@2026-11-01"
    assert Subject.parse(str(subject)) == subject
    assert min(Subject("b", "1"), Subject("a", "2")).model == "a"
    assert Subject.parse("_driftline@join").model == "_driftline"


@pytest.mark.parametrize("text", ["", "fraud", "fraud@", "@1", "a@b@c", "a b@1", "a@1\n", "@"])
def test_other_texts_are_no_subjects(text):
    with pytest.raises(ContractError, match="write model@version"):
        Subject.parse(text)


def test_made_up_events_are_valid_distinct_and_fit_each_other():
    decoded = decode(encode(make_prediction(1, prediction="fraud")))
    assert decoded.rejects == []
    assert decoded.predictions[0].prediction == "fraud"
    label = decode(encode(make_label(1))).labels[0]
    assert label.prediction_id == make_prediction(1).prediction_id
    assert label.ts > make_prediction(1).ts
    assert make_prediction(1) != make_prediction(2)


def test_a_fake_clock_stands_until_told():
    clock = FakeClock()
    assert clock() == clock() == START_MS
    clock.advance(250)
    assert clock() == START_MS + 250
    assert FakeClock(5)() == 5

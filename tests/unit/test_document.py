"""YAML whose every value knows its place, and means what was written."""

from __future__ import annotations

import pytest

from streams.monitors.document import Document, Node, parse, suggestion


def root(text: str) -> tuple[Document, Node]:
    document = parse(text, "f.yaml")
    assert document.problems == []
    assert document.root is not None
    return document, document.root


def messages(document: Document) -> list[str]:
    return [str(problem) for problem in document.problems]


def test_scalars_stay_the_text_they_were_written_as():
    document, node = root("a: no\nb: 1.10\nc: 0x1F\nd: 'null'\ne: ~\nf: 2026-11-01")
    fields = node.fields or {}
    texts = [document.string(fields[name]) for name in "abcdf"]
    assert texts == ["no", "1.10", "0x1F", "null", "2026-11-01"]
    assert fields["e"].is_null
    assert not fields["d"].is_null


def test_a_key_that_stands_twice_is_a_problem_at_its_second_place():
    document = parse("a: 1\nb:\n  c: 1\n  c: 2\n", "f.yaml")
    assert messages(document) == ["f.yaml:4:3: b.c: this key stands here twice; remove one"]


def test_a_syntax_error_has_its_place():
    document = parse("a: [1, 2\nb: 3", "f.yaml")
    (message,) = messages(document)
    assert message.startswith("f.yaml:2:2: not valid YAML: ")


def test_an_unknown_key_is_a_problem_with_a_suggestion_and_left_out():
    document, node = root("modle: x\ntask: y")
    assert list(document.mapping(node, ("model", "task"))) == ["task"]
    assert messages(document) == ["f.yaml:1:8: modle: unknown key; did you mean `model`?"]


def test_a_document_that_contains_itself_ends():
    document = parse("a: &x\n  b: *x\n", "f.yaml")
    assert any("nested more than 20 deep" in message for message in messages(document))


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("90s", 90_000), ("15m", 900_000), ("1.5h", 5_400_000), ("7d", 604_800_000),
     ("2w", 1_209_600_000)],
)  # fmt: skip
def test_durations_are_read_to_the_millisecond(text: str, ms: int):
    document, node = root(text)
    assert document.duration(node) == ms


@pytest.mark.parametrize("text", ["15", "15 minutes", "-1h", "1h30m", "[1h]", "''"])
def test_what_is_no_duration_says_how_to_write_one(text: str):
    document, node = root(text)
    assert document.duration(node) is None
    assert "such as 15m or 7d" in messages(document)[0]


@pytest.mark.parametrize("text", ["'5'", "five", "nan", "1e999", "[5]", "0", "11"])
def test_what_is_no_number_within_the_range_is_a_problem(text: str):
    document, node = root(text)
    assert document.number(node, least=1, most=10) is None
    assert len(document.problems) == 1


def test_a_list_of_texts_may_be_a_single_text_and_repeats_nothing():
    document, node = root("a: x\nb: [x, y, x]")
    fields = node.fields or {}
    assert document.strings(fields["a"]) == ["x"]
    assert document.strings(fields["b"]) == ["x", "y"]
    assert messages(document) == ["f.yaml:2:11: b[2]: 'x' stands here twice; remove one"]


def test_what_is_kept_for_later_is_plain():
    _, node = root("a: [{b: 1.10, c: ~}, no]")
    assert node.plain() == {"a": [{"b": "1.10", "c": None}, "no"]}


def test_a_suggestion_names_the_close_option_or_all():
    assert suggestion("acuracy", ["accuracy", "recall"]) == "did you mean `accuracy`?"
    assert suggestion("zzz", ["accuracy", "recall"]) == "use one of accuracy, recall"

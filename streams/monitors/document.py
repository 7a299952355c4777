"""A YAML document whose every value knows its file, line and column.

Scalars stay the text they were written as until a field asks for a number or a flag, so `no` is
never False and version `1.10` never 1.1. Problems are collected, not raised one by one: whoever
edits a file sees all of them at once.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import yaml

MAX_DEPTH = 20
"""Nesting that no configuration needs; also what ends a document that contains itself."""

DURATION_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
"""Milliseconds in each unit that a duration may be written in."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_NULLS = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file; as text, `file:line:col: path: what, and what to write`."""

    file: str
    line: int
    column: int
    path: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return f"{where}{self.path}: {self.text}" if self.path else f"{where}{self.text}"


@dataclass(slots=True)
class Node:
    """One value: a scalar's `text`, a list's `items` or a mapping's `fields`."""

    path: str
    line: int
    column: int
    text: str | None = None
    quoted: bool = False
    items: list[Node] | None = None
    fields: dict[str, Node] | None = None

    @property
    def is_null(self) -> bool:
        """Whether nothing stands here: `null`, `~` or an empty value, unquoted."""
        return self.text is not None and not self.quoted and self.text in _NULLS

    def plain(self) -> object:
        """The value as builtins: scalars as text, for what is kept but not yet understood."""
        if self.fields is not None:
            return {name: node.plain() for name, node in self.fields.items()}
        if self.items is not None:
            return [node.plain() for node in self.items]
        return None if self.is_null else self.text


@dataclass(slots=True)
class Document:
    """The root of one file, and the problems found in it so far, in the order they were found."""

    file: str
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)

    def problem(self, node: Node, text: str) -> None:
        """Notes that this value is wrong; `text` says what to write instead."""
        self.problems.append(Problem(self.file, node.line, node.column, node.path, text))

    def mapping(self, node: Node, allowed: Iterable[str]) -> Mapping[str, Node]:
        """The fields of a mapping; unknown ones are problems with a suggestion, and left out."""
        names = list(allowed)
        if node.fields is None:
            self.problem(node, f"expected `key: value` pairs; keys are {_listed(names)}")
            return {}
        known = {}
        for name, child in node.fields.items():
            if name in names:
                known[name] = child
            else:
                self.problem(child, f"unknown key; {suggestion(name, names)}")
        return known

    def string(self, node: Node) -> str | None:
        """The text of a scalar exactly as written (`no` and `1.10` stay text), None if wrong."""
        if node.text is None or node.is_null:
            self.problem(node, "expected a text")
            return None
        return node.text

    def choice(self, node: Node, options: Iterable[str]) -> str | None:
        """The text of a scalar that must be one of a few words, None if it is not."""
        names = list(options)
        text = self.string(node)
        if text is None or text in names:
            return text
        self.problem(node, f"{text!r} is not known; {suggestion(text, names)}")
        return None

    def number(
        self, node: Node, *, least: float = -math.inf, most: float = math.inf
    ) -> float | None:
        """A finite number within [least, most], None if it is not one."""
        text = node.text if node.text is not None and not node.quoted else ""
        try:
            value = float(text)
        except ValueError:
            self.problem(node, "expected a number, without quotes")
            return None
        if not (math.isfinite(value) and least <= value <= most):
            self.problem(node, f"{text} is out of range; {_range(least, most)}")
            return None
        return value

    def whole(self, node: Node, *, least: int = 0) -> int | None:
        """A whole number of at least so much, None if it is not one."""
        value = self.number(node, least=least)
        if value is None or value.is_integer():
            return None if value is None else int(value)
        self.problem(node, "expected a whole number")
        return None

    def duration(self, node: Node, *, least_ms: int = 1) -> int | None:
        """A duration such as `15m`, `1.5h` or `7d` in milliseconds, None if it is not one."""
        text = node.text or ""
        match = _DURATION.fullmatch(text)
        if match is None:
            advice = "write a number and a unit (ms, s, m, h, d, w), such as 15m or 7d"
            self.problem(node, f"{text!r} is not a duration; {advice}" if text else advice)
            return None
        value = round(float(match[1]) * DURATION_MS[match[2]])
        if value < least_ms:
            self.problem(node, f"{text} is too short; at least {least_ms / 1000:g}s")
            return None
        return value

    def entries(self, node: Node) -> list[Node]:
        """The entries of a list; a problem, and none, where there is no list."""
        if node.items is None:
            self.problem(node, "expected a list; begin each entry with `- `")
        return node.items or []

    def strings(self, node: Node) -> list[str]:
        """A list of texts without repeats; a single text counts as a list of one."""
        out: dict[str, None] = {}
        for item in node.items if node.items is not None else [node]:
            text = self.string(item)
            if text in out:
                self.problem(item, f"{text!r} stands here twice; remove one")
            elif text is not None:
                out[text] = None
        return list(out)


def required(document: Document, node: Node, *names: str) -> bool:
    """Whether a mapping has these keys; each that is missing is a problem."""
    missing = [name for name in names if name not in (node.fields or {})]
    for name in missing if node.fields is not None else ():
        document.problem(node, f"`{name}` is missing")
    return not missing


def suggestion(name: str, options: Iterable[str]) -> str:
    """`did you mean X?` where one option is close, otherwise what is possible."""
    names = list(options)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else f"use one of {_listed(names)}"


def parse(text: str, file: str) -> Document:
    """The document of a YAML text; syntax errors and duplicate keys are among its problems."""
    document = Document(file)
    try:
        composed = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = error.problem or "not YAML"
        document.problems.append(Problem(file, line, column, "", f"not valid YAML: {what}"))
        return document
    except yaml.YAMLError as error:  # control characters and the like, without a mark
        document.problems.append(Problem(file, 1, 1, "", f"not valid YAML: {error}"))
        return document
    if composed is not None:
        document.root = _convert(document, composed, "", 0)
    return document


def _convert(document: Document, source: yaml.Node, path: str, depth: int) -> Node:
    mark = source.start_mark
    node = Node(path, mark.line + 1, mark.column + 1)
    if depth > MAX_DEPTH:
        document.problem(node, f"nested more than {MAX_DEPTH} deep; flatten it")
        node.text = ""
    elif isinstance(source, yaml.MappingNode):
        node.fields = _fields(document, source, path, depth)
    elif isinstance(source, yaml.SequenceNode):
        node.items = [
            _convert(document, item, f"{path}[{i}]", depth + 1)
            for i, item in enumerate(source.value)
        ]
    else:
        node.text = str(source.value)
        node.quoted = isinstance(source, yaml.ScalarNode) and source.style is not None
    return node


def _fields(document: Document, source: yaml.MappingNode, path: str, depth: int) -> dict[str, Node]:
    fields: dict[str, Node] = {}
    for key, value in source.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        below = f"{path}.{name}" if path else name
        here = Node(below, key.start_mark.line + 1, key.start_mark.column + 1)
        if not isinstance(key, yaml.ScalarNode):
            document.problem(here, "a key must be a text")
        elif name in fields:
            document.problem(here, "this key stands here twice; remove one")
        else:
            fields[name] = _convert(document, value, below, depth + 1)
    return fields


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _range(least: float, most: float) -> str:
    if math.isinf(most):
        return f"at least {least:g}"
    return f"at most {most:g}" if math.isinf(least) else f"between {least:g} and {most:g}"

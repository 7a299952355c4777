"""One monitor file: what each key of contract.md section 5 may hold, and where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detectors.reference import profile as reference
from detectors.registry import METRICS as COMPUTED
from driftline.errors import CheckpointError
from driftline.rules import NAME_PATTERN, RESERVED_PREFIX, is_name
from streams.monitors import detectors as monitor_detectors
from streams.monitors import remedies as monitor_remedies
from streams.monitors import rules as monitor_rules
from streams.monitors.document import Document, Node, Problem, required
from streams.monitors.words import (
    FAIRNESS_METRICS,
    KEYS,
    METRIC_PARAMS,
    MIN_WARMUP,
    MIN_WINDOW_MS,
    NOT_YET,
    TASKS,
)

Values = dict[str, Any]  # Any: each key has a type of its own


@dataclass(slots=True)
class MonitorFile:
    """The checked contents of one file.

    `values` are fields of a MonitorSpec; `reference` is the profile to start from, None for
    warm-up; `notify` names the destinations of its alerts, None for all; `later` holds keys that
    are not in force yet, and `notes` say so with their place.
    """

    file: str
    model: str
    values: Values
    reference: Path | None = None
    notify: tuple[str, ...] | None = None
    later: Values = field(default_factory=dict)
    notes: list[Problem] = field(default_factory=list)


class _Reader:
    """Reads one document key by key; problems gather in the document."""

    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self.values: Values = {}
        self.later: Values = {}
        self.notes: list[Problem] = []
        self.reference: Path | None = None
        self.notify: tuple[str, ...] | None = None
        self.keys: dict[str, Callable[[Node], None]] = {
            "model": self._model,
            "task": lambda node: self._keep("task", self.document.choice(node, TASKS)),
            "positive": lambda node: self._keep("positive", self.document.string(node)),
            "classes": self._classes,
            "labels": self._labels,
            "windows": self._windows,
            "features": self._features,
            "segments": lambda node: self._keep("segments", tuple(self.document.strings(node))),
            "reference": self._reference,
            "fairness": lambda node: self._each(node, self._fairness),
            "metrics": self._metrics,
            "thresholds": self._thresholds,
            "drift": lambda node: self.values.update(monitor_rules.drift(self.document, node)),
            "alerts": self._alerts,
            "remediation": lambda node: self._keep(
                "remediation", monitor_remedies.remedies(self.document, node)
            ),
        }

    def read(self, root: Node) -> None:
        """Reads every key of the file."""
        fields = self.document.mapping(root, self.keys)
        if root.fields is not None and "model" not in root.fields:
            self.document.problem(root, "`model` is missing; write `model: NAME`")
        for name, node in fields.items():
            self.keys[name](node)
            if name in NOT_YET:
                self._note(node, name)
        if "drift" in fields:
            monitor_detectors.agree(self.document, fields["drift"], self.values)
        if "thresholds" in fields:
            self._agree(fields["thresholds"])

    def _agree(self, thresholds: Node) -> None:
        """Holds thresholds against the rest of the file, and against the reference it names."""
        profile = None
        if self.reference is not None:
            try:
                profile = reference.from_json(self.reference.read_bytes())
            except CheckpointError:
                return  # whoever loads it says what is wrong with it
        for node, text in monitor_rules.agree(self.document, thresholds, self.values, profile):
            place = Problem(self.document.file, node.line, node.column, node.path, text)
            self.notes.append(place)

    def _note(self, node: Node, name: str) -> None:
        self.later[name] = node.plain()
        text = "understood and kept, but not in force in this version"
        self.notes.append(Problem(self.document.file, node.line, node.column, node.path, text))

    def _keep(self, name: str, value: object) -> None:
        if value is not None:
            self.values[name] = value

    def _each(self, node: Node, read: Callable[[Node], None]) -> None:
        for item in self.document.entries(node):
            read(item)

    def _model(self, node: Node) -> None:
        name = self.document.string(node)
        if name is not None and not is_name(name):
            rule = f"{NAME_PATTERN}, not beginning with {RESERVED_PREFIX}"
            self.document.problem(node, f"{name!r} is no model name; use {rule}")
        else:
            self._keep("model", name)

    def _classes(self, node: Node) -> None:
        if node.fields is None:
            self.document.problem(node, 'expected CLASS: [other spellings], as {true: ["1"]}')
            return
        classes = {name: tuple(self.document.strings(n)) for name, n in node.fields.items()}
        owner: dict[str, str] = {}
        for name, spellings in classes.items():
            for spelling in spellings:
                if owner.setdefault(spelling, name) != name or spelling in classes:
                    self.document.problem(
                        node.fields[name], f"{spelling!r} would belong to two classes; keep one"
                    )
        self._keep("classes", classes)

    def _labels(self, node: Node) -> None:
        if node.text == "none":
            self._keep("label_sample", 0.0)
            return
        fields = self.document.mapping(node, KEYS["labels"])
        if "horizon" in fields:
            self._keep("horizon_ms", self.document.duration(fields["horizon"], least_ms=1_000))
        if "sample" in fields:
            self._keep("label_sample", self.document.number(fields["sample"], least=0, most=1))

    def _windows(self, node: Node) -> None:
        fields = self.document.mapping(node, KEYS["windows"])
        if "size" in fields:
            size = self.document.duration(fields["size"], least_ms=MIN_WINDOW_MS)
            self._keep("window_ms", size)
        if "lateness" in fields:
            lateness = self.document.duration(fields["lateness"], least_ms=0)
            self._keep("lateness_ms", lateness)

    def _features(self, node: Node) -> None:
        if node.text != "auto":
            self._keep("features", tuple(self.document.strings(node)))

    def _reference(self, node: Node) -> None:
        text = self.document.string(node)
        if text is None:
            return
        word, _, count = text.partition(" ")
        if word == "warmup":
            here = Node(node.path, node.line, node.column, count.strip())
            self._keep("warmup", self.document.whole(here, least=MIN_WARMUP))
            return
        path = self.folder / text
        if path.is_file():
            self.reference = path
        else:
            advice = "write `warmup 5000` or a profile made by `driftline reference build`"
            self.document.problem(node, f"no such file: {path}; {advice}")

    def _fairness(self, node: Node) -> None:
        fields = self.document.mapping(node, KEYS["fairness"])
        required(self.document, node, "group")
        if "group" in fields:
            self.document.string(fields["group"])
        if "metrics" in fields:
            for item in fields["metrics"].items or [fields["metrics"]]:
                self.document.choice(item, FAIRNESS_METRICS)
        if "tolerance" in fields:
            self.document.number(fields["tolerance"], least=0)

    def _metrics(self, node: Node) -> None:
        found = monitor_rules.metrics(self.document, node)
        self._keep("metrics", found)
        for metric in found:
            if metric.name not in COMPUTED and metric.name not in METRIC_PARAMS:
                text = f"{metric.name} is not computed in this version"
                problem = Problem(self.document.file, node.line, node.column, node.path, text)
                self.notes.append(problem)

    def _thresholds(self, node: Node) -> None:
        self._keep("thresholds", monitor_rules.thresholds(self.document, node))

    def _alerts(self, node: Node) -> None:
        fields = self.document.mapping(node, KEYS["alerts"])
        if "notify" in fields:
            self.notify = tuple(self.document.strings(fields["notify"]))
        if "cool_down" in fields:
            self._keep("cool_down_ms", self.document.duration(fields["cool_down"], least_ms=0))


def read(document: Document, folder: Path) -> MonitorFile | None:
    """The monitor of a parsed file; None if it is wrong, and the problems are in the document.

    Args:
        document: the parsed file.
        folder: what a relative `reference:` is relative to.
    """
    reader = _Reader(document, folder)
    if document.root is None:
        if not document.problems:
            here = Node("", 1, 1)
            document.problem(here, "the file is empty; write at least `model: NAME`")
        return None
    reader.read(document.root)
    if document.problems:
        return None
    return MonitorFile(
        file=document.file,
        model=str(reader.values["model"]),
        values=reader.values,
        reference=reader.reference,
        notify=reader.notify,
        later=reader.later,
        notes=reader.notes,
    )

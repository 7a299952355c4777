"""One monitor file: what each key of contract.md section 5 may hold, and where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from detectors.registry import METRICS as COMPUTED
from detectors.spec import MetricSpec
from driftline.alerts import Kind, Severity
from driftline.rules import NAME_PATTERN, RESERVED_PREFIX, is_name
from streams.document import Document, Node, Problem

KINDS = get_args(Kind)
SEVERITIES = get_args(Severity)
TASKS = ("binary", "multiclass", "regression")
METRICS = (
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "fbeta", "specificity",
    "false_negative_rate", "false_positive_rate", "mcc", "log_loss", "brier", "roc_auc", "pr_auc",
    "calibration_error", "top_k", "mae", "rmse", "mape", "smape", "r2", "bias", "quantile_loss",
    "cost",
)  # fmt: skip
FAIRNESS_METRICS = (
    "demographic_parity", "equal_opportunity", "equalized_odds", "predictive_parity",
    "false_positive_parity",
)  # fmt: skip
MIN_WINDOW_MS = 1_000
MIN_WARMUP = 100

NOT_YET = ("fairness", "thresholds", "drift", "alerts", "remediation")
"""Keys that are checked and kept, but do not change anything in this version."""

Values = dict[str, Any]  # Any: each key has a type of its own


@dataclass(slots=True)
class MonitorFile:
    """The checked contents of one file.

    `values` are fields of a MonitorSpec; `reference` is the profile to start from, None for
    warm-up; `later` holds keys that are not in force yet, and `notes` say so with their place.
    """

    file: str
    model: str
    values: Values
    reference: Path | None = None
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
            "thresholds": lambda node: self._each(node, self._threshold),
            "drift": self._drift,
            "alerts": self._alerts,
            "remediation": lambda node: self._each(node, self._remediation),
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

    def _note(self, node: Node, name: str) -> None:
        self.later[name] = node.plain()
        text = "understood and kept, but not in force in this version"
        self.notes.append(Problem(self.document.file, node.line, node.column, node.path, text))

    def _keep(self, name: str, value: object) -> None:
        if value is not None:
            self.values[name] = value

    def _each(self, node: Node, read: Callable[[Node], None]) -> None:
        if node.items is None:
            self.document.problem(node, "expected a list; begin each entry with `- `")
        for item in node.items or []:
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
            self._note(node, "labels")
            return
        fields = self.document.mapping(node, ("horizon", "sample"))
        if "horizon" in fields:
            self._keep("horizon_ms", self.document.duration(fields["horizon"], least_ms=1_000))
        if "sample" in fields:
            self.document.number(fields["sample"], least=0, most=1)
            self._note(fields["sample"], "labels")

    def _windows(self, node: Node) -> None:
        fields = self.document.mapping(node, ("size", "lateness"))
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
        fields = self.document.mapping(node, ("group", "metrics", "tolerance"))
        self._required(node, fields, "group")
        if "group" in fields:
            self.document.string(fields["group"])
        if "metrics" in fields:
            for item in fields["metrics"].items or [fields["metrics"]]:
                self.document.choice(item, FAIRNESS_METRICS)
        if "tolerance" in fields:
            self.document.number(fields["tolerance"], least=0)

    def _metrics(self, node: Node) -> None:
        found: list[str] = []
        self._each(node, lambda item: self._metric(item, found))
        self._keep("metrics", tuple(MetricSpec(name=name) for name in found))

    def _metric(self, node: Node, found: list[str]) -> None:
        name: str | None
        if node.fields is None:
            name = self.document.choice(node, METRICS)
        else:
            self._required(node, node.fields, "name")
            name = None
            for key, child in node.fields.items():
                if key == "name":
                    name = self.document.choice(child, METRICS)
                else:
                    self.document.number(child)
        if name is None:
            return
        if node.fields is None and name in COMPUTED:
            found.append(name)
        else:
            self._note(node, "metrics")

    def _threshold(self, node: Node) -> None:
        allowed = ("name", "metric", "above", "below", "for", "severity", "segment")
        fields = self.document.mapping(node, allowed)
        self._required(node, fields, "metric")
        if ("above" in fields) == ("below" in fields):
            self.document.problem(node, "give exactly one of `above` and `below`")
        for name in ("above", "below"):
            if name in fields:
                self.document.number(fields[name])
        if "for" in fields:
            self._for(fields["for"])
        if "severity" in fields:
            self.document.choice(fields["severity"], SEVERITIES)

    def _for(self, node: Node) -> None:
        text = self.document.string(node) or ""
        count, _, unit = text.partition(" ")
        if unit not in {"window", "windows"} or not count.isdecimal() or int(count) < 1:
            self.document.problem(node, f"{text!r}: write a number of windows, as `2 windows`")

    def _drift(self, node: Node) -> None:
        fields = self.document.mapping(node, ("false_alarms",))
        if "false_alarms" in fields:
            text = self.document.string(fields["false_alarms"]) or ""
            match = re.fullmatch(r"(\d+(?:\.\d+)?) per (hour|day|week|month|year)", text)
            if match is None or float(match[1]) <= 0:
                advice = "write how many per hour, day, week, month or year, as `1 per week`"
                self.document.problem(fields["false_alarms"], f"{text!r}: {advice}")

    def _alerts(self, node: Node) -> None:
        fields = self.document.mapping(node, ("notify",))
        if "notify" in fields:
            self.document.strings(fields["notify"])

    def _remediation(self, node: Node) -> None:
        fields = self.document.mapping(node, ("on", "do", "mode"))
        self._required(node, fields, "on", "do")
        if "on" in fields:
            on = self.document.mapping(fields["on"], ("kind", "severity", "signal"))
            if "kind" in on:
                self.document.choice(on["kind"], KINDS)
            if "severity" in on:
                self.document.choice(on["severity"], SEVERITIES)
        if "do" in fields:
            self.document.string(fields["do"])
        if "mode" in fields:
            self.document.choice(fields["mode"], ("dry-run", "approve", "auto"))

    def _required(self, node: Node, fields: object, *names: str) -> None:
        present = fields if isinstance(fields, dict) else {}
        for name in names:
            if node.fields is not None and name not in present:
                self.document.problem(node, f"`{name}` is missing")


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
        later=reader.later,
        notes=reader.notes,
    )

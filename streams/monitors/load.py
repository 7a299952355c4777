"""What every model is watched by: monitor files, their references, and defaults for the rest.

`Monitors` is part of a stage's state: it is encoded into each checkpoint, so that a restart goes on
under the configuration that was in force, whatever the folder says by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from detectors.flow.join import JoinSpec
from detectors.reference import profile as reference
from detectors.reference.profile import ReferenceProfile
from detectors.spec import MonitorSpec
from driftline.errors import CheckpointError, ConfigError, DriftlineError, UsageError
from streams.monitors import document
from streams.monitors import file as monitor_file
from streams.monitors.document import Problem
from streams.monitors.file import MonitorFile

SUFFIXES = (".yaml", ".yml")
NO_MODEL = "_default"
"""The model of the spec that says what holds for models without a file."""


class MonitorError(ConfigError):
    """Monitor files are wrong; the message has one `file:line:col: path: what` line per problem."""

    def __init__(self, problems: list[Problem]) -> None:
        first = problems[0]
        DriftlineError.__init__(self, "\n".join(map(str, problems)))
        self.file, self.line, self.column = first.file, first.line, first.column
        self.path, self.problem, self.advice = first.path, first.text, ""
        self.problems = problems


@dataclass(slots=True)
class Report:
    """What was found in monitor files: the sound ones, what is wrong, and what to know."""

    files: list[MonitorFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


class _Encoded(msgspec.Struct, frozen=True):
    specs: dict[str, MonitorSpec]
    references: dict[str, bytes]


@dataclass(frozen=True)
class Monitors:
    """The specification and the pinned reference of each model; immutable, so it may be shared."""

    specs: Mapping[str, MonitorSpec] = field(default_factory=dict)
    references: Mapping[str, ReferenceProfile] = field(default_factory=dict)
    notify: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Model to the destinations that hear of its alerts; no part of any stage's state."""

    def spec(self, model: str) -> MonitorSpec:
        """How to watch this model: its file, or the defaults."""
        found = self.specs.get(model)
        return MonitorSpec(model=model) if found is None else found

    def reference(self, model: str) -> ReferenceProfile | None:
        """The profile its file names; None: each version learns its own from its first rows."""
        return self.references.get(model)

    @cached_property
    def join(self) -> JoinSpec:
        """What join needs to know of all models."""
        default = MonitorSpec(model=NO_MODEL)
        return JoinSpec(
            default_horizon_ms=default.horizon_ms,
            horizons_ms={model: spec.horizon_ms for model, spec in sorted(self.specs.items())},
            segments={model: spec.segments for model, spec in sorted(self.specs.items())},
            samples={
                model: spec.label_sample
                for model, spec in sorted(self.specs.items())
                if spec.label_sample < 1
            },
        )

    @property
    def longest_horizon_ms(self) -> int:
        """The longest that any prediction waits for its label, in ms."""
        default = MonitorSpec(model=NO_MODEL).horizon_ms
        return max([default, *(spec.horizon_ms for spec in self.specs.values())])

    def settle_ms(self, models: Iterable[str]) -> int:
        """How long after the last arrival the last window of these models has closed, in ms."""
        specs = [self.spec(model) for model in models] or [MonitorSpec(model=NO_MODEL)]
        return max(spec.window_ms + spec.lateness_ms for spec in specs)

    def encode(self) -> bytes:
        """As bytes for a checkpoint; equal monitors are equal bytes."""
        encoded = _Encoded(
            specs=dict(sorted(self.specs.items())),
            references={
                model: profile.to_json() for model, profile in sorted(self.references.items())
            },
        )
        return msgspec.msgpack.encode(encoded, order="sorted")

    @staticmethod
    def decode(data: bytes) -> Monitors:
        """The monitors that `encode` wrote; of no bytes, the defaults."""
        if not data:
            return Monitors()
        encoded = msgspec.msgpack.decode(data, type=_Encoded)
        profiles = {model: reference.from_json(raw) for model, raw in encoded.references.items()}
        return Monitors(encoded.specs, profiles)


def inspect(paths: Iterable[Path]) -> Report:
    """Reads monitor files and folders of them, and says everything that is wrong.

    Raises:
        UsageError: a path is not there, or a folder has no monitor file.
    """
    report = Report()
    seen: dict[str, str] = {}
    for path in files_of(paths):
        parsed = document.parse(text_of(path), str(path))
        monitor = monitor_file.read(parsed, path.parent)
        report.problems += parsed.problems
        if monitor is None:
            continue
        report.notes += monitor.notes
        if monitor.model in seen:
            text = f"{seen[monitor.model]} is about `{monitor.model}`, too; keep one file per model"
            report.problems.append(Problem(str(path), 1, 1, "model", text))
            continue
        seen[monitor.model] = str(path)
        report.files.append(monitor)
    return report


def load(path: Path | None) -> Monitors:
    """The monitors of a file or a folder; None: defaults for every model.

    Raises:
        MonitorError: a file is wrong.
        UsageError: the path is not there.
    """
    if path is None:
        return Monitors()
    report = inspect([path])
    if report.problems:
        raise MonitorError(report.problems)
    return monitors_of(report)


def monitors_of(report: Report) -> Monitors:
    """The monitors of the sound files of a report, with their references.

    Raises:
        ConfigError: a reference is no profile.
    """
    specs = {file.model: MonitorSpec(**file.values) for file in report.files}
    references = {
        file.model: load_reference(file.reference)
        for file in report.files
        if file.reference is not None
    }
    notify = {file.model: file.notify for file in report.files if file.notify is not None}
    return Monitors(specs, references, notify)


def load_reference(path: Path) -> ReferenceProfile:
    """The profile in a file that `driftline reference build` wrote.

    Raises:
        ConfigError: the file is no profile, or was written by a newer version.
    """
    try:
        return reference.from_json(path.read_bytes())
    except CheckpointError as error:
        raise ConfigError(
            str(path), 1, 1, "", f"no reference profile ({error})",
            "make one with `driftline reference build`",
        ) from error  # fmt: skip


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The monitor files that paths name, those in a folder by name.

    Raises:
        UsageError: a path is not there, or a folder has no monitor file.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file())
            if not found:
                raise UsageError(f"{path}: no monitor file (*.yaml) in this folder")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder")
    return files


def text_of(path: Path) -> str:
    """The text of a monitor file. Raises: ConfigError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(path), 1, 1, "", f"not UTF-8 ({error.reason})", "save it as UTF-8"
        ) from error

"""What Driftline says: alerts, window summaries, and the commands people answer with.

Times are RFC 3339 texts of fixed width (`driftline.rules.rfc3339`), so their text order is their
time order. Numbers are finite or absent: what is not finite is dropped when the object is made.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from hashlib import sha256
from math import isfinite
from typing import Literal, TypeAlias, TypeVar

import msgspec
import orjson
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import force_setattr

from driftline.errors import ContractError
from driftline.evidence import (
    MAX_EVIDENCE_IDS,
    Cause,
    Contributor,
    Counterpart,
    DetectorRef,
    Evidence,
    Histogram,
    OffsetRange,
    Span,
    Statistic,
    finite_values,
)
from driftline.rules import NAME_PATTERN, Reason, iso_ms

__all__ = [
    "MAX_EVIDENCE_IDS",
    "MAX_SUMMARY_CHARS",
    "PIPELINE_MODEL",
    "Alert",
    "AlertReason",
    "Cause",
    "Command",
    "CommandName",
    "Confusion",
    "Contributor",
    "Counterpart",
    "DetectorRef",
    "Evidence",
    "Histogram",
    "Kind",
    "OffsetRange",
    "Severity",
    "Span",
    "Statistic",
    "Status",
    "WindowSummary",
    "alert_id",
    "decode_alert",
    "decode_command",
    "decode_window",
    "encode",
    "fingerprint",
]

MAX_SUMMARY_CHARS = 200
PIPELINE_MODEL = "_driftline"
"""The model of `pipeline` alerts, which are about Driftline itself; their version is the stage."""

Status: TypeAlias = Literal["firing", "resolved"]
AlertReason: TypeAlias = Literal[
    "opened", "escalated", "deescalated", "updated", "recovered", "retracted", "expired"
]
Severity: TypeAlias = Literal["info", "warning", "critical"]
Kind: TypeAlias = Literal[
    "concept_drift",
    "feature_drift",
    "prediction_drift",
    "label_drift",
    "performance",
    "estimated_performance",
    "data_quality",
    "fairness",
    "volume",
    "latency",
    "label_delay",
    "version_regression",
    "attribution_drift",
    "pipeline",
]
CommandName: TypeAlias = Literal[
    "acknowledge", "silence", "unsilence", "comment", "close", "rebase", "approve", "reject"
]


class Alert(Struct, frozen=True, kw_only=True):
    """One change of state of one incident, always the full state; its key is `fingerprint`.

    `started_at`, `ended_at`, `change_point` and `window` are event times, `detected_at` is the
    arrival at which Driftline could first know. A summary over 200 characters is cut.
    """

    id: str
    fingerprint: str
    revision: int
    status: Status
    reason: AlertReason
    severity: Severity
    kind: Kind
    model: str
    version: str
    signal: str
    segment: dict[str, str] | None = None
    rule: str
    detector: DetectorRef
    statistic: Statistic
    window: Span | None = None
    change_point: str | None = None
    started_at: str
    ended_at: str | None = None
    detected_at: str
    evidence: Evidence = Evidence()
    causes: list[Cause] = []
    counterparts: list[Counterpart] = []
    summary: str
    config_hash: str | None = None
    links: dict[str, str] = {}
    group: str | None = None
    suppressed_by: str | None = None

    def __post_init__(self) -> None:
        """Keep the limit of the contract."""
        if len(self.summary) > MAX_SUMMARY_CHARS:
            force_setattr(self, "summary", self.summary[: MAX_SUMMARY_CHARS - 1] + "…")

    @property
    def order(self) -> tuple[int, int]:
        """(`started_at` in ms, `revision`): per fingerprint, the greatest is the truth."""
        return iso_ms(self.started_at) or 0, self.revision


class Confusion(Struct, frozen=True):
    """Counts of outcomes; `counts[i][j]`: label `classes[i]`, prediction `classes[j]`."""

    classes: list[str]
    counts: list[list[int]]


class Estimated(Struct, frozen=True):
    """A metric as expected without labels, if P(label | score) is still the reference's.

    `low`, `high`: 95 % band of what will be realised. It is blind to concept drift.
    """

    value: float
    low: float
    high: float


class CameTrue(Struct, frozen=True):
    """Realised against expected over the same labelled outcomes; `z`: standard errors apart.

    |z| beyond 1.96 says that P(label | score) differs from the reference's: concept drift.
    """

    realised: float
    expected: float
    z: float | None = None


class ErrorSplit(Struct, frozen=True):
    """A change of the error rate: current - reference = mix + within.

    `mix`: other inputs, `within`: other errors for the same scores; each with its standard error.
    `new`: share of outcomes where the reference has none, which count as mix.
    """

    reference: float
    current: float
    mix: float
    mix_error: float
    within: float
    within_error: float
    new: float


class LabelCoverage(Struct, frozen=True):
    """How far a window's labels have come, and how much its metrics may change yet.

    `provisional`: below 90 % of what earlier windows had in the end. `low`, `high`: the error rate
    lies between them whatever the missing labels say. `least`, `most`: coverage of the worst and
    best covered scores; `reweighted`: error rate with scores weighing as among all predictions.
    `caveat`: what else is known to be amiss with the labels.
    """

    coverage: float
    provisional: bool
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    reweighted: float | None = None
    caveat: str | UnsetType = UNSET


class WindowSummary(Struct, frozen=True, kw_only=True):
    """One event-time window of one subject; a later `revision` replaces an earlier one."""

    model: str
    version: str
    start: str
    end: str
    size_ms: int
    revision: int
    counts: dict[str, int] = {}
    """predictions, outcomes, late and the like."""
    metrics: dict[str, float] = {}
    """Metric name to value; one without a value is absent, never zero."""
    errors: dict[str, float] = {}
    """Metric name to standard error: what so few rows may be off by."""
    reasons: dict[str, str] = {}
    """Metric name to why it has no value."""
    labels: LabelCoverage | None = None
    estimated: dict[str, Estimated] = {}
    came_true: dict[str, CameTrue] = {}
    split: ErrorSplit | None = None
    confusion: Confusion | None = None
    signals: dict[str, dict[str, float]] = {}
    """Signal to statistic to value: `feature:amount` -> {n, missing, mean, ...}."""

    def __post_init__(self) -> None:
        """Finite or absent."""
        named = (self.metrics, self.errors, *self.signals.values())
        if all(isfinite(sum(values.values())) for values in named):
            return  # as nearly always; a copy of each would cost more than all else
        force_setattr(self, "metrics", finite_values(self.metrics))
        force_setattr(self, "errors", finite_values(self.errors))
        signals = {name: finite_values(values) for name, values in self.signals.items()}
        force_setattr(self, "signals", signals)

    @property
    def key(self) -> str:
        """`subject|start|size`, start and size in ms: the record's key on `driftline.windows`."""
        return f"{self.model}@{self.version}|{iso_ms(self.start)}|{self.size_ms}"


class Command(Struct, frozen=True, kw_only=True):
    """What an operator decided about an alert, an action or a subject. `until`: end of a silence.

    `subject` is `model@version`. close, rebase, approve and reject change what is decided from then
    on, where the subject's rows are; they need it, close with `fingerprint`, and approve and reject
    with `action`, the action's id. A silence holds for the fingerprint, or for all of a subject.
    """

    id: str
    command: CommandName
    fingerprint: str | None = None
    subject: str | None = None
    who: str
    when: str
    why: str = ""
    until: str | None = None
    action: str | UnsetType = UNSET


def fingerprint(
    model: str, version: str, rule: str, signal: str, segment: Mapping[str, str] | None = None
) -> str:
    """The identity of an incident's alerts, 32 hex digits; free of severity, threshold and time.

    An empty segment is no segment.
    """
    parts = [model, version, rule, signal, dict(segment) if segment else None]
    return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def alert_id(fingerprint: str, started_at_ms: int, revision: int) -> str:
    """The alert's id, a UUIDv5: the same incident and revision have the same id in every run."""
    return str(
        uuid.uuid5(uuid.NAMESPACE_URL, f"driftline:{fingerprint}:{started_at_ms}:{revision}")
    )


NEEDED: Mapping[str, tuple[str, ...]] = {
    "acknowledge": ("fingerprint",),
    "comment": ("fingerprint",),
    "silence": ("until",),
    "close": ("subject", "fingerprint"),
    "rebase": ("subject",),
    "approve": ("subject", "action"),
    "reject": ("subject", "action"),
}
"""Fields that a command is of no use without."""

SILENCES = ("silence", "unsilence")
_TARGETS = "`fingerprint`, `subject`"
_FORM = re.compile(f"{NAME_PATTERN}@{NAME_PATTERN}")

_encoder = msgspec.json.Encoder()
_alerts = msgspec.json.Decoder(Alert)
_windows = msgspec.json.Decoder(WindowSummary)
_commands = msgspec.json.Decoder(Command)


def encode(event: Alert | WindowSummary | Command) -> bytes:
    """The event as JSON, keys in the order of its class, so equal events are equal bytes."""
    return _encoder.encode(event)


def decode_alert(value: bytes) -> Alert:
    """An alert from its bytes; a newer writer's fields are ignored. Raises: ContractError."""
    return _decode(_alerts, value, Reason.WRONG_TYPE)


def decode_window(value: bytes) -> WindowSummary:
    """A window summary from its bytes. Raises: ContractError."""
    return _decode(_windows, value, Reason.WRONG_TYPE)


def decode_command(value: bytes) -> Command:
    """An operator's command from its bytes. Raises: ContractError, for a dead letter."""
    command = _decode(_commands, value, Reason.BAD_COMMAND)
    for name in NEEDED.get(command.command, ()):
        if not getattr(command, name):
            raise ContractError(Reason.BAD_COMMAND, f"{command.command} needs `{name}`")
    if command.subject is not None and _FORM.fullmatch(command.subject) is None:
        raise ContractError(Reason.BAD_COMMAND, "`subject` is not of the form model@version")
    if command.command in SILENCES and not (command.fingerprint or command.subject):
        raise ContractError(Reason.BAD_COMMAND, f"{command.command} needs one of: {_TARGETS}")
    if command.until is not None and iso_ms(command.until) is None:
        raise ContractError(Reason.BAD_COMMAND, "`until` is not a time as RFC 3339 writes it")
    return command


T = TypeVar("T")


def _decode(decoder: msgspec.json.Decoder[T], value: bytes, reason: Reason) -> T:
    try:
        return decoder.decode(value)
    except RecursionError as error:
        raise ContractError(Reason.TOO_DEEP, str(error)) from error
    except msgspec.ValidationError as error:
        raise ContractError(reason, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # broken text: by version, either
        broken = Reason.NOT_JSON if _is_text(value) else Reason.NOT_UTF8
        raise ContractError(broken, str(error)) from error


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True

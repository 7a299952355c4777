"""Every error Driftline raises on purpose, in one tree.

    DriftlineError              exit 3
    ├── ContractError           exit 3  an event broke the contract: a dead letter, not retried
    ├── ConfigError             exit 3  a file says something that cannot be meant
    ├── UsageError              exit 2  a command was asked for something it cannot do
    ├── BrokerUnreachable       exit 4  nobody answers at the bootstrap address; retriable
    ├── DeliveryError           exit 3  a destination did not take an alert; may be retriable
    └── CheckpointError         exit 3  a stored state cannot be used as it is
        └── UnknownVersion      exit 3  written by a newer Driftline: upgrade, then go on

Callers branch on `.retriable` only. `exit_code` is what the command line returns (contract.md,
section 6); every message says what, where, and what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class DriftlineError(Exception):
    """Root of the tree. `retriable`: the same call may succeed later, unchanged."""

    exit_code: ClassVar[int] = 3
    retriable: bool = False


class ContractError(DriftlineError):
    """An event broke the wire contract. `reason` is one of `driftline.rules.Reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ConfigError(DriftlineError):
    """A configuration file is wrong; prints `file:line:col: path: what, and what to write instead`.

    Args:
        file: the file as the user named it.
        line: line of the offending value, from 1.
        column: column of the offending value, from 1.
        path: where in the document, as `thresholds[0].metric`; may be empty for the whole file.
        problem: what is wrong, as a clause without a full stop.
        advice: what to write instead, as a clause without a full stop.
    """

    def __init__(  # noqa: PLR0917 - in the order in which they are printed
        self, file: str, line: int, column: int, path: str, problem: str, advice: str
    ) -> None:
        where = f"{path}: " if path else ""
        super().__init__(f"{file}:{line}:{column}: {where}{problem}, {advice}")
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.problem = problem
        self.advice = advice


class UsageError(DriftlineError):
    """A command was asked for something it cannot do: a missing file, an unknown format."""

    exit_code: ClassVar[int] = 2


class BrokerUnreachable(DriftlineError):  # noqa: N818 - says the state; "Error" would add nothing
    """Nobody answers at the bootstrap address. It may come: retriable."""

    exit_code: ClassVar[int] = 4
    retriable: bool = True

    def __init__(self, bootstrap: str, detail: str = "") -> None:
        because = f" ({detail})" if detail else ""
        super().__init__(
            f"no Kafka broker answers at {bootstrap}{because}; "
            "start one, or set KAFKA_BOOTSTRAP to where it is"
        )
        self.bootstrap = bootstrap
        self.detail = detail


class DeliveryError(DriftlineError):
    """A destination did not take an alert.

    Args:
        message: what the destination answered.
        retriable: False for what will never work (a 400, a wrong secret): dead letter at once.
        retry_after_s: seconds the destination asked to be left alone, None: it did not say.
    """

    def __init__(
        self, message: str, *, retriable: bool, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.retriable = retriable
        self.retry_after_s = retry_after_s


class CheckpointError(DriftlineError):
    """A checkpoint, snapshot or internal message cannot be used as it is."""


class UnknownVersion(CheckpointError):  # noqa: N818 - says the fact; "Error" would add nothing
    """Something was written by a newer Driftline; reading on would guess, so the worker stops."""

    def __init__(self, version: object, what: str = "message") -> None:
        super().__init__(
            f"{what} has format version {version!r}, which this Driftline cannot read; "
            "upgrade this worker to the version that wrote it"
        )
        self.version = version
        self.what = what

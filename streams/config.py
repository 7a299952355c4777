"""Settings of a worker, from `DRIFTLINE_*` environment variables and secret files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from driftline.errors import DriftlineError

SECRETS = Path("/run/secrets")
"""Where container platforms mount secrets: one file per setting, named like its variable."""

Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


class SettingsError(DriftlineError):
    """A setting is wrong; the message names its variable."""


class WorkerSettings(BaseSettings):
    """What one worker process needs to know; monitors have files of their own.

    Precedence: arguments, environment, secret files, defaults. An empty variable counts as unset.
    """

    model_config = SettingsConfigDict(
        env_prefix="DRIFTLINE_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
    )

    broker: str | None = Field(
        None,
        validation_alias=AliasChoices("DRIFTLINE_BROKER", "KAFKA_BOOTSTRAP"),
        description="Kafka bootstrap servers, host:port[,host:port]",
    )
    topic_prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="put before every topic and group name, so deployments can share a cluster",
    )
    source_prefix: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="before the topics that serving code writes; unset: topic_prefix. A second "
        "deployment can so watch the traffic of the first",
    )
    partitions: int = Field(4, ge=1, le=1024, description="partitions of new internal topics")
    source_partitions: int = Field(
        4, ge=1, le=1024, description="partitions of new topics that serving code writes"
    )
    clock: Literal["broker", "records"] = Field(
        "broker",
        description="arrival: append time with an idle clock, or the records' own timestamps",
    )
    monitors: Path | None = Field(
        None, description="folder of monitor files, one YAML per model; unset: defaults for all"
    )
    state_dir: Path | None = Field(
        None,
        description="folder for predictions that wait for labels, on disk; unset: in memory",
    )
    health_host: str = Field("0.0.0.0", description="address of /healthz and /metrics")  # noqa: S104  containers probe from outside
    health_port: Port = Field(8081, description="port of /healthz and /metrics; 0: any free one")
    checkpoint_interval_s: Seconds = Field(30.0, description="time between checkpoints")
    session_timeout_s: Seconds = Field(45.0, description="Kafka consumer session timeout")
    heartbeat_interval_s: Seconds = Field(3.0, description="Kafka consumer heartbeat interval")
    rebalance_timeout_s: Seconds = Field(60.0, description="Kafka rebalance timeout")
    request_timeout_s: Seconds = Field(20.0, description="a send unanswered so long has failed")
    raw_records: bool = Field(
        True,
        description="read and send with fewer copies than aiokafka makes, if that passes its check",
    )
    destinations: Path | None = Field(
        None, description="YAML file of notification destinations; unset: alerts are logged only"
    )
    audit: bool = Field(True, description="keep the audit trail: every alert, command and action")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def bootstrap_servers(self) -> list[str]:
        """host:port of each bootstrap server."""
        assert self.broker is not None
        return self.broker.split(",")

    @property
    def group(self) -> str:
        """The consumer group that all workers of this deployment share."""
        return f"{self.topic_prefix}driftline"

    def state_folder(self, stage: str) -> Path | None:
        """Where a stage keeps its partitions' state on disk; None: nowhere."""
        return None if self.state_dir is None else self.state_dir / self.group / stage

    @field_validator("broker")
    @classmethod
    def _without_scheme(cls, value: str | None) -> str | None:
        """Kafka's own form: `kafka://` in front is Faust's habit and is taken off."""
        return value.removeprefix("kafka://") if value else None


def read(**given: Any) -> WorkerSettings:  # Any: pydantic validates each
    """The settings: what is given (None: nothing), then environment, secret files and defaults.

    Raises:
        SettingsError: a value is wrong.
    """
    try:
        return WorkerSettings(**{name: v for name, v in given.items() if v is not None})
    except ValidationError as error:
        wrong = [f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise SettingsError("; ".join(wrong)) from error


def _variable(loc: tuple[int | str, ...]) -> str:
    name = "_".join(map(str, loc)).upper()
    return name if name in {"DRIFTLINE_BROKER", "KAFKA_BOOTSTRAP"} else f"DRIFTLINE_{name}"

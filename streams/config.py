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
    health_host: str = Field("0.0.0.0", description="address of /healthz and /metrics")  # noqa: S104  containers probe from outside
    health_port: Port = Field(8081, description="port of /healthz and /metrics; 0: any free one")
    checkpoint_interval_s: Seconds = Field(30.0, description="time between checkpoints")
    session_timeout_s: Seconds = Field(45.0, description="Kafka consumer session timeout")
    heartbeat_interval_s: Seconds = Field(3.0, description="Kafka consumer heartbeat interval")
    rebalance_timeout_s: Seconds = Field(60.0, description="Kafka rebalance timeout")
    request_timeout_s: Seconds = Field(20.0, description="a send unanswered so long has failed")
    destinations: Path | None = Field(
        None, description="YAML file of notification destinations; unset: alerts are logged only"
    )
    audit: bool = Field(True, description="keep the audit trail: every alert, command and action")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def group(self) -> str:
        """The consumer group that all workers of this deployment share."""
        return f"{self.topic_prefix}driftline"

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

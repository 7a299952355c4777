"""The `driftline` command: its groups, and how errors become exit codes.

Exit codes: 0 ok, 1 findings (only with `--fail-on`), 2 usage, 3 configuration invalid, 4 broker
unreachable, 130 interrupt. stdout is data, stderr is for people.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from driftline.errors import DriftlineError
from streams.cli import (
    alerts,
    audit,
    check,
    cluster,
    commands,
    deadletters,
    demo,
    doctor,
    emit,
    evidence,
    export,
    health,
    notify,
    reference,
    replay,
)
from streams.cli import schema as schemas
from streams.cli import state as states


class Commands(TyperGroup):
    """The commands; an error of ours is one line on stderr and an exit code, never a traceback."""

    def invoke(self, ctx: Any) -> Any:  # Any: typer keeps its context class to itself
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except DriftlineError as error:
            print(f"driftline: {error}", file=sys.stderr)  # noqa: T201  stderr is for people
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    name="driftline",
    cls=Commands,
    help="Monitors machine-learning models on Kafka: drift, performance, data quality, alerts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

answers = typer.Typer(invoke_without_command=True)
answers.callback()(alerts.alerts)
for answer in (
    commands.acknowledge,
    commands.silence,
    commands.unsilence,
    commands.comment,
    commands.close,
    commands.rebase,
):
    answers.command(answer.__name__)(answer)
remedies = typer.Typer(invoke_without_command=True)
remedies.callback()(commands.actions)
remedies.command("approve")(commands.approve)
remedies.command("reject")(commands.reject)
references = typer.Typer(no_args_is_help=True, help="Reference profiles: what normal looks like.")
references.command("build")(reference.build)
notifications = typer.Typer(no_args_is_help=True, help="Notification destinations.")
notifications.command("test")(notify.notify_test)
trail = typer.Typer(no_args_is_help=True, help="The audit trail: who decided what, and when.")
trail.command("verify")(audit.verify)
trail.command("export")(audit.export)
topics = typer.Typer(no_args_is_help=True, help="Kafka topics.")
topics.command("apply")(cluster.topics_apply)

app.command("demo")(demo.demo)
app.command("up")(cluster.up)
app.command("worker")(cluster.worker)
app.command("replay")(replay.replay)
app.command("emit")(emit.emit)
app.command("evidence")(evidence.evidence)
app.command("export")(export.export)
app.command("dlq")(deadletters.dlq)
app.command("health")(health.health)
app.command("doctor")(doctor.doctor)
app.command("state")(states.state)
app.command("check")(check.check)
app.command("schema")(schemas.schema)
app.add_typer(answers, name="alerts")
app.add_typer(remedies, name="actions")
app.add_typer(references, name="reference")
app.add_typer(trail, name="audit")
app.add_typer(topics, name="topics")
app.add_typer(notifications, name="notify")


def main() -> None:
    """Runs the command line of this process and ends it with the command's exit code."""
    app()

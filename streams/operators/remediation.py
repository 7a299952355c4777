"""Remediation of the models of one detect partition: who is asked, when, and what was configured.

The decisions are `detectors.operators.remedies`; here is only which rows and alerts each model's
state sees. A model without policies costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectors.frame import Frame
from detectors.operators.commands import told
from detectors.operators.remedies import Decision, RemedyState, step
from detectors.spec import MonitorSpec, config_hash
from driftline.actions import Action, action_id
from driftline.alerts import Alert
from driftline.rules import rfc3339
from streams.monitors.load import Monitors

DECISIONS = ("approve", "reject")


class Remediation:
    """The state of each model that has policies, and changes of configuration to say."""

    def __init__(self) -> None:
        self.models: dict[str, RemedyState] = {}
        self._changes: list[Action] = []

    def step(
        self,
        monitors: Monitors,
        due: Mapping[str, Sequence[Frame]],
        alerts: Sequence[Alert],
        clock: int,
    ) -> list[Action]:
        """What these rows, commands and alerts lead to.

        Args:
            monitors: the configuration in force.
            due: subject -> the frames stepped now, whose rows all arrived before `clock`.
            alerts: what they made the monitors say.
            clock: arrival that everything before was stepped of, ms.
        """
        said, self._changes = self._changes, []
        decisions = _decisions(due)
        for model, spec in monitors.specs.items():
            if not spec.remediation and model not in self.models:
                continue
            state = self.models.setdefault(model, RemedyState(model))
            _count(state, due)
            own = [alert for alert in alerts if alert.model == model]
            told_it = decisions.get(model, [])
            waiting = state.next_due
            if own or told_it or (waiting is not None and waiting <= clock):
                said += step(state, spec.remediation, own, told_it, clock)
        return said

    def configured(self, old: MonitorSpec, new: MonitorSpec, version: str, clock: int) -> None:
        """A monitor goes on under another specification: said with the next step, for the trail."""
        before, after = config_hash(old), config_hash(new)
        changed = [
            name for name in new.__struct_fields__ if getattr(old, name) != getattr(new, name)
        ]
        self._changes.append(
            Action(
                id=action_id("configuration", f"{new.model}@{version}:{before}:{after}"),
                revision=1,
                action="configure",
                mode="auto",
                status="done",
                why=f"changed: {', '.join(changed)}"[:200],
                policy="configuration",
                model=new.model,
                version=version,
                at=rfc3339(clock),
                params={"before": before},
                config_hash=after,
            )
        )

    def dump(self) -> dict[str, Any]:
        """As builtins; changes of configuration are said again after a restart, under one id."""
        return {model: state.dump() for model, state in self.models.items()}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Remediation:
        """Goes on from `dump`."""
        made = cls()
        made.models = {model: RemedyState.load(state, model) for model, state in dumped.items()}
        return made


def _count(state: RemedyState, due: Mapping[str, Sequence[Frame]]) -> None:
    for subject, frames in due.items():
        model, _, version = subject.partition("@")
        if model == state.model:
            for frame in frames:
                if frame.kind == "prediction":
                    state.traffic.take(version, frame.ints("arrival"))


def _decisions(due: Mapping[str, Sequence[Frame]]) -> dict[str, list[Decision]]:
    """Model -> what people decided of its actions, in order."""
    found: dict[str, list[Decision]] = {}
    for subject, frames in due.items():
        for one in told(frames):
            if one.command in DECISIONS and one.action is not None:
                decision = Decision(one.at, one.action, one.command == "approve", one.who, one.why)
                found.setdefault(subject.partition("@")[0], []).append(decision)
    return found

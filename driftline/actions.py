"""What remediation decided and did: records of `driftline.actions`, one per change of state.

An action has one id for its whole life; a record is always the full state, and of two records of
one id the one with the greater `revision` holds. Whoever carries actions out does so once per id,
and says `done` or `failed` with the revision of `due` plus 1; the verdict, whether it helped, comes
with that plus 2.
"""

from __future__ import annotations

import uuid
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from driftline.errors import ContractError
from driftline.rules import Reason

__all__ = ["Action", "ActionMode", "ActionName", "ActionStatus", "action_id", "decode_action"]

ActionName: TypeAlias = Literal[
    "rollback", "shadow", "retrain", "freeze", "webhook", "hook", "configure"
]
ActionMode: TypeAlias = Literal["dry-run", "approve", "auto"]
ActionStatus: TypeAlias = Literal[
    "would_run",  # dry-run: what would have been done
    "waiting",  # for a person's approval
    "rejected",  # by a person
    "expired",  # nobody approved in time, or the alert ended before
    "refused",  # by a guard; `why` says which
    "due",  # decided: to be carried out, once per id
    "done",  # carried out
    "failed",  # could not be carried out
    "helped",  # verified: the incident ended, or the version went quiet
    "did_not_help",  # verified: the incident is still open
]


class Action(Struct, frozen=True, kw_only=True):
    """One state of one action. `at` is the arrival clock, RFC 3339, when it was decided.

    `fingerprint` and `alert_id` name the incident that asked for it, `to_version` the version a
    rollback goes to, `params` what the policy gives the executor. `who` approved or rejected it.
    """

    id: str
    revision: int
    action: ActionName
    mode: ActionMode
    status: ActionStatus
    why: str
    policy: str
    model: str
    version: str
    at: str
    to_version: str | None = None
    fingerprint: str | None = None
    alert_id: str | None = None
    params: dict[str, str] = {}
    who: str | None = None
    config_hash: str | None = None

    @property
    def subject(self) -> str:
        """`model@version`: the record's key."""
        return f"{self.model}@{self.version}"


def action_id(policy: str, alert_id: str) -> str:
    """The action's id, a UUIDv5: the same policy and alert give the same id in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"driftline:action:{policy}:{alert_id}"))


_decoder = msgspec.json.Decoder(Action)


def decode_action(value: bytes) -> Action:
    """An action from its bytes; a newer writer's fields are ignored. Raises: ContractError."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(Reason.WRONG_TYPE, str(error)) from error

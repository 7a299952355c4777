"""What people answered: who took which incident, and what is silent until when. Pure.

Commands may come in any order, and again from the beginning after a restart: of two about the same
thing the later one holds. Times are seconds since the epoch, those of the commands' records.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from driftline.alerts import Alert, Command
from driftline.rules import iso_ms

REMEMBERED = 100_000
"""Answers of each kind that are remembered."""

HOLDS_S = 30 * 86_400.0
"""An acknowledgement holds so long: ledgers reach no further back, so an older one might be of an
incident whose end nobody remembers."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer. `until`: end of a silence; an `unsilence` ends when it is said."""

    id: str
    who: str
    at: float
    until: float = 0.0


class Answers:
    """Acknowledgements by fingerprint, silences by fingerprint or subject."""

    def __init__(self) -> None:
        self.taken: OrderedDict[str, Said] = OrderedDict()
        self._silences: OrderedDict[str, Said] = OrderedDict()

    def take(self, command: Command, at: float) -> None:
        """Takes one command in; those that are none of the notifier's business change nothing."""
        if command.command == "acknowledge" and command.fingerprint is not None:
            _keep(self.taken, command.fingerprint, Said(command.id, command.who, at))
            return
        target = command.fingerprint or command.subject
        if command.command not in ("silence", "unsilence") or target is None:
            return
        until = at
        if command.command == "silence" and command.until is not None:
            until = (iso_ms(command.until) or 0) / 1000
        _keep(self._silences, target, Said(command.id, command.who, at, until))

    def acknowledged(self, fingerprint: str, ended: float, now: float) -> Said | None:
        """Who took the incident that goes on; `ended`: when the one before it was over."""
        said = self.taken.get(fingerprint)
        return said if said is not None and ended < said.at > now - HOLDS_S else None

    def silent_until(self, alert: Alert, now: float) -> float | None:
        """When the silence about an alert ends, after `now`; None: there is none."""
        targets = (alert.fingerprint, f"{alert.model}@{alert.version}")
        ends = (said.until for name in targets if (said := self._silences.get(name)))
        return max((end for end in ends if end > now), default=None)


def _keep(held: OrderedDict[str, Said], name: str, said: Said) -> None:
    known = held.get(name)
    if known is not None and known.at > said.at:
        return
    held[name] = said
    held.move_to_end(name)
    if len(held) > REMEMBERED:
        held.popitem(last=False)

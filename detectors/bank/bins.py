"""SRBins: sequential tests of bin labels, for all binned signals of one stream of rows at once.

Every row gives every signal a label, "missing" included, so all count the same ticks. Evidence
moves only at ticks, which are cut by row number: how rows are batched changes no bit of it.

Source: Shin, Ramdas & Rinaldo 2022, "E-detectors: a nonparametric framework for sequential change
detection", arXiv 2203.03532; Dandapanthula & Ramdas 2025, "Multiple testing in multi-stream
sequential change detection", arXiv 2501.04130.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.bank.block import Block, Hours
from detectors.bank.budget import SUSPECTED, tick_size
from detectors.bank.labels import Signal
from detectors.bank.life import WINDOW, Turn
from detectors.reference.profile import Codes

GATE: Final = 0.02
"""Excess PSI below which a change is significant and does not matter: 0.14 standard deviations."""
BLOCK: Final = 200
"""Signals per block: so many matrices stay in the processor's cache."""
_FEW_LABELS = 10
_PADDED: Final = 4
"""Signals of many labels for each of few that may lie among them."""


class Bank:
    """The tests of signals that share a stream of rows; those of one subject's predictions, say."""

    def __init__(
        self,
        signals: Sequence[Signal],
        log_c: Mapping[str, float],
        *,
        gate: float = GATE,
        tick: int | None = None,
    ) -> None:
        """A bank without evidence.

        Args:
            signals: with distinct names.
            log_c: threshold by signal name, of `budget.log_threshold`.
            gate: excess PSI that opens an episode.
            tick: rows per tick; None: by the number of signals.
        """
        self.tick = tick_size(len(signals)) if tick is None else tick
        self.rows = 0
        self.blocks = [
            Block(part, [log_c[signal.name] for signal in part], self.tick, gate)
            for part in _blocks(signals)
        ]
        self.needs_hours = any(len(signal.counts) > 1 for signal in signals)

    @property
    def held(self) -> int:
        """Rows before the new ones that `step` needs, or all there were."""
        return max(WINDOW, self.tick - 1)

    def step(
        self, codes: Codes, fresh: int, hours: NDArray[np.integer] | None = None
    ) -> list[Turn]:
        """Takes the next rows; returns what they told, by row and then by signal name.

        Args:
            codes: bin codes, a row of the matrix per signal (`Signal.at`) and a column per row of
                the stream: at least the last `held` rows before the new ones, then the new ones.
            fresh: how many columns are new.
            hours: hour of day (UTC) of each column; needed where a signal has hourly profiles.
        """
        if self.needs_hours and hours is None:
            raise ValueError("signals with hourly profiles need the hour of each row")
        begin = self.rows
        self.rows += fresh
        if codes.shape[1] < min(self.rows, fresh + self.held):
            raise ValueError(f"{codes.shape[1]} rows held of the {fresh + self.held} it takes")
        ticks = (begin // self.tick * self.tick, self.rows // self.tick * self.tick)
        of_row: Hours | None = None if hours is None else hours.astype(np.int64)
        turns = [
            turn for block in self.blocks for turn in block.step(codes, of_row, ticks, self.rows)
        ]
        return sorted(turns, key=lambda turn: (turn.row, turn.signal))

    def retune(self, log_c: Mapping[str, float]) -> None:
        """Sets new thresholds, such as for another traffic."""
        for block in self.blocks:
            of_signal = [log_c[signal.name] for signal in block.signals]
            block.evidence.retune(np.array(of_signal, dtype=np.float64))

    def close(self, name: str) -> None:
        """An operator closed the signal's episode; it is watched anew."""
        for block in self.blocks:
            for at, signal in enumerate(block.signals):
                if signal.name == name:
                    block.life.shut(block.evidence, at, self.rows // self.tick)

    def evidence(self) -> dict[str, tuple[float, float]]:
        """(log-evidence, threshold) of each signal."""
        return {
            signal.name: (float(mixed), float(block.evidence.log_c[at]))
            for block in self.blocks
            for at, (signal, mixed) in enumerate(
                zip(block.signals, block.evidence.mixture(), strict=True)
            )
        }

    def suspected(self) -> list[str]:
        """Signals near or over their threshold, open ones included, by name."""
        levels = self.evidence().items()
        near = {name for name, (level, limit) in levels if level > limit - SUSPECTED}
        return sorted(near | set(self.open_signals()))

    def open_signals(self) -> list[str]:
        """Signals with an open episode, by name."""
        names = [
            block.signals[at].name
            for block in self.blocks
            for at in np.flatnonzero(block.life.open).tolist()
        ]
        return sorted(names)

    @property
    def nbytes(self) -> int:
        """Bytes of state that events change."""
        return sum(block.nbytes for block in self.blocks)

    def dump(self) -> dict[str, Any]:
        """The state as builtins; references and thresholds' origin are stored apart."""
        blocks = [block.dump() for block in self.blocks]
        return {"rows": self.rows, "tick": self.tick, "blocks": blocks}

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Goes on from `dump`, bit by bit, for each signal whose reference is still the same.

        Signals that are new or changed begin without evidence, and so do all of them where the
        number of signals asks for another tick.
        """
        self.rows = dumped["rows"]
        if dumped["tick"] == self.tick:
            for block in self.blocks:
                for old in dumped["blocks"]:
                    block.restore(old)


def _blocks(signals: Sequence[Signal]) -> list[list[Signal]]:
    """Signals of like shape together, at most 200 at a time, in the order given."""

    def shape(signal: Signal) -> tuple[int, bool, bool]:
        hours, labels = signal.counts.shape
        return hours, signal.scores is None, signal.scores is None and labels <= _FEW_LABELS

    parts = [list(part) for _, part in groupby(sorted(signals, key=shape), key=shape)]
    alike: list[list[Signal]] = []
    for part in parts:
        few = shape(part[0])[2]
        if few and alike and _may_join(part, alike[-1]):
            alike[-1] = alike[-1] + part
        else:
            alike.append(part)
    return [part[at : at + BLOCK] for part in alike for at in range(0, len(part), BLOCK)]


def _may_join(few: Sequence[Signal], many: Sequence[Signal]) -> bool:
    """Whether a block's fixed cost is more than what signals of few labels would be padded with."""
    hours, labels = (max(signal.counts.shape[at] for signal in many) for at in (0, 1))
    fit = labels >= 2 * _FEW_LABELS and all(len(signal.counts) == hours for signal in few)
    return fit and len(few) * _PADDED <= len(many) and len(few) + len(many) <= BLOCK

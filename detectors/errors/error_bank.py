"""The error before the bank: an error rate, or the size of a regression's residuals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.bank import MIN_REFERENCE, Bank, Rate, Rates, Signal, Turn, signal_of
from detectors.banked.episodes import Episodes, Moment
from detectors.classes import Key
from detectors.error_signal import ErrorSignal, Place, finding
from detectors.findings import Finding
from detectors.plan import ERROR, WEAK_BELOW, Plan
from detectors.reference.profile import Bins, ErrorReference
from detectors.ring import History
from detectors.watch import Verdict
from detectors.windows.windows import Detection
from driftline.alerts import DetectorRef

Ints: TypeAlias = NDArray[np.int64]

OPENS: Final = "srbins"
OPENS_RATE: Final = "srbinary"


class ErrorBank:
    """Is the error higher than the reference's, surely? A fall is no news."""

    def __init__(self, reference: ErrorReference, plan: Plan) -> None:
        self.reference, self.plan = reference, plan
        self.bins: Bins | None = None
        self.episodes = Episodes()
        self.tests: Bank | Rates
        if reference.absolute is None:
            hits = round(reference.mean * reference.n)
            self.tests = Rates([Rate(ERROR, hits, reference.n, reference.phi)], plan.log_c)
            self.name = OPENS_RATE
        else:
            signal = signal_of(ERROR, reference.absolute, 0, side="up")
            signals: list[Signal] = [] if signal is None else [signal]
            self.bins = Bins(reference.absolute)
            self.tests = Bank(signals, plan.log_c)
            self.name = OPENS

    @classmethod
    def of(cls, reference: ErrorReference, plan: Plan) -> Self | None:
        """The bank, or None where the reference is too small or there is no budget for it."""
        if reference.n < MIN_REFERENCE or ERROR not in plan.log_c:
            return None
        return cls(reference, plan)

    def step(self, history: History, fresh: int) -> Iterator[Moment]:
        """Takes the last `fresh` rows held; what they tell, in rows since the bank began."""
        begin = self.tests.rows
        errors, ts = history.columns["error"], history.columns["ts"]
        turns: list[Turn]
        if isinstance(self.tests, Rates):
            turns = self.tests.step(errors[None, len(errors) - fresh :] > 0)
        else:
            assert self.bins is not None
            turns = self.tests.step(self.bins.of_numbers(errors)[None, :], fresh)
        return self.episodes.follow(turns, ts[len(ts) - fresh :], begin)

    @property
    def level(self) -> tuple[float, float]:
        """(log-evidence, threshold)."""
        tests = self.tests
        return (tests.levels() if isinstance(tests, Rates) else tests.evidence())[ERROR]

    def dump(self) -> dict[str, Any]:
        """As builtins; the reference and the budget are stored apart."""
        return {"tests": self.tests.dump(), "episodes": self.episodes.dump()}

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Goes on from `dump`, with the thresholds of the present budget."""
        self.tests.restore(dumped["tests"])
        self.tests.retune(self.plan.log_c)
        self.episodes = Episodes.load(dumped["episodes"])


def tell(  # noqa: PLR0917  what a row is known by, and by whom
    bank: ErrorBank,
    errors: ErrorSignal,
    times: tuple[Ints, Ints],
    key_of: Callable[[int], Key],
    detections: list[Detection],
    fair: Callable[[Key], bool] = lambda _: True,
) -> Iterator[Finding]:
    """What the bank tells of the last rows held; adds to `detections`.

    Args:
        bank: the bank.
        errors: the rows held, of which the last ones are new.
        times: event time and arrival of the new rows, ms.
        key_of: order key of a new row, by position.
        detections: where openings are counted.
        fair: whether the labels known at a key are those of all predictions; what is told of others
            waits until they are, and is told then if it still holds.
    """
    history, (ts, arrival) = errors.history, times
    start = history.first + len(history.columns["ts"]) - len(ts)
    offset = start - bank.tests.rows  # rows before the bank began
    for moment in bank.step(history, len(ts)):
        row = moment.row + offset - start
        place = Place(key_of(row), int(arrival[row]), int(ts[row]))
        if moment.state in ("opened", "immaterial"):
            told = bank.name if moment.state == "opened" else f"{bank.name}_immaterial"
            detections.append(Detection(place.arrival, place.ts, ERROR, told))
        if moment.state == "immaterial":
            continue
        over = moment.state == "closed"
        if not over and not fair(place.key):
            continue
        if moment.state == "open" and not _still(bank, errors, moment, offset):
            continue
        verdict = Verdict(
            "recovered" if over else "changed", moment.row + offset, moment.first + offset
        )
        detector, beyond = _sureness(bank, moment)
        said = finding(errors, verdict, detector, place, since=moment.since, beyond=beyond)
        if over or bank.episodes.worse(ERROR, said.severity):
            yield said


def _still(bank: ErrorBank, errors: ErrorSignal, moment: Moment, offset: int) -> bool:
    """Whether an open episode that waited to be told is still to be seen in the last rows."""
    if bank.episodes.open[ERROR].rank >= 0:
        return True
    values, _ = errors.values(moment.first + offset, moment.row + offset + 1)
    return len(values) > 0 and errors.deviates(values)


def _sureness(bank: ErrorBank, moment: Moment) -> tuple[DetectorRef, str]:
    """The detector as it was set, and how sure it is, in words."""
    threshold, beyond = bank.level[1], ""
    if moment.turn is not None:
        threshold = moment.turn.log_threshold
        beyond = f"; log evidence {moment.turn.log_evidence:.0f}, threshold {threshold:.1f}"
    if bank.reference.n < WEAK_BELOW:
        beyond += f"; weak reference ({bank.reference.n:,} labels)"
    return DetectorRef(bank.name, {"log_threshold": round(threshold, 6)}), beyond

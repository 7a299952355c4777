"""The error before the bank: an error rate, or the size of a regression's residuals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

from detectors.bank import MIN_REFERENCE, Bank, Rate, Rates, Signal, Turn, signal_of
from detectors.episodes import Episodes, Moment
from detectors.plan import ERROR, Plan
from detectors.reference import Bins, ErrorReference
from detectors.ring import History

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

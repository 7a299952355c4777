"""What cohorts say: coverage, bounds, provisional or not, and errors at equal label age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detectors.measures.cohorts import AGES, BANDS, Aged, Cohort, Cohorts
from detectors.measures.estimate import Estimate, Interval, share

COVERED: Final = 0.9
"""Share of the final coverage at which a cohort stops being provisional."""
_SHOWN: Final = 30  # predictions a cell needs for its coverage to be quoted

_NO_LABELS: Final = "no labels yet"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which predictions have labels: a metric over an uneven part of them is biased.

    Attributes:
        least, most: coverage of the worst and best cell with at least 30 predictions.
        reweighted: error rate with each cell weighing as it does among all predictions, over the
            cells that have labels; repairs what the score explains, not what the label itself does.
        unseen: share of predictions in cells without any label.
    """

    least: float | None
    most: float | None
    reweighted: float | None
    unseen: float


@dataclass(frozen=True, slots=True)
class CohortReport:
    """How one cohort stands.

    Attributes:
        start, end: prediction times it spans, ms, end exclusive.
        predictions, labels: counts.
        coverage: labels / predictions.
        error: error rate of the labelled ones.
        bounds: least and greatest error rate that all predictions can have.
        provisional: coverage is below 90 % of what matured cohorts reached (of 1, while there is
            none).
        selection: how even the labels cover the cells.
    """

    start: int
    end: int
    predictions: int
    labels: int
    coverage: float
    error: Estimate
    bounds: Interval
    provisional: bool
    selection: Selection


@dataclass(frozen=True, slots=True)
class AgeComparison:
    """Open cohorts that have reached an age against matured ones at the same age.

    `z`: difference of the error rates in standard errors, None where one side has no spread or no
    labels.
    """

    band: str
    error: Estimate
    reference: Estimate
    coverage: Estimate
    reference_coverage: Estimate
    z: float | None


def report(cohorts: Cohorts) -> list[CohortReport]:
    """Every open cohort, the oldest first."""
    final = cohorts.final_coverage
    needed = COVERED * (1.0 if final is None else final)
    return [_of(cohort, cohorts.size_ms, needed) for _, cohort in sorted(cohorts.open.items())]


def _of(cohort: Cohort, size_ms: int, needed: float) -> CohortReport:
    aged = cohort.by_age()
    n, labels, errors = aged.predictions, aged.labels[-1], aged.errors[-1]
    coverage = labels / n if n else 0.0
    return CohortReport(
        start=cohort.start,
        end=cohort.start + size_ms,
        predictions=n,
        labels=labels,
        coverage=coverage,
        error=share(errors, labels, _NO_LABELS),
        bounds=(errors / n, (errors + max(n - labels, 0)) / n) if n else (0.0, 1.0),
        provisional=coverage < needed,
        selection=_selection(cohort),
    )


def compare_ages(cohorts: Cohorts, clock: int) -> list[AgeComparison]:
    """Per band of age: the open cohorts that are past it at `clock`, against the matured ones."""
    compared = []
    for band, limit in enumerate(AGES):
        latest = clock - cohorts.size_ms - limit
        past = [each.by_age() for start, each in cohorts.open.items() if start <= latest]
        compared.append(_compare(band, past, cohorts.matured))
    return compared


def _selection(cohort: Cohort) -> Selection:
    n, labels = cohort.predictions, cohort.labels.sum(axis=1)
    errors = cohort.errors.sum(axis=1)
    total = max(int(n.sum()), 1)
    shown, held = n >= _SHOWN, (labels > 0) & (n > 0)
    coverage = (labels[shown] / n[shown]).tolist()
    covered = int(n[held].sum())
    reweighted = None
    if covered:
        reweighted = float((n[held] * (errors[held] / labels[held])).sum()) / covered
    return Selection(
        min(coverage, default=None),
        max(coverage, default=None),
        reweighted,
        int(n[~held].sum()) / total,
    )


def _compare(band: int, now: Sequence[Aged], then: Sequence[Aged]) -> AgeComparison:
    sides = []
    for cohorts in (now, then):
        predictions = sum(aged.predictions for aged in cohorts)
        labels = sum(aged.labels[band] for aged in cohorts)
        errors = sum(aged.errors[band] for aged in cohorts)
        rate = share(errors, labels, _NO_LABELS)
        sides.append((rate, share(labels, predictions, "no cohort of this age")))
    (error, coverage), (reference, before) = sides
    z = None
    if error.value is not None and reference.value is not None:
        variance = (error.standard_error or 0.0) ** 2 + (reference.standard_error or 0.0) ** 2
        z = (error.value - reference.value) / variance**0.5 if variance else None
    return AgeComparison(BANDS[band], error, reference, coverage, before, z)

"""Builds a reference profile from rows: of a warm-up, or of a file of predictions and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.classes import (
    NONE,
    ClassTable,
    Decision,
    aliases_of,
    decide,
    local_classes,
)
from detectors.frame import Column, Frame, concat
from detectors.labels.label_bank import profiles_of, rows_of
from detectors.measures.cells import CellGrid
from detectors.reference.profile import (
    BinnedProfile,
    ErrorReference,
    FeatureProfile,
    NumericProfile,
    ReferenceProfile,
    UnsupportedProfile,
)
from detectors.reference.profiling import categorical, error_reference, numeric
from detectors.registry import METRICS, AnyMetric, every_metric
from detectors.seasons import hourly_profiles
from detectors.served import attribution_profiles, latency_profile
from detectors.signals import PREFIXES, Roster, score
from detectors.spec import MonitorSpec
from detectors.texts import text_profiles
from detectors.windows.expectation import Expectation, profiled
from detectors.windows.measured import measure
from detectors.windows.scoring import Outcomes, of_classes, of_numbers
from detectors.windows.summary import numbers
from detectors.windows.tallies import TOTAL_CAP, empty_tally
from driftline.rules import rfc3339
from driftline.subject import Subject

Mask: TypeAlias = NDArray[np.bool_]

_FLAGS: Final = ["false", "true"]


def build(
    subject: Subject,
    frames: Sequence[Frame],
    spec: MonitorSpec,
    *,
    origin: Literal["warmup", "build"] = "build",
    catalog: Mapping[str, AnyMetric] = METRICS,
) -> ReferenceProfile:
    """The sealed profile of a subject's rows.

    Args:
        subject: whose rows these are.
        frames: prediction frames, at least one row; outcome frames give the error reference.
        spec: what the user said about the model; its task, classes and features are followed.
        origin: what the rows are.
        catalog: metrics by name, the user's own included; all of them are measured on outcomes.

    Raises: ValueError where no frame has a prediction row.
    """
    rows = [frame for frame in frames if frame.kind == "prediction" and frame.n]
    if not rows:
        raise ValueError(f"no predictions of {subject}: a reference needs at least one")
    predictions = concat(rows)
    decision = decide(predictions, spec)
    roster = Roster(spec.features)
    roster.meet(predictions)
    labelled = [frame for frame in frames if frame.kind == "outcome" and frame.n]
    outcomes = concat(labelled) if labelled else None
    error = None if outcomes is None else _error(_scored(outcomes, decision, spec))
    profile = profile_of(
        subject, predictions, decision, roster.names, spec=spec, origin=origin, error=error
    )
    if outcomes is not None:
        measured = _metrics(outcomes, decision, spec, catalog)
        profile = msgspec.structs.replace(profile, metrics=measured).sealed()
        profile = _with_labels(profile, outcomes, decision, spec)
    expectation = Expectation.of(profile)
    if outcomes is None or expectation is None:
        return profile
    grid = expectation.grid
    expectation.learn(_scored(outcomes, decision, spec, grid), outcomes.n, at_once=True)
    if expectation.calibration is None:
        return profile
    calibration = profiled(expectation.calibration)
    return msgspec.structs.replace(profile, calibration=calibration).sealed()


def profile_of(
    subject: Subject,
    predictions: Frame,
    decision: Decision,
    features: Sequence[str],
    *,
    spec: MonitorSpec,
    origin: Literal["warmup", "build"],
    error: ErrorReference | None = None,
) -> ReferenceProfile:
    """The sealed profile of prediction rows whose task and features are settled."""
    ts = predictions.ints("ts")
    ordered = predictions.take(np.argsort(ts, kind="stable"))
    profiles = {name: _feature(name, ordered) for name in sorted(features)}
    attributions, beyond = attribution_profiles(ordered)
    profile = ReferenceProfile(
        model=subject.model,
        version=subject.version,
        origin=origin,
        n=predictions.n,
        start=rfc3339(int(ts.min())),
        end=rfc3339(int(ts.max())),
        task=decision.task,
        positive=decision.positive,
        classes=decision.classes,
        features=profiles,
        prediction=_prediction(ordered, decision, spec),
        score=_score(ordered, decision, spec),
        error=error,
        latency=latency_profile(ordered),
        attributions=attributions,
        attributions_beyond=beyond,
        texts=text_profiles(ordered, profiles),
    )
    hourly = hourly_profiles(profile, ordered, decision, aliases_of(spec.classes))
    return msgspec.structs.replace(profile, hourly=hourly).sealed()


def _feature(name: str, rows: Frame) -> FeatureProfile:
    """The profile of a feature as the type that most of its values have."""
    typed = {p: c for p in PREFIXES if (c := rows.columns.get(p + name)) is not None}
    counts = {prefix: int(np.count_nonzero(column.mask)) for prefix, column in typed.items()}
    main = max(counts, key=lambda prefix: (counts[prefix], -PREFIXES.index(prefix)))
    column, valid = typed[main], typed[main].mask
    missing = rows.n - sum(counts.values())
    if main == "x:":
        return numeric(column.data[valid], missing)
    if main == "c:":
        return categorical(column.values or [], column.data[valid], "text", missing)
    if main == "b:":
        return categorical(_FLAGS, column.data[valid].astype(np.int64), "boolean", missing)
    return UnsupportedProfile(n=counts[main], missing=missing)


def _prediction(rows: Frame, decision: Decision, spec: MonitorSpec) -> BinnedProfile | None:
    if decision.task == "regression":
        column = rows.columns.get("prediction_value", Column(np.zeros(0), np.zeros(0, bool)))
        values = column.data[column.mask]
        return numeric(values, rows.n - len(values)) if len(values) else None
    codes, texts = local_classes(rows, "prediction", aliases_of(spec.classes))
    known = codes[codes != NONE]
    return categorical(texts, known, "text", rows.n - len(known)) if len(known) else None


def _score(rows: Frame, decision: Decision, spec: MonitorSpec) -> NumericProfile | None:
    scores: Floats = score(rows, decision.positive, aliases_of(spec.classes))
    known = scores[~np.isnan(scores)]
    return numeric(known, rows.n - len(known)) if len(known) else None


def _scored(
    outcomes: Frame, decision: Decision, spec: MonitorSpec, grid: CellGrid | None = None
) -> Outcomes:
    return _scored_in(_table(decision, spec), outcomes, decision, grid)


def _table(decision: Decision, spec: MonitorSpec) -> ClassTable:
    table = ClassTable(aliases_of(spec.classes))
    table.know(list(decision.classes))
    return table


def _scored_in(
    table: ClassTable, outcomes: Frame, decision: Decision, grid: CellGrid | None
) -> Outcomes:
    on_time: Mask = np.zeros(outcomes.n, bool)
    if decision.task == "regression":
        return of_numbers(outcomes, 0, on_time)
    return of_classes(outcomes, table, _scores_of(decision), 0, on_time, grid=grid)


def _scores_of(decision: Decision) -> str | None:
    """The class that scores are probabilities of."""
    return decision.positive if decision.task == "binary" else None


def _metrics(
    outcomes: Frame, decision: Decision, spec: MonitorSpec, catalog: Mapping[str, AnyMetric]
) -> dict[str, float]:
    """Every metric of the task that has a value, of all outcomes with their last label."""
    table = _table(decision, spec)
    scored = _scored_in(table, outcomes, decision, None)
    tally = empty_tally(scored.entries, TOTAL_CAP)
    tally.add(scored.entries)
    metrics = every_metric(spec, decision.task, catalog)
    return numbers(measure(tally, decision, table, metrics, _scores_of(decision)))


def _with_labels(
    profile: ReferenceProfile, outcomes: Frame, decision: Decision, spec: MonitorSpec
) -> ReferenceProfile:
    """The profile with those of labels, in the order of their predictions."""
    ordered = outcomes.take(np.argsort(outcomes.ints("ts"), kind="stable"))
    rows, _ = rows_of(ordered, _scored(ordered, decision, spec), aliases_of(spec.classes))
    if not len(rows):
        return profile
    return msgspec.structs.replace(profile, **profiles_of(rows)).sealed()


def _error(scored: Outcomes) -> ErrorReference | None:
    usable = scored.first & ~np.isnan(scored.error)
    if not usable.any():
        return None
    residuals = None
    if scored.entries.deviations is not None:
        residuals = scored.a[usable].astype(np.float64)
    return error_reference(scored.error[usable], residuals)

"""The bank alone on published streams: profiles from the reference file, then every event."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from detectors.bank import (
    Bank,
    Rate,
    Rates,
    Signal,
    Turn,
    log_threshold,
    signal_of,
    ticks_per_day,
    weights,
)
from detectors.bank.budget import TICK
from detectors.frame import text_column
from detectors.reference import profiling
from detectors.reference.profile import MISSING, BinnedProfile, Bins, NumericProfile
from detectors.reference.serial import phi

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FRAME = 1_000


def rows(folder: str, kind: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / folder / f"{kind}.jsonl.gz") as file:
        return [orjson.loads(line) for line in file]


def milliseconds(row: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(row["ts"]).timestamp() * 1000)


@dataclass(frozen=True)
class Watched:
    """Signals of one file, ready for a bank: the codes of every event, and the traffic."""

    signals: list[Signal]
    profiles: dict[str, BinnedProfile]
    codes: np.ndarray
    daily_ticks: float


def watched(folder: str) -> Watched:
    reference, events = rows(folder, "reference"), rows(folder, "predictions")
    profiles: dict[str, BinnedProfile] = {}
    columns = []
    for name in sorted(reference[0]["features"]):
        profiles[name] = profile_of([row["features"].get(name) for row in reference])
        columns.append(codes_of(profiles[name], [row["features"].get(name) for row in events]))
    if "scores" in reference[0]:
        profiles["score"] = profile_of([max(row["scores"].values()) for row in reference])
        scores = [max(row["scores"].values()) for row in events]
        columns.append(codes_of(profiles["score"], scores))
    found = [signal_of(name, profile, at) for at, (name, profile) in enumerate(profiles.items())]
    span = milliseconds(reference[-1]) - milliseconds(reference[0])
    return Watched(
        signals=[signal for signal in found if signal is not None],
        profiles=profiles,
        codes=np.stack(columns),
        daily_ticks=ticks_per_day(len(reference), span),
    )


def profile_of(values: list[Any]) -> BinnedProfile:
    present = [value for value in values if value is not None]
    missing = len(values) - len(present)
    if isinstance(present[0], (str, bool)):
        kind = "boolean" if isinstance(present[0], bool) else "text"
        column = text_column([as_text(value) for value in present])
        return profiling.categorical(column.values or [], column.data, kind, missing)
    return profiling.numeric(np.array(present, dtype=np.float64), missing)


def codes_of(profile: BinnedProfile, values: list[Any]) -> np.ndarray:
    bins = Bins(profile)
    codes = np.full(len(values), MISSING, np.uint8)
    present = np.array([value is not None for value in values])
    some = [value for value in values if value is not None]
    if isinstance(profile, NumericProfile):
        codes[present] = bins.of_numbers(np.array(some, dtype=np.float64))
    else:
        codes[present] = bins.of_texts([as_text(v) for v in some], np.arange(len(some)))
    return codes


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def feature_turns(file: Watched, *, frame: int = FRAME) -> list[Turn]:
    names = [signal.name for signal in file.signals]
    features = [name for name in names if name != "score"]
    share = weights({"performance": ["error"], "scores": ["score"], "features": features})
    bank = Bank(
        file.signals, {name: log_threshold(file.daily_ticks, share[name]) for name in names}
    )
    return [turn for turns in _stepped(bank, file.codes, frame) for turn in turns]


def _stepped(bank: Bank, codes: np.ndarray, frame: int) -> Iterator[list[Turn]]:
    for start in range(0, codes.shape[1], frame):
        stop = min(start + frame, codes.shape[1])
        yield bank.step(codes[:, max(start - bank.held, 0) : stop], stop - start)


@dataclass(frozen=True)
class Errors:
    """0/1 errors in the order their labels came, and which event each belongs to."""

    bits: np.ndarray
    events: np.ndarray
    rate: Rate
    daily_ticks: float


def errors(folder: str) -> Errors:
    reference = rows(folder, "reference")
    before = np.array([row["prediction"] != row["label"] for row in reference])
    outputs = {row["prediction_id"]: row["prediction"] for row in rows(folder, "predictions")}
    number = {name: at for at, name in enumerate(outputs)}
    labels = sorted(rows(folder, "labels"), key=milliseconds)
    factor, _ = phi(before.astype(np.float64)[:, None])
    span = milliseconds(reference[-1]) - milliseconds(reference[0])
    return Errors(
        bits=np.array([outputs[row["prediction_id"]] != row["label"] for row in labels]),
        events=np.array([number[row["prediction_id"]] for row in labels]),
        rate=Rate("error", int(before.sum()), len(before), phi=factor),
        daily_ticks=ticks_per_day(len(reference), span, TICK),
    )


def error_turns(file: Errors, *, frame: int = FRAME) -> list[Turn]:
    share = weights({"performance": ["error"], "scores": ["score"], "features": ["f"]})["error"]
    bank = Rates([file.rate], {"error": log_threshold(file.daily_ticks, share)})
    return [
        turn
        for start in range(0, len(file.bits), frame)
        for turn in bank.step(file.bits[None, start : start + frame])
    ]

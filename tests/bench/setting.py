"""What our worker is told about the models: one monitor file and one reference for each.

The reference is learned beforehand from events of the same kind, so that every detector runs from
the first event on, and no part of a run is the cheaper warm-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import orjson

from detectors.reference.profile import ReferenceProfile
from streams.monitors.load import Monitors, load
from streams.offline.files import EventFile
from streams.offline.reference_build import build_profile
from tests.bench.load import Shape, events

REFERENCE_ROWS = 5_000
FIRST = 1_000_000_000
"""Number of the first event that the reference is learned from; no run comes so far."""


def write(folder: Path, shape: Shape, *, extra: str = "", models: Iterable[str] = ()) -> Path:
    """The folder with a monitor file for each model, and `models` besides; returns it.

    Args:
        extra: further lines of every monitor file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    profile = learned(folder, shape)
    for name in (*shape.names, *models):
        own = msgspec.structs.replace(profile, model=name).sealed()
        (folder / f"{name}.profile.json").write_bytes(own.to_json())
        (folder / f"{name}.yaml").write_text(
            f"model: {name}\ntask: binary\npositive: 'yes'\nreference: {name}.profile.json\n{extra}"
        )
    return folder


def learned(folder: Path, shape: Shape) -> ReferenceProfile:
    """The reference of the first model."""
    path = folder / "learned.jsonl"
    alone = replace(shape, models=1)
    with path.open("wb") as out:
        for event in events(alone, REFERENCE_ROWS, FIRST):
            out.write(orjson.dumps({**event.prediction, "label": event.label}) + b"\n")
    profile, _ = build_profile([EventFile(path)], Monitors())
    path.unlink()
    return profile


def monitors(folder: Path) -> Monitors:
    """The folder as the worker reads it."""
    return load(folder)

"""What the checkpoints of a deployment say, without any worker: sizes, ages, lags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.kafka.records import ends, records
from streams.state.manifest import Manifest, decode
from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class PartitionState:
    """The newest checkpoint of one partition of a stage.

    Attributes:
        stage: `join` or `detect`.
        partition: of its input topic.
        position: offset it would start again from.
        lag: records of its input behind that; None: the broker did not say.
        generation: checkpoints written so far.
        checkpoint_bytes: of its chunks; what lies on workers' disks is not in there.
        age_s: seconds since it was written.
        pending: predictions and labels that join remembers; None for detect.
        slices: databases on disk; 0: the pending entries are in the checkpoint.
        subjects: monitors of detect; None for join.
        held_bytes: rows that wait for the arrival clock.
        config: hash of the configuration in force.
        local_bytes: of its state folder on this machine; None: there is none.
    """

    stage: str
    partition: int
    position: int
    lag: int | None
    generation: int
    checkpoint_bytes: int
    age_s: float
    pending: int | None
    slices: int | None
    subjects: int | None
    held_bytes: int
    config: str
    local_bytes: int | None


def report(
    bootstrap: str, topics: Topics, folder: Path | None, now_ms: int
) -> Iterator[PartitionState]:
    """The partitions that have a checkpoint, join's first.

    Args:
        bootstrap: of the broker.
        topics: of the deployment.
        folder: its state folder on this machine, if there is one.
        now_ms: the time that ages count to.

    Raises:
        BrokerUnreachable: no broker answers.
        DriftlineError: the topics are not there, or a manifest is of a newer Driftline.
    """
    stages = (
        ("join", topics.join_manifests, topics.rows),
        ("detect", topics.detect_manifests, topics.observations),
    )
    for stage, manifests, source in stages:
        newest: dict[int, tuple[Manifest, int]] = {}
        for record in records(bootstrap, manifests):
            where = f"{record.topic}/{record.partition}"
            newest[record.partition] = decode(record.value or b"", where), record.timestamp_ms
        if not newest:
            continue
        reached = ends(bootstrap, source, {p: m.position for p, (m, _) in newest.items()})
        for partition, (manifest, written_ms) in sorted(newest.items()):
            local = None if folder is None else _bytes_in(folder / stage / str(partition))
            end = reached.get(partition)
            lag = None if end is None else max(0, end - manifest.position)
            age_s = max(0, now_ms - written_ms) / 1_000
            yield _state(stage, partition, manifest, lag=lag, age_s=age_s, local_bytes=local)


def _state(
    stage: str,
    partition: int,
    manifest: Manifest,
    *,
    lag: int | None,
    age_s: float,
    local_bytes: int | None,
) -> PartitionState:
    facts = manifest.facts
    return PartitionState(
        stage=stage,
        partition=partition,
        position=manifest.position,
        lag=lag,
        generation=manifest.generation,
        checkpoint_bytes=manifest.size,
        age_s=age_s,
        pending=facts.get("pending"),
        slices=facts.get("slices"),
        subjects=facts.get("subjects"),
        held_bytes=facts.get("held_bytes", 0),
        config=manifest.config_hash,
        local_bytes=local_bytes,
    )


def _bytes_in(folder: Path) -> int | None:
    if not folder.is_dir():
        return None
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # a running worker drops and merges files
            continue
    return total

"""A sweep as a picture: delay against false alarms, one line per known change."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from driftline.errors import UsageError
from driftline.rules import rfc3339
from streams.offline.sweep import Trial


def check_plot(changed: Sequence[int]) -> None:
    """Says early, before minutes of replays, that there can be no plot.

    Raises:
        UsageError: Matplotlib is not installed, or there is no change to be late for.
    """
    if not changed:
        raise UsageError("--plot: a delay needs to know from when; give --change-at TIME")
    if find_spec("matplotlib") is None:
        raise UsageError("--plot needs Matplotlib; pip install 'driftline[plot]'")


def plot(trials: Sequence[Trial], changed: Sequence[int], path: Path) -> None:
    """Writes a PNG; a setting that missed a change has no point on that change's line.

    Raises:
        UsageError: as of `check_plot`, or the file cannot be written.
    """
    check_plot(changed)
    from matplotlib.figure import Figure  # noqa: PLC0415  an optional dependency
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for number, at in enumerate(changed):
        found = [(t.before, c.rows, t) for t in trials if (c := t.caught[number]) is not None]
        found.sort(key=lambda point: point[:2])
        label = f"{rfc3339(at)[:16].replace('T', ' ')}, caught by {len(found)} of {len(trials)}"
        axes.plot([x for x, _, _ in found], [y for _, y, _ in found], "o--", label=label)
        for (x, y), names in _named(found).items():
            axes.annotate(names, (x, y), textcoords="offset points", xytext=(6, 5), fontsize=8)
    axes.set_xlabel("false alarms before the first change")
    axes.set_ylabel("delay, in predictions of the model")
    axes.set_title(f"swept: {', '.join(trials[0].setting)}" if trials else "")
    axes.set_xlim(left=-0.3, right=max((t.before for t in trials), default=0) * 1.15 + 1)
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.1)  # room for the names
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(title="change at (UTC)", fontsize=8)
    try:
        figure.savefig(path, format="png", dpi=120, metadata={"Software": None})
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _named(found: Sequence[tuple[int, int, Trial]]) -> dict[tuple[int, int], str]:
    """What stands beside each point: the values of all settings that lie there."""
    names: dict[tuple[int, int], list[str]] = {}
    for x, y, trial in found:
        values = [value.removesuffix(" per week") for value in trial.setting.values()]
        names.setdefault((x, y), []).append(" ".join(values))
    return {place: ", ".join(each) for place, each in names.items()}

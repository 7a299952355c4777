"""The whole benchmark: every engine in turn, on one broker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson
import psutil
from confluent_kafka import KafkaException

from streams.brokers import Broker
from tests.bench import latency, load, measure, report, setting
from tests.bench.engines import BENCH_PYTHON, ROOT, App, EngineError, Workers
from tests.bench.feed import Feed
from tests.bench.load import Record, Shape
from tests.bench.measure import Run
from tests.bench.progress import Steps
from tests.bench.report import Results

SETS = ("plain", "limit", "single", "columns", "quix", "faust", "latency", "partitions", "features",
        "two")  # fmt: skip
QUICK = ("plain", "limit", "single", "columns", "quix", "faust", "latency")
REPEATED = ("plain", "limit", "single", "columns", "quix", "faust")
"""Run in turn, so that what changes on the machine meanwhile changes all of them."""
IN_MEMORY = ("plain", "limit")
PARTITIONS, FEATURES = (1, 2, 4, 8), (10, 50, 200)
NO_QUIX = "make bench installs it in .venv-bench; that failed or was not tried"


@dataclass(frozen=True)
class Plan:
    """How much is run. `slow`: predictions for Faust; `swept`: for each size of a sweep."""

    sets: Sequence[str] = SETS
    predictions: int = 170_000
    slow: int = 50_000
    swept: int = 40_000
    repeats: int = 3
    warm: int = 40_000
    """Events before those that count: enough that buffers and heap have their sizes."""
    warm_short: int = 2_000
    """The same of the shorter runs: Faust's, and the sweeps."""
    cap_cpu_s: float = 10.0
    changes_s: float = 8.0

    @classmethod
    def quick(cls, sets: Sequence[str] = QUICK) -> Plan:
        """Under a minute: one run of each, and no sweeps."""
        return cls(
            sets,
            predictions=24_000,
            slow=8_000,
            repeats=1,
            warm=8_000,
            cap_cpu_s=4.0,
            changes_s=3.0,
        )

    @property
    def runs(self) -> int:
        """How many there will be."""
        once = {"latency": 1, "partitions": len(PARTITIONS), "features": len(FEATURES)}
        repeated = {"plain": self.repeats, "limit": 2 * self.repeats, "two": 2 * self.repeats}
        each = (once.get(name) or repeated.get(name, self.repeats) for name in self.sets)
        return self.cold + sum(each)

    @property
    def cold(self) -> bool:
        """Whether the broker has a run of its own before those that count."""
        return self.repeats > 1 and not {"single", "columns"}.isdisjoint(self.sets)


class Suite:
    """One benchmark. `broker` None: only what runs in memory."""

    def __init__(self, plan: Plan, broker: Broker | None) -> None:
        self._plan = plan
        self._broker = broker
        self._folders = 0
        self._made: dict[tuple[Callable[[Shape, int], list[Record]], int], list[Record]] = {}
        self.results = Results(setting=_machine(broker))

    def run(self) -> Results:
        """Everything in the plan; an engine that fails is left out, with the reason."""
        parts = {
            "cold": self._cold, "plain": self._plain, "limit": self._limit, "single": self._single,
            "columns": self._columns, "quix": self._quix, "faust": self._faust,
            "latency": self._latency, "partitions": self._partitions,
            "features": self._features, "two": self._two,
        }  # fmt: skip
        with (
            tempfile.TemporaryDirectory(prefix="driftline-bench-") as name,
            Steps(self._plan.runs) as self._steps,
        ):
            self._folder = Path(name)
            self._monitors = setting.write(self._folder / "monitors", Shape())
            for part in self._order():
                if part in self.results.left_out:
                    continue
                try:
                    parts[part]()
                except (EngineError, psutil.Error, KafkaException, OSError) as error:
                    self.results.left_out[part] = str(error)
                    self._steps.done(part, f"failed: {error}")
        self.results.setting["load_average"] = _load()
        return self.results

    def _order(self) -> list[str]:
        """The parts one after the other, those that are repeated as often as they are."""
        repeated = [part for part in self._plan.sets if part in REPEATED]
        cold = ["cold"] * self._plan.cold
        return (
            cold + repeated * self._plan.repeats + [p for p in self._plan.sets if p not in REPEATED]
        )

    # -- in memory -----------------------------------------------------------------------------

    def _plain(self) -> None:
        self._keep("plain_loop", self._in_memory("plain", "single"))

    def _limit(self) -> None:
        self._keep("limit", self._in_memory("limit", "single"))
        self._keep("limit_columns", self._in_memory("limit", "columns"))

    def _in_memory(self, engine: str, form: str) -> Run:
        self._steps.begin(f"{engine}, {form}")
        command = [sys.executable, "-m", "tests.bench.memory", engine, form]
        options = ["--warm", str(self._plan.warm), "--cap", str(self._plan.cap_cpu_s)]
        options += ["--monitors", str(self._monitors)]
        answer = subprocess.run(
            [*command, str(self._plan.predictions), *options],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if answer.returncode != 0:
            raise EngineError(answer.stderr.strip()[-500:])
        found = orjson.loads(answer.stdout.splitlines()[-1])
        found.pop("joined")
        return Run(**found)

    # -- on the broker -------------------------------------------------------------------------

    def _cold(self) -> None:
        """A run that does not count: a broker's code is compiled while it runs, and all feel it."""
        self._told("cold broker", self._worker(self._records(load.columnar), self._plan.warm))

    def _single(self) -> None:
        self._keep("worker_single", self._worker(self._records(load.single), self._plan.warm))

    def _columns(self) -> None:
        self._keep("worker_columns", self._worker(self._records(load.columnar), self._plan.warm))

    def _quix(self) -> None:
        if not BENCH_PYTHON.exists():
            self.results.left_out["quix"] = NO_QUIX
            return
        records = self._records(load.single)
        self._keep("quix", self._app("quix_app", records, self._plan.warm, str(BENCH_PYTHON)))

    def _faust(self) -> None:
        records = self._records(load.single, self._plan.slow)
        warm = self._plan.warm_short
        self._keep("stock_faust", self._app("faust_app", records, warm, sys.executable))

    def _records(
        self, make: Callable[[Shape, int], list[Record]], predictions: int = 0
    ) -> list[Record]:
        """The same events for every run, made once."""
        made = make, predictions or self._plan.predictions
        if made not in self._made:
            self._made[made] = make(Shape(), made[1])
        return self._made[made]

    def _latency(self) -> None:
        rate = report.half_load(self.results)
        if rate is None:
            self.results.left_out["latency"] = "half load is known from the runs of `single` only"
            return
        self._steps.begin("latency")
        self.results.latency = found = latency.take(
            self._bootstrap,
            self._new_folder(),
            events_per_s=rate,
            changes_s=self._plan.changes_s,
        )
        p99 = report.percentile(found.milliseconds, 99)
        shown = "no alert came" if p99 is None else f"p99 {p99:,.0f} ms"
        self._steps.done("latency", f"{shown} at {found.events_per_s:,.0f} events/s")

    def _partitions(self) -> None:
        records = load.single(Shape(), self._plan.swept)
        for count in PARTITIONS:
            found = self._worker(records, self._plan.warm_short, partitions=count)
            self.results.partitions[count] = self._told(f"{count} partitions", found)

    def _features(self) -> None:
        for count in FEATURES:
            shape = Shape(count)
            monitors = setting.write(self._folder / f"monitors-{count}", shape)
            n = min(self._plan.swept, self._plan.swept * 50 // count)
            records = load.single(shape, n)
            found = self._worker(records, self._plan.warm_short, monitors=monitors)
            self.results.features[count] = self._told(f"{count} features", found)

    def _two(self) -> None:
        warm = self._plan.warm
        records = load.single(Shape(models=16), 2 * self._plan.swept + warm // 2)
        monitors = setting.write(self._folder / "monitors-16", Shape(models=16))
        for _ in range(self._plan.repeats):
            for workers, kept in ((1, self.results.one), (2, self.results.two)):
                found = self._worker(
                    records, warm, partitions=8, workers=workers, monitors=monitors
                )
                kept.append(self._told(f"{workers} of 8 partitions", found))
        self.results.shares = self._shares

    def _worker(
        self,
        records: Sequence[Record],
        warm: int,
        *,
        partitions: int = 4,
        workers: int = 1,
        monitors: Path | None = None,
    ) -> Run:
        self._steps.begin("worker")
        with Feed(self._bootstrap, partitions=partitions) as feed:
            folder = monitors or self._monitors
            engine = Workers(feed, self._new_folder(), folder, workers=workers)
            found = measure.run(engine, feed, records, warm=warm, cap_cpu_s=self._plan.cap_cpu_s)
            self._shares = engine.shares
        return found

    def _app(self, module: str, records: Sequence[Record], warm: int, python: str) -> Run:
        self._steps.begin(module)
        with Feed(self._bootstrap) as feed:
            engine = App(module, feed, self._new_folder(), python)
            cap = self._plan.cap_cpu_s
            return measure.run(engine, feed, records, warm=warm, cap_cpu_s=cap)

    @property
    def _bootstrap(self) -> str:
        if self._broker is None:
            raise EngineError("no broker")
        return self._broker.bootstrap

    def _new_folder(self) -> Path:
        self._folders += 1
        folder = self._folder / f"run-{self._folders}"
        folder.mkdir()
        return folder

    def _keep(self, name: str, found: Run) -> None:
        self.results.runs.setdefault(name, []).append(self._told(name, found))

    def _told(self, what: str, found: Run) -> Run:
        self._steps.done(what, found)
        return found


def needs_broker(sets: Sequence[str]) -> bool:
    """Whether any of these parts runs on a broker."""
    return not set(sets) <= set(IN_MEMORY)


def _machine(broker: Broker | None) -> dict[str, object]:
    named: Callable[[str], str] = version
    return {
        "broker": "no broker" if broker is None else broker.name,
        "cores": os.cpu_count(),
        "load_average_before": _load(),
        "date": datetime.now(UTC).date().isoformat(),
        "python": sys.version.split()[0],
        "versions": {
            name: named(name) for name in ("faust-streaming", "aiokafka", "river", "numpy")
        },
    }


def _load() -> str:
    """The machine's load averages: of 1, 5 and 15 minutes."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())

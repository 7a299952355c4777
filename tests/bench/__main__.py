"""`python -m tests.bench`, `make bench`: what an event costs, beside others doing the same job.

Table on stdout, the line of JSON last; progress on stderr; a plot and the JSON in `build/bench`.
Needs a broker: the one that KAFKA_BOOTSTRAP names, Apache Kafka from jars, or the embedded one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from streams.brokers import start_broker
from tests.bench import report
from tests.bench.plot import draw
from tests.bench.suite import QUICK, SETS, Plan, Suite, needs_broker


def main(arguments: Sequence[str] | None = None) -> int:
    """0; figures are no reason to fail."""
    given = _parser().parse_args(arguments)
    sets = tuple(given.only.split(",")) if given.only else QUICK if given.quick else SETS
    if unknown := set(sets) - set(SETS):
        sys.stderr.write(f"--only: {', '.join(sorted(unknown))}; there are {', '.join(SETS)}\n")
        return 2
    plan = Plan.quick(sets) if given.quick else Plan(sets)
    if given.predictions:
        plan = replace(
            plan,
            predictions=given.predictions,
            slow=min(plan.slow, given.predictions),
            swept=min(plan.swept, given.predictions),
            warm=min(plan.warm, given.predictions // 4),
            warm_short=min(plan.warm_short, given.predictions // 4),
        )
    if given.repeats:
        plan = replace(plan, repeats=given.repeats)
    broker = start_broker(given.broker) if needs_broker(sets) else None
    with broker or nullcontext():
        results = Suite(plan, broker).run()
    given.out.mkdir(parents=True, exist_ok=True)
    draw(results, given.out / "bench.png")
    line = report.last_line(results)
    (given.out / "bench.json").write_text(line + "\n")
    print(report.markdown(results) if given.markdown else report.text(results))
    print(f"plot: {given.out / 'bench.png'}")
    print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="what an event costs")
    parser.add_argument("--quick", action="store_true", help="one short run of each, no sweeps")
    parser.add_argument("--only", help=f"comma-separated: {','.join(SETS)}")
    parser.add_argument("--repeats", type=int, help="runs of each engine; the median counts")
    parser.add_argument("--predictions", type=int, help="predictions a run; as many labels follow")
    parser.add_argument("--markdown", action="store_true", help="the table for docs/performance.md")
    parser.add_argument(
        "--broker", default="auto", choices=("auto", "external", "apache", "embedded")
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="for plot and JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())

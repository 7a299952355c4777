"""`make chaos`: faults on workers and three Apache Kafka brokers; exit code 1 on one difference."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.chaos.campaign import Outcome, run, say
from tests.chaos.faults import FAULTS

SHOWN = 20


def main() -> int:
    """Runs one campaign per seed and says how many faults of which kind were survived."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=50, help="faults per campaign")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--logs", type=Path, help="folder in which the workers' logs are kept")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that brokers and workers end, too
    failed = False
    for seed in options.seeds:
        outcome = run(seed, options.faults, options.only, options.logs)
        tell(outcome)
        failed |= bool(outcome.problems)
    return int(failed)


def tell(outcome: Outcome) -> None:
    """The campaign's table, and the first differences if there are any."""
    for name, count in sorted(outcome.survived.items()):
        print(f"seed {outcome.seed}  {count:3d} x {name}", flush=True)
    total = sum(outcome.survived.values())
    lost = len(outcome.problems)
    print(
        f"seed {outcome.seed}: {total} faults of {len(outcome.survived)} kinds survived, "
        f"{outcome.ids} ids, {lost} differences, {outcome.ended} workers ended by themselves, "
        f"{outcome.seconds:.0f} s",
        flush=True,
    )
    for problem in outcome.problems[:SHOWN]:
        say(f"DIFFERENT {problem}")


if __name__ == "__main__":
    sys.exit(main())

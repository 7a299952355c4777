"""`make chaos`: faults on workers and three Apache Kafka brokers; exit code 1 on one difference."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from streams.brokers import start_broker
from tests.chaos import rollout, versions
from tests.chaos.campaign import Outcome, run, say
from tests.chaos.disks import why_not
from tests.chaos.faults import FAULTS, FILL_DISK

SHOWN = 20


def main() -> int:
    """Runs one campaign per seed and says how many faults of which kind were survived."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=50, help="faults per campaign")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--logs", type=Path, help="folder in which the workers' logs are kept")
    parser.add_argument(
        "--rollout", action="store_true", help="a rolling restart of two versions instead of faults"
    )
    parser.add_argument(
        "--former", metavar="COMMIT", help="the other version; default: the newest tag"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that brokers and workers end, too
    failed = False
    for outcome in _rollouts(options) if options.rollout else _campaigns(options):
        tell(outcome)
        failed |= bool(outcome.problems)
    return int(failed)


def _campaigns(options: argparse.Namespace) -> Iterator[Outcome]:
    kinds = list(options.only)
    if FILL_DISK in kinds and (why := why_not()):
        say(f"'{FILL_DISK}' is left out: {why}")
        kinds.remove(FILL_DISK)
    for seed in options.seeds:
        yield run(seed, options.faults, kinds, options.logs)


def _rollouts(options: argparse.Namespace) -> Iterator[Outcome]:
    """Nothing, and why, where the former version cannot be had."""
    try:
        commit = options.former or versions.default_commit()
        with start_broker("auto", say=say) as broker:
            for seed in options.seeds:
                for on_disk in (True, False):
                    yield rollout.run(seed, commit, broker, on_disk=on_disk, logs=options.logs)
    except versions.NoVersionError as error:
        say(f"rollout skipped: {error}")


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

"""`python -m streams.brokers`: fetch Apache Kafka now, so that tests need not; for the Makefile."""

from __future__ import annotations

import sys

from streams.brokers.api import BrokerUnavailableError
from streams.brokers.jars import find_jars


def main() -> int:
    """0 if Apache Kafka can be started here, else 4 and one line on stderr that says why not."""
    try:
        find_jars()
    except BrokerUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

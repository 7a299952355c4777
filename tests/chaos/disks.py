"""Small file systems in memory, to fill; for Linux and for who may mount."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SIZE_MB = 64
"""Enough for the campaign's state, with little to spare."""
_BLOCK = 1 << 20


class NoDiskError(RuntimeError):
    """A file system cannot be mounted here; the message says why."""


@dataclass
class Disks:
    """The small file systems of one campaign."""

    _mounted: list[Path] = field(default_factory=list)

    def small(self) -> Path:
        """The folder of a new, empty one. Raises: NoDiskError."""
        folder = Path(tempfile.mkdtemp(prefix="driftline-disk-"))
        try:
            _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder))
        except NoDiskError:
            folder.rmdir()
            raise
        self._mounted.append(folder)
        return folder

    def end(self) -> None:
        """Unmounts all of them."""
        while self._mounted:
            folder = self._mounted.pop()
            _run("umount", "--lazy", str(folder))
            folder.rmdir()


def why_not() -> str | None:
    """Why no small file system can be had here; None: it can."""
    disks = Disks()
    try:
        disks.small()
    except NoDiskError as error:
        return str(error)
    disks.end()
    return None


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """A file takes all that is left, until the end."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as out:
            _fill(out.fileno())
        assert shutil.disk_usage(disk).free == 0
        yield
    finally:
        filler.unlink()


def _fill(file: int) -> None:
    size = _BLOCK
    while size:
        try:
            os.write(file, bytes(size))
        except OSError:  # no space for so much
            size //= 2


def _run(*command: str) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise NoDiskError(f"there is no program {command[0]}")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDiskError(done.stderr.strip() or f"{command[0]}: exit code {done.returncode}")

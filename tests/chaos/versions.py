"""The program of a former version, as it was: the tree of an earlier commit of this repository."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.integration.live import ROOT

KNOWN = "f257bc4"
"""The last commit before the formats of the rows that join keeps were changed."""
_PROBE = "import detectors, driftline, streams.worker as w; "
_PROBE += "print(*(m.__file__ for m in (detectors, driftline, w)), sep='\\n')"


class NoVersionError(RuntimeError):
    """There is no former version here; the message says why."""


def default_commit() -> str:
    """The newest tag, else KNOWN, else the commit before. Raises: NoVersionError: no git here."""
    for command in (
        ("describe", "--tags", "--abbrev=0"),
        ("rev-parse", "--verify", "--quiet", f"{KNOWN}^{{commit}}"),
        ("rev-parse", "--verify", "--quiet", "HEAD~^{commit}"),
    ):
        try:
            return _git(*command).decode().strip()
        except NoVersionError:
            continue
    raise NoVersionError(f"{ROOT} has no git history")


def unpack(commit: str, folder: Path) -> str:
    """Writes the program of a commit to a new folder; returns the commit and its subject.

    Raises:
        NoVersionError: git or the commit is missing, or its program does not run here.
    """
    said = _git("log", "-1", "--format=%h %s", commit).decode().strip()
    archive = _git("archive", "--format=tar", commit, "driftline", "detectors", "streams")
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        raise NoVersionError(f"{said} does not run here: {probe.stderr.strip()[-300:]}")
    if strange := [f for f in probe.stdout.split() if not Path(f).is_relative_to(folder)]:
        raise NoVersionError(f"{said} would run {strange[0]}")
    return said


def _git(*arguments: str) -> bytes:
    git = shutil.which("git")
    if git is None:
        raise NoVersionError("there is no git here")
    done = subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise NoVersionError(done.stderr.decode().strip() or f"no {arguments[-1]}")
    return done.stdout

"""What a rollout of two versions needs: the other program, and the word of whoever cannot go on."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from streams.topics import Topics
from tests.chaos.faults import FaultError
from tests.chaos.rollout import Rolling
from tests.chaos.versions import NoVersionError, default_commit, unpack
from tests.integration.live import Workers


def test_the_program_of_a_commit_is_unpacked_and_is_what_would_run(tmp_path: Path):
    try:
        default_commit()
    except NoVersionError as error:
        pytest.skip(str(error))
    said = unpack("HEAD", tmp_path / "former")
    assert " " in said
    assert (tmp_path / "former" / "streams" / "worker.py").exists()
    assert not (tmp_path / "former" / "tests").exists()


def test_a_commit_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(NoVersionError):
        unpack("0" * 40, tmp_path / "former")


def ended(folder: Path, code: int, said: str) -> tuple[Rolling, subprocess.Popen[bytes]]:
    """A worker of the former version that has ended by itself."""
    process = subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({code})"])
    process.wait(30)
    log = folder / "worker-0.log"
    log.write_text(f'{{"level":"info","event":"version 0.1"}}\n{said}\n{{"level":"info"}}\n')
    workers = Workers("nowhere:1", Topics(), folder, logged={process.pid: log})
    on = Rolling(None, workers, random.Random(1), folder, former=folder, old={process.pid})
    return on, process


def test_a_former_worker_that_names_the_version_it_cannot_read_is_taken_at_its_word(tmp_path: Path):
    message = '{"level":"critical","event":"checkpoint version 3, this program reads 2."}'
    on, process = ended(tmp_path, 3, message)
    assert on.last_words(process) == message


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, '{"level":"critical","event":"KeyError: subject"}'),
        (0, '{"level":"critical","event":"checkpoint version 3, this program reads 2."}'),
        (3, ""),
    ],
)
def test_a_former_worker_that_ends_of_anything_else_is_a_fault(
    tmp_path: Path, code: int, said: str
):
    on, process = ended(tmp_path, code, said)
    with pytest.raises(FaultError):
        on.last_words(process)

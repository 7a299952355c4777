"""The chaos campaign's small file systems: full when they are to be, and gone at the end."""

from __future__ import annotations

import errno

import pytest

from tests.chaos.disks import Disks, filled, why_not


def test_a_filled_file_system_has_no_space_and_then_has_it_again():
    if why := why_not():
        pytest.skip(f"no file system can be mounted here: {why}")
    disks = Disks()
    folder = disks.small()
    try:
        with filled(folder), pytest.raises(OSError, match="No space left") as refused:
            (folder / "more").write_bytes(bytes(8192))
        assert refused.value.errno == errno.ENOSPC
        (folder / "more").write_bytes(bytes(8192))
    finally:
        disks.end()
    assert not folder.exists()

"""The audit trail: no byte of it can change without the place being found."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streams.audit.chain import GENESIS, Entry, Happened, canonical, decode, link
from streams.audit.entries import Wanted, select
from streams.audit.verify import verify
from streams.cli.app import app


def trail(values: list[bytes], log: str = "driftline.alerts/0") -> list[Entry]:
    """A chain over these source records, at offsets 0, 1, ..."""
    entries: list[Entry] = []
    head = GENESIS
    for offset, value in enumerate(values):
        entries.append(link(head, Happened(log, offset, 1_000 + offset, f"k{offset}", value)))
        head = entries[-1].hash
    return entries


def lines(entries: list[Entry]) -> list[tuple[str, bytes]]:
    return [(f"line {number}", entry.encode()) for number, entry in enumerate(entries, 1)]


def event(**fields: object) -> bytes:
    return orjson.dumps(fields)


EVENTS = [event(model="fraud", version=str(n % 2), fingerprint=f"f{n}", n=n) for n in range(6)]


def test_a_trail_as_it_was_written_has_no_fault_and_ends_in_its_last_hash() -> None:
    entries = trail(EVENTS)
    verdict, sound = verify(lines(entries))
    assert not verdict.faults
    assert sound == entries
    assert verdict.heads == {"driftline.alerts/0": entries[-1].hash}


@given(st.data())
def test_one_changed_byte_is_found_and_located(data: st.DataObject) -> None:
    written = [value for _, value in lines(trail(EVENTS))]
    at = data.draw(st.integers(0, len(written) - 1))
    byte = data.draw(st.integers(0, len(written[at]) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda value: value != written[at][byte]))
    changed = bytearray(written[at])
    changed[byte] = new
    written[at] = bytes(changed)
    verdict, _ = verify([(f"line {n}", value) for n, value in enumerate(written, 1)])
    assert verdict.faults[0].where == f"line {at + 1}"


@given(st.sets(st.integers(0, 4), min_size=1))
def test_removed_entries_are_found_where_the_next_one_stands(gone: set[int]) -> None:
    entries = trail(EVENTS)
    left = [line for n, line in enumerate(lines(entries)) if n not in gone]
    verdict, _ = verify(left)
    first = min(gone)
    after = next(n for n in range(first, 6) if n not in gone)
    assert verdict.faults[0].where == f"line {after + 1}"


def test_a_rewritten_entry_with_all_hashes_after_it_made_anew_differs_from_the_noted_head() -> None:
    noted = verify(lines(trail(EVENTS)))[0].heads
    forged = trail([*EVENTS[:3], event(model="fraud", version="1", n=99), *EVENTS[4:]])
    assert not verify(lines(forged))[0].faults
    verdict, _ = verify(lines(forged), noted)
    assert "noted head" in verdict.faults[0].problem


def test_a_cut_off_end_differs_from_the_noted_head() -> None:
    entries = trail(EVENTS)
    noted = verify(lines(entries))[0].heads
    assert verify(lines(entries[:-1]), noted)[0].faults
    longer = [*entries, link(entries[-1].hash, Happened("driftline.alerts/0", 6, 0, "", b"{}"))]
    assert not verify(lines(longer), noted)[0].faults


def test_entries_that_a_crashed_recorder_wrote_again_are_repeats_and_forks_are_faults() -> None:
    entries = trail(EVENTS)
    verdict, sound = verify(lines(entries[:4] + entries[2:]))
    assert not verdict.faults
    assert (verdict.repeats, len(sound)) == (2, 6)
    fork = link(entries[1].hash, Happened("driftline.alerts/0", 2, 0, "", b"{}"))
    assert "second time" in verify(lines([*entries, fork]))[0].faults[0].problem


def test_an_export_shows_one_version_and_its_neighbours_only_as_links_and_still_checks() -> None:
    commands = trail(
        [event(command="acknowledge", fingerprint="f1"), event(command="close", subject="other@1")],
        "driftline.commands/0",
    )
    chosen = select([*trail(EVENTS), *commands], Wanted("fraud", "1"))
    full = [entry for entry in chosen if entry.body is not None]
    assert [entry.body["offset"] for entry in full if entry.body] == [1, 3, 5, 0]
    assert not verify(lines(chosen))[0].faults
    assert b'"n":0' not in b"".join(value for _, value in lines(chosen))


def test_an_export_of_a_period_leaves_out_what_happened_before_and_after() -> None:
    chosen = select(trail(EVENTS), Wanted(start=1_002, end=1_004))
    assert [entry.offset for entry in chosen if entry.body is not None] == [2, 3]


@given(st.binary(max_size=200))
def test_whatever_bytes_a_record_holds_they_are_recorded(value: bytes) -> None:
    entry = link(GENESIS, Happened("driftline.commands/3", 7, 0, "", value))
    assert decode(entry.encode()) == entry


def test_the_command_checks_an_export_and_names_the_line_of_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "trail.jsonl"
    file.write_bytes(b"".join(value + b"\n" for _, value in lines(trail(EVENTS))))
    good = CliRunner().invoke(app, ["audit", "verify", str(file)])
    assert good.exit_code == 0
    assert "the trail is whole: 6 entries in 1 chains" in good.output
    file.write_bytes(file.read_bytes().replace(b'"n":3', b'"n":4'))
    bad = CliRunner().invoke(app, ["audit", "verify", str(file)])
    assert bad.exit_code == 1
    assert f"{file}:4" in bad.output


@pytest.mark.parametrize("value", [b"", b"[]", b'{"v":2}', canonical({"v": 1, "log": "x"})])
def test_what_is_no_entry_is_a_fault_not_a_crash(value: bytes) -> None:
    assert verify([("here", value)])[0].faults[0].where == "here"

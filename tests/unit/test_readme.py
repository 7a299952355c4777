"""What README says can be done: its commands exist, its examples run, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import driftline
from driftline import MemoryTransport
from streams.cli import app
from streams.monitors.load import inspect

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        ROOT / "README.md",
        ROOT / "streams/demo/data/README.md",
        *ROOT.glob("docs/**/*.md"),
    )
)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_first_two_commands_are_the_demo_and_the_tests():
    commands = [line.split("#")[0].strip() for line in blocks("sh")[0].splitlines()]
    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_serving_example_sends_a_prediction_and_its_label(monkeypatch):
    (program,) = blocks("python")
    transport = MemoryTransport()
    real = driftline.Client
    monkeypatch.setattr(driftline, "Client", lambda _: real(transport=transport))
    exec(program, {})
    kinds = {message.topic for message in transport.messages}
    assert kinds == {"driftline.predictions", "driftline.labels"}


def test_the_monitor_example_is_valid_and_all_of_it_is_in_force(tmp_path):
    (text,) = blocks("yaml")
    path = tmp_path / "fraud.yaml"
    path.write_text(text)
    report = inspect([path])
    assert not report.problems
    assert not report.notes


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"driftline ([a-z]+)\b", "".join(blocks("sh")))))
)
def test_every_command_exists(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document):
    text = (ROOT / document).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    folder = (ROOT / document).parent
    assert [link for link in links if not (folder / link).exists()] == []


def test_every_decision_is_listed_and_says_how_we_would_know_we_were_wrong():
    folder = ROOT / "docs/adr"
    listed = (folder / "README.md").read_text()
    decisions = sorted(folder.glob("0*.md"))
    assert [path.name[:4] for path in decisions][:8] == [f"{n:04}" for n in range(1, 9)]
    for path in decisions:
        text = path.read_text()
        assert path.name in listed
        for heading in ("Context", "Decision", "Consequences", "How we would know we were wrong"):
            assert f"## {heading}" in text, f"{path.name}: {heading}"

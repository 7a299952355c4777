"""The examples do what their docstrings say."""

import importlib.util
from pathlib import Path

import pytest

from driftline.alerts import Alert, DetectorRef, Statistic, alert_id

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_alert(day, revision, fingerprint="f"):
    started_at = f"2026-11-{day:02}T00:00:00.000Z"
    return Alert(
        id=alert_id(fingerprint, 1_793_500_000_000 + day, revision),
        fingerprint=fingerprint,
        revision=revision,
        status="firing",
        reason="opened",
        severity="warning",
        kind="concept_drift",
        model="fraud",
        version="1",
        signal="error",
        rule="drift",
        detector=DetectorRef(name="adwin"),
        statistic=Statistic(name="mean"),
        started_at=started_at,
        detected_at=started_at,
        summary="error rose",
    )


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_fits_on_a_page(path):
    assert len(path.read_text().splitlines()) <= 60


def test_the_consumer_takes_only_what_is_newer():
    is_news = load("alerts_consumer").is_news
    latest = {}
    order = [(2, 1), (2, 2), (2, 1), (2, 2), (1, 9), (3, 1), (2, 3)]
    taken = [is_news(latest, make_alert(day, revision)) for day, revision in order]
    assert taken == [True, True, False, False, False, True, False]
    assert is_news(latest, make_alert(1, 1, fingerprint="g"))
    assert (latest["f"].started_at[:10], latest["f"].revision) == ("2026-11-03", 1)

"""The destinations file: what it may say, and that it never holds or repeats a secret."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from streams.notify.api import SEVERITIES
from streams.notify.destinations import DestinationsError, load, read
from streams.notify.log import Log
from streams.notify.registry import NOTIFIERS
from streams.notify.rules import Grouping, Quiet, Retry, Storm
from streams.notify.settings import COMMON
from streams.notify.webhook import Webhook
from tests.receiver import OTHER_SECRET, SECRET

GOOD = """
destinations:
  - name: oncall
    kind: webhook
    url: ${ONCALL_URL}
    secret_file: secret
    severities: [critical, warning]
    timeout: 2s
    retry: {attempts: 4, for: 10m}
  - name: journal
    kind: log
"""
ENVIRON = {"ONCALL_URL": "https://example.org/hook?key=abc", "KEY": SECRET}


def entry(text: str) -> str:
    return "destinations:\n  - name: hook\n    kind: webhook\n" + "".join(
        f"    {line}\n" for line in text.splitlines()
    )


def problems(text: str) -> str:
    with pytest.raises(DestinationsError) as caught:
        read(text, "notify.yaml", ENVIRON)
    return str(caught.value)


def test_a_file_names_destinations_with_their_secrets_elsewhere(tmp_path):
    (tmp_path / "secret").write_text(f"{SECRET}\n{OTHER_SECRET}\n")
    path = tmp_path / "notify.yaml"
    path.write_text(GOOD)
    oncall, journal = load(path, ENVIRON)
    assert isinstance(oncall.notifier, Webhook)
    assert oncall.name == "oncall"
    assert oncall.severities == {"critical", "warning"}
    assert oncall.timeout_s == 2.0
    assert oncall.retry == Retry(attempts=4, give_up_s=600.0)
    assert isinstance(journal.notifier, Log)
    assert journal.severities == set(SEVERITIES)
    assert SECRET not in repr(oncall)
    assert "example.org" not in repr(oncall)


def test_without_a_file_alerts_are_logged():
    (only,) = load(None, {})
    assert isinstance(only.notifier, Log)


def test_without_a_file_the_environment_may_name_a_webhook(tmp_path):
    secret = tmp_path / "it's secret"
    secret.write_text(SECRET)
    environ = {
        "DRIFTLINE_WEBHOOK_URL": "https://example.org/x",
        "DRIFTLINE_WEBHOOK_SECRET_FILE": str(secret),
    }
    assert [d.name for d in load(None, environ)] == ["log", "webhook"]
    with pytest.raises(DestinationsError, match="signing secret"):
        load(None, {"DRIFTLINE_WEBHOOK_URL": "https://example.org/x"})


@pytest.mark.parametrize("key", ["secret", "token", "password", "signing_secret"])
def test_an_inline_secret_is_refused_without_being_repeated(key):
    said = problems(entry(f"url: ${{ONCALL_URL}}\n{key}: {SECRET}\nsecret_env: KEY"))
    assert said.startswith("notify.yaml:5:")
    assert "secret_file: PATH" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@example.org/",
        "https://example.org/hook?key=hunter2",
        "https://example.org/services/T00000000/hunter2hunter2hunter2hunter2",
    ],
)
def test_a_url_that_holds_a_secret_is_refused_inline_without_being_repeated(url):
    said = problems(entry(f"url: {url}\nsecret_env: KEY"))
    assert "url_file" in said
    assert "hunter2" not in said


def test_a_plain_url_may_stand_in_the_file():
    (hook,) = read(entry("url: http://localhost:9000/driftline\nsecret_env: KEY"), "x", ENVIRON)
    assert hook.name == "hook"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (entry("secret_env: KEY"), "say where to post"),
        (entry("url: ${ONCALL_URL}\nurl_file: x\nsecret_env: KEY"), "say where to post"),
        (entry("url: ${ONCALL_URL}"), "say where the signing secret is"),
        (entry("url: ${NOT_SET}\nsecret_env: KEY"), "NOT_SET is not set"),
        (entry("url: ftp://example.org\nsecret_env: KEY"), "http:// or https://"),
        (entry("url: ${ONCALL_URL}\nsecret_env: ONCALL_URL"), "must begin with whsec_"),
        (entry(f"url: ${{ONCALL_URL}}\nsecret_env: {SECRET}"), "name of an environment variable"),
        (entry("url_file: nowhere\nsecret_env: KEY"), "cannot read nowhere"),
        (
            entry("url: ${ONCALL_URL}\nsecret_env: KEY\nseverities: [urgent]"),
            "'urgent' is not known",
        ),
        (entry("url: ${ONCALL_URL}\nsecret_env: KEY\ntimeout: fast"), "is not a duration"),
        (
            entry("url: ${ONCALL_URL}\nsecret_env: KEY\nretries: 3"),
            "unknown key; did you mean `retry`?",
        ),
        ("destinations:\n  - name: a\n    kind: webhok\n", "did you mean `webhook`?"),
        ("destinations:\n  - name: a\n", "`kind` is missing"),
        ("destinations:\n  - kind: log\n", "`name` is missing"),
        ("destinations:\n  - {name: 'a b', kind: log}\n", "letters, digits"),
        (
            "destinations:\n  - {name: a, kind: log}\n  - {name: a, kind: log}\n",
            "stands here twice",
        ),
        ("destinations: log\n", "expected a list"),
        ("destinations: []\n", "names no destination"),
        ("", "names no destination"),
        ("destination: []\n", "did you mean `destinations`?"),
        ("destinations: [\n", "not valid YAML"),
    ],
)
def test_each_mistake_is_named_with_what_to_write(text, words):
    said = problems(text)
    assert words in said
    assert said.startswith("notify.yaml:")
    assert SECRET not in said


@pytest.mark.parametrize("secret", ["whsec_!!!", "whsec_YWJj", "sk_live_123", SECRET + " nonsense"])
def test_a_malformed_signing_secret_is_refused_at_the_start_without_being_repeated(secret):
    with pytest.raises(DestinationsError) as caught:
        read(entry("url: ${ONCALL_URL}\nsecret_env: BAD"), "x", {**ENVIRON, "BAD": secret})
    assert secret not in str(caught.value)


def test_every_problem_of_a_file_is_told_at_once():
    said = problems("destinations:\n  - {name: a, kind: nope}\n  - {kind: log}\n")
    assert len(said.splitlines()) == 2


def test_a_file_that_cannot_be_read_is_said_so(tmp_path):
    with pytest.raises(DestinationsError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml", {})


def test_every_kind_of_notifier_is_built_with_its_name():
    built = NOTIFIERS["log"].build("journal", *_nothing())
    assert built is not None
    assert built.name == "journal"


def _nothing():
    from streams.monitors.document import Document, Node

    return Document("x"), Node("", 1, 1), {}


# -- the kinds and the rules ----------------------------------------------------------------------

EVERY = """
destinations:
  - {name: journal, kind: log}
  - {name: hook, kind: webhook, url: "${ONCALL_URL}", secret_env: KEY}
  - name: team
    kind: email
    host: smtp.example.org
    from: driftline@example.org
    to: [a@example.org, b@example.org]
    username: driftline
    password_env: PASS
    match: {kind: [performance, concept_drift], model: "fraud*", segment: {region: eu}}
    group: {by: [model], wait: 10s, interval: 2m}
    repeat: 1h
    quiet: {from: '22:00', to: '07:00', timezone: Europe/Berlin}
    storm: {alerts: 5, within: 30s}
  - {name: chat, kind: slack, token_env: PASS, channel: "#ops", group: none, repeat: never}
  - {name: chat-simple, kind: slack, url: "${ONCALL_URL}"}
  - {name: oncall, kind: pagerduty, key_env: PASS, severities: critical, after: 15m}
  - {name: desk, kind: jsm, key_env: PASS, resolved: false}
  - {name: am, kind: alertmanager, url: "http://alertmanager:9093"}
  - {name: phone, kind: apprise, service_env: SMS, picture: false, limit: 7, pace: 2s}
"""
SECRETS = {**ENVIRON, "PASS": "hunter2", "SMS": "json://localhost/hunter2"}


def test_every_kind_can_be_said_in_a_file_and_has_the_defaults_of_its_nature():
    found = {d.name: d for d in read(EVERY, "notify.yaml", SECRETS)}
    assert {type(d.notifier).__name__ for d in found.values()} == {
        *("Log", "Webhook", "Mail", "SlackBot", "SlackWebhook", "PagerDuty"),
        *("JiraServiceManagement", "Alertmanager", "Apprise"),
    }
    team, oncall, phone = found["team"], found["oncall"], found["phone"]
    assert team.grouping == Grouping(("model",), 10.0, 120.0)
    assert (team.repeat_s, team.storm) == (3600.0, Storm(5, 30.0))
    assert team.quiet == Quiet(time(22), time(7), ZoneInfo("Europe/Berlin"))
    assert team.matchers[0].segment == (("region", ("eu",)),)
    assert (oncall.after_s, oncall.grouping, oncall.pace_s) == (900.0, None, 1.0)
    assert oncall.retry.give_up_s == 24 * 3600
    assert (phone.retry.attempts, phone.limit, phone.pace_s) == (6, 7, 2.0)
    assert (phone.grouping, phone.repeat_s) == (Grouping(), 4 * 3600.0)
    assert (found["chat"].grouping, found["chat"].repeat_s) == (None, None)
    assert (found["am"].storm, found["am"].grouping, found["am"].repeat_s) == (None, None, None)
    assert not found["desk"].resolved
    assert "hunter2" not in repr(found)


def test_every_kind_of_the_registry_has_an_example_in_the_docs_that_is_sound(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    text = page.split("```yaml\n")[1].split("```")[0]
    for name in ("smtp", "slack", "pagerduty", "jsm"):
        (tmp_path / name).write_text("secret")
    (tmp_path / "hook").write_text(SECRET)
    (tmp_path / "slack-url").write_text("https://hooks.example.org/x")
    (tmp_path / "sms-url").write_text("json://localhost")
    here = text.replace("/run/secrets", str(tmp_path))
    found = read(here, "alerts.md", {"HOOK_URL": "https://example.org/x"})
    assert len(found) == 9
    for kind in NOTIFIERS:
        assert f"kind: {kind}" in text
    for key in COMMON[2:]:
        assert f"| `{key}` |" in page


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("match: {colour: red}", "unknown key"),
        ("match: {kind: drift}", "'drift' is not known"),
        ("match: {segment: eu}", "as in `segment: {region: eu}`"),
        ("group: {by: colour}", "'colour' is not known"),
        ("quiet: {from: '22:00'}", "`to` is missing"),
        ("quiet: {from: '22', to: '07:00', timezone: UTC}", "a time of day"),
        ("quiet: {from: '22:00', to: '07:00', timezone: Mars}", "no such time zone"),
        ("quiet: {from: '07:00', to: '07:00', timezone: UTC}", "never or always"),
        ("storm: {alerts: 0}", "out of range"),
        ("resolved: perhaps", "'perhaps' is not known"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_named(rule, words):
    text = f"destinations:\n  - name: a\n    kind: log\n    {rule}\n"
    assert words in problems(text)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("kind: email, host: h, from: a@b.c", "`to` is missing"),
        ("kind: email, host: h, from: a@b.c, to: 'x'", "expected mail addresses"),
        ("kind: email, host: h, from: a@b.c, to: a@b.c, username: u", "where the password is"),
        ("kind: email, host: h, from: a@b.c, to: a@b.c, tls: none, username: u, password_env: KEY",
         "would travel in clear"),
        ("kind: slack, channel: c", "where the bot token is"),
        ("kind: slack, token_env: KEY", "`channel` is missing"),
        ("kind: pagerduty", "where the integration key is"),
        ("kind: apprise, service_env: KEY", "Apprise knows no service"),
        ("kind: alertmanager, url: 'http://am', token_env: NOT_SET", "NOT_SET is not set"),
    ],
)  # fmt: skip
def test_what_a_kind_lacks_is_named(entry, words):
    said = problems(f"destinations: [{{name: a, {entry}}}]\n")
    assert words in said
    assert SECRET not in said


def test_a_monitor_that_names_nobody_known_is_an_error_at_the_start(tmp_path):
    path = tmp_path / "notify.yaml"
    path.write_text("destinations: [{name: oncall, kind: log}]")
    (known,) = load(path, {}, {"fraud": ("oncall",)})
    assert known.models == {"fraud": {"oncall"}}
    with pytest.raises(DestinationsError, match="did you mean `oncall`"):
        load(path, {}, {"fraud": ("on-call",)})

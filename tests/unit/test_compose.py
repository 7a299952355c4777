"""docker-compose.yml and the Dockerfile keep their rules; no Docker engine is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.config import WorkerSettings

ROOT = Path(__file__).parents[2]
SERVICES = ("kafka", "topics", "worker", "prometheus")
ONE_SHOT = {"topics"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "deploy/Dockerfile").read_text()


def test_the_file_has_a_name_no_version_key_and_exactly_the_four_services(compose):
    assert compose["name"] == "driftline"
    assert "version" not in compose
    assert sorted(compose["services"]) == sorted(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_a_tag_and_none_is_latest(compose, name):
    _, separator, tag = compose["services"][name]["image"].rpartition(":")
    assert separator, "an image without a tag is :latest"
    assert re.match(r"v?\d+\.\d+", tag), tag


@pytest.mark.parametrize("name", SERVICES)
def test_published_ports_are_bound_to_the_loopback_address(compose, name):
    for port in compose["services"][name].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", SERVICES)
def test_memory_is_limited(compose, name):
    assert re.fullmatch(r"\d+[mg]", compose["services"][name]["mem_limit"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_stays_has_a_healthcheck_and_is_restarted(compose, name):
    service = compose["services"][name]
    if name in ONE_SHOT:
        assert service["healthcheck"] == {"disable": True}
        assert service["restart"].startswith("on-failure:"), "it must not run for ever"
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"
        assert "stop_grace_period" in service


@pytest.mark.parametrize("name", ["topics", "worker"])
def test_our_containers_cannot_write_their_root_or_gain_rights(compose, name):
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_dependencies_wait_for_health_and_for_the_topics(compose):
    services = compose["services"]
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert services["worker"]["depends_on"]["topics"] == {
        "condition": "service_completed_successfully"
    }


def test_kafka_listens_where_the_others_look_for_it(compose):
    kafka = compose["services"]["kafka"]["environment"]
    advertised = dict(part.split("://") for part in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    for name in ("topics", "worker"):
        environment = compose["services"][name]["environment"]
        assert environment["DRIFTLINE_BROKER"] == advertised["INTERNAL"]
    assert advertised["HOST"] == "localhost:9092"
    assert "127.0.0.1:9092:9092" in compose["services"]["kafka"]["ports"]
    listeners = dict(part.split("://:") for part in kafka["KAFKA_LISTENERS"].split(","))
    protocols = dict(
        part.split(":") for part in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert set(protocols) == set(listeners)
    assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"].endswith(f"kafka:{listeners['CONTROLLER']}")


def test_kafka_has_every_setting_that_one_node_needs(compose):
    kafka = compose["services"]["kafka"]["environment"]
    assert len(kafka["CLUSTER_ID"]) == 22
    ones = [name for name in kafka if name.endswith(("_REPLICATION_FACTOR", "_MIN_ISR"))]
    assert len(ones) == 5
    assert all(kafka[name] == "1" for name in ones)
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    data = kafka["KAFKA_LOG_DIRS"]
    assert f"kafka-data:{data}" in compose["services"]["kafka"]["volumes"]


def test_the_worker_is_told_only_settings_that_exist(compose):
    known = {f"DRIFTLINE_{name.upper()}" for name in WorkerSettings.model_fields}
    for name in ("topics", "worker"):
        assert set(compose["services"][name]["environment"]) <= known


def test_prometheus_scrapes_the_worker_where_it_serves(compose):
    folder = ROOT / "deploy/prometheus"
    assert "./deploy/prometheus:/etc/prometheus:ro" in compose["services"]["prometheus"]["volumes"]
    scrape = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    targets = [
        target
        for job in scrape
        for group in job.get("static_configs", [])
        for target in group["targets"]
    ]
    port = WorkerSettings.model_fields["health_port"].default
    assert f"worker:{port}" in targets
    assert f"127.0.0.1:{port}:{port}" in compose["services"]["worker"]["ports"]


def test_named_volumes_are_declared(compose):
    used = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "/"))
    }
    assert used == set(compose["volumes"])


def test_the_image_is_pinned_in_both_stages_and_does_not_run_as_root(dockerfile):
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1, "the wheels must be built for the Python that runs them"
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases[0])
    final = dockerfile.rpartition("FROM ")[2]
    assert re.search(r"^USER (\d+):\1$", final, re.MULTILINE)
    assert re.search(r'HEALTHCHECK .*CMD \["driftline", "health"\]', final)
    assert re.search(r'^ENTRYPOINT \["driftline"\]$', final, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in final


def test_the_image_copies_only_what_the_build_context_lets_through(dockerfile):
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
        for source in sources.split()
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)

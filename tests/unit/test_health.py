"""The health server, asked over real HTTP."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator

import pytest

from streams.telemetry.health import BEAT_LIMIT_S, MAX_REQUESTS, HealthPortError, HealthServer
from streams.telemetry.telemetry import Telemetry


class Monotonic:
    """Seconds that move when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Monotonic:
    return Monotonic()


@pytest.fixture
def health(clock: Monotonic) -> Iterator[HealthServer]:
    server = HealthServer(Telemetry(sources=("p",)), 0, clock=clock)
    server.start()
    yield server
    server.stop()


def ask(server: HealthServer, path: str, method: str = "GET", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def test_a_loop_that_beats_is_live_and_one_that_hangs_is_not(health, clock):
    clock.now += BEAT_LIMIT_S - 1
    assert ask(health, "/healthz/live")[0] == 200
    clock.now += 2
    status, body, _ = ask(health, "/healthz/live")
    assert status == 503
    assert json.loads(body)["why"] == "the worker's loop has not run for 31 s"
    health.beat()
    assert ask(health, "/healthz/live")[0] == 200


def test_readiness_says_why_it_is_not(health, clock):
    status, body, _ = ask(health, "/healthz/ready")
    assert (status, json.loads(body)["why"]) == (503, "starting")
    health.set_ready(True)
    assert ask(health, "/healthz/ready")[0] == 200
    health.set_ready(False, "rebalancing")
    assert json.loads(ask(health, "/healthz/ready")[1])["why"] == "rebalancing"
    health.set_ready(True)
    clock.now += BEAT_LIMIT_S + 1
    assert ask(health, "/healthz/ready")[0] == 503


def test_startup_holds_once_it_has_held(health):
    assert ask(health, "/healthz/startup")[0] == 503
    health.set_ready(True)
    health.set_ready(False, "rebalancing")
    assert ask(health, "/healthz/startup")[0] == 200


def test_metrics_come_as_text_as_openmetrics_and_compressed(health):
    status, body, headers = ask(health, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'driftline_events_rejected_total{reason="empty",topic="p"} 0.0' in body
    _, body, headers = ask(health, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    _, body, headers = ask(health, "/metrics", Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert b"driftline_build_info" in gzip.decompress(body)


def test_metrics_may_be_asked_for_by_name(health):
    status, body, _ = ask(health, "/metrics?name[]=driftline_gaps_total")
    families = {line.split("{")[0] for line in body.decode().splitlines() if line[0] != "#"}
    assert (status, families) == (200, {"driftline_gaps_total"})


def test_other_paths_and_methods_are_refused_with_what_there_is(health):
    status, body, _ = ask(health, "/nothing")
    assert status == 404
    assert "/metrics" in json.loads(body)["paths"]
    assert ask(health, "/metrics", "POST")[0] == 501
    status, body, headers = ask(health, "/healthz/live", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


def test_a_port_that_is_taken_is_said_so_with_what_to_do(health):
    other = HealthServer(Telemetry(), health.port)
    with pytest.raises(
        HealthPortError, match=rf"port {health.port} is taken.*DRIFTLINE_HEALTH_PORT"
    ):
        other.start()
    other.stop()


def test_the_port_is_free_again_after_stop():
    server = HealthServer(Telemetry(), 0)
    server.start()
    server.stop()
    again = HealthServer(Telemetry(), server.port)
    again.start()
    again.stop()


def test_clients_that_say_nothing_do_not_exhaust_it_nor_delay_its_stop(health):
    idle = [socket.create_connection(("127.0.0.1", health.port)) for _ in range(MAX_REQUESTS + 4)]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # the ones above the limit are closed at once
        if idle[-1].recv(1) == b"":
            break
    for connection in idle[:8]:
        connection.close()
    while time.monotonic() < deadline:
        try:
            assert ask(health, "/healthz/live")[0] == 200
            break
        except (http.client.HTTPException, OSError):
            time.sleep(0.01)
    else:
        pytest.fail("no answer after the idle clients had gone")
    began = time.monotonic()
    health.stop()
    assert time.monotonic() - began < 2
    for connection in idle:
        connection.close()

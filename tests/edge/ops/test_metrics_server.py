"""However many connect to the endpoint and stay: a scrape gets through, and the service keeps its descriptors."""

from __future__ import annotations

import resource
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.ops.metrics import Metrics
from edge.ops.metrics_server import CONNECTIONS
from edge.settings import MetricsSettings
from tests.support.crowd import Crowd
from tests.support.mosquitto import eventually, free_port


@pytest.fixture
def port() -> Iterator[int]:
    server = Metrics().serve(MetricsSettings(port=(port := free_port())))
    yield port
    server.stop()


def scrape(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return bytes(answer.read())


def in_use() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("opening", "drip"),
    [(b"", b""), (b"GET /metrics HT", b""), (b"GET /metrics HTTP/1.0\r\n", b"a"), (b"", b"a")],
    ids=["silent", "half a request", "headers that drip", "a request that drips"],
)
def test_a_crowd_that_stays_keeps_no_scrape_out(port: int, opening: bytes, drip: bytes) -> None:
    descriptors, threads = in_use(), threading.active_count()
    with Crowd(port, 200, opening, drip):
        began = time.monotonic()
        assert b"alfa_edge_verdicts_total" in scrape(port)
        assert time.monotonic() - began < 5
        assert in_use() - descriptors <= 2 * CONNECTIONS + 4
        assert threading.active_count() - threads <= 2 * CONNECTIONS
        eventually(lambda: threading.active_count() - threads <= CONNECTIONS)
    eventually(lambda: in_use() <= descriptors)


def test_a_scraper_that_takes_nothing_is_let_go_of(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.ops.metrics_server._Handler.timeout", 0.3)
    threads = threading.active_count()
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /metrics HT")
        eventually(lambda: threading.active_count() > threads)
        eventually(lambda: threading.active_count() == threads, 3)


def test_the_last_descriptors_are_not_for_scrapers(port: int) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    strangers = [socket.socket() for _ in range(20)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use() + 2, limits[1]))
    try:
        for stranger in strangers:
            stranger.settimeout(10)
            stranger.connect(("127.0.0.1", port))
        assert [stranger.recv(1) for stranger in strangers] == [b""] * 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for stranger in strangers:
            stranger.close()
    assert scrape(port)

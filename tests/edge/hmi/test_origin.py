"""Names of the console, and pages of others."""

from __future__ import annotations

import socket

import pytest
from starlette.datastructures import Headers

from edge.hmi.origin import HostNames, cross_site


def test_names_are_those_of_the_machine_and_of_the_settings() -> None:
    names = HostNames("0.0.0.0", ["press-hall.plant.local"])
    for host in (
        "localhost",
        socket.gethostname(),
        "press-hall.plant.local:8480",
        "PRESS-HALL.plant.local.",
        "10.0.0.7",
    ):
        assert names.know(host), host
    for host in ("", ":", "press-hall", "plant.local", "press-hall.plant.local.evil.example", "1.2.3", "[::1]x", "a:b"):
        assert not names.know(host), host


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"origin": "http://box:8480"}, False),
        ({"origin": "https://BOX:8480"}, False),  # a proxy ends TLS
        ({"origin": "http://box"}, True),
        ({"origin": "http://box:8480.evil.example"}, True),
        ({"origin": "http://evil@box:8480"}, True),
        ({"origin": "file://box:8480"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://[box"}, True),
        ({"origin": ""}, True),
    ],
)
def test_a_page_of_another_origin_is_told_from_ours(headers: dict[str, str], refused: bool) -> None:
    assert (cross_site(Headers({"host": "box:8480"} | headers)) is not None) == refused

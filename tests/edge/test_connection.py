"""How a connection is made, and the words for why it is not."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from edge.connection import client_of, probe
from edge.mqtt import Publisher
from edge.settings import ConfigError, MqttSettings
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.publisher import LINE, Publishers, connected


def test_password_file(publisher_of: Publishers, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("right\n# a comment of somebody's\n")
    with Mosquitto(users={"edge": "right"}) as broker:
        publisher = publisher_of(broker.port, username="edge", password_file=secret)
        publisher.start()
        connected(publisher)
        settings = MqttSettings(host="127.0.0.1", port=broker.port, username="edge", password_file=secret)
        assert probe(settings, 5) is None


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (None, "no such file"),
        (b"", "no password on its first line"),
        (b"\nsecret\n", "no password on its first line"),
        (b"\xffsecret\n", "is not UTF-8 text"),
    ],
)
def test_bad_password_file(tmp_path: Path, content: bytes | None, remedy: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    settings = MqttSettings(username="edge", password_file=path)
    with pytest.raises(ConfigError, match=remedy) as caught:
        Publisher(settings, LINE, "box", "1.2.3")
    assert (caught.value.problems[0].key, caught.value.problems[0].value) == ("password_file", str(path))
    assert "secret" not in str(caught.value)
    assert remedy in str(probe(settings, 1))


def test_client_id_is_what_any_broker_takes() -> None:
    settings = MqttSettings()
    assert client_of(settings, "alfa-edge-box.1_a-press-1")._client_id == b"alfa-edge-box.1_a-press-1"
    odd, other = (client_of(settings, name)._client_id for name in ("edge-bo x-a", "edge-bo/x-a"))
    assert odd != other
    assert odd.startswith(b"edge-bo-x-a-")


def test_probe_says_why_not() -> None:
    port = free_port()
    assert probe(MqttSettings(host="127.0.0.1", port=port), 5) == f"nothing listens on 127.0.0.1:{port}"
    assert "name not found: no-such-host.invalid" in str(probe(MqttSettings(host="no-such-host.invalid"), 20))
    assert "is no name or address of a host" in str(probe(MqttSettings(host="a..b"), 5))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = MqttSettings(host="127.0.0.1", port=silent.getsockname()[1])
        assert probe(settings, 0.3) == f"no answer from 127.0.0.1:{settings.port} within 0.3 s"


def test_probe_of_something_that_is_no_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            accepted, _ = server.accept()
            accepted.recv(1)
            accepted.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        reason = probe(MqttSettings(host="127.0.0.1", port=server.getsockname()[1]), 5)
        thread.join()
    assert "closed the connection without an answer" in str(reason)


def test_probe_leaves_the_lines_alone(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    since = publisher.state.since
    assert probe(MqttSettings(host="127.0.0.1", port=mosquitto.port), 5) is None
    time.sleep(0.1)
    assert publisher.state.since == since

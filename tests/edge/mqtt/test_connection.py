"""How a connection is made, and the words for why it is not."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.mqtt.connection import client_id, client_of, connect, lost, refused
from edge.mqtt.publisher import Publisher
from edge.settings import MqttSettings
from edge.settings_file import ConfigError
from edge.tools.broker_check import check_broker
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
        assert check_broker(settings, 5).refusal is None


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (None, "no such file"),
        (b"", "no password on its first line"),
        (b"\nsecret\n", "no password on its first line"),
        (b"\xffsecret\n", "is not UTF-8 text"),
    ],
)
def test_bad_password_file(publisher_of: Publishers, tmp_path: Path, content: bytes | None, remedy: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    settings = MqttSettings(username="edge", password_file=path)
    with pytest.raises(ConfigError, match=remedy) as caught:
        Publisher(settings, LINE, "box", "1.2.3", publisher_of.outbox, publisher_of.delivery, publisher_of.alarms)
    assert (caught.value.problems[0].key, caught.value.problems[0].value) == ("password_file", str(path))
    assert "secret" not in str(caught.value)
    assert remedy in str(check_broker(settings, 1).refusal)


def test_client_id_is_what_any_broker_takes() -> None:
    settings = MqttSettings()
    assert client_of(settings, "alfa-edge-box.1_a-press-1", "3.1.1")._client_id == b"alfa-edge-box.1_a-press-1"
    odd, other = (client_of(settings, name, "5")._client_id for name in ("edge-bo x-a", "edge-bo/x-a"))
    assert odd != other
    assert odd.startswith(b"edge-bo-x-a-")


def test_a_client_id_ends_with_what_nobody_guesses() -> None:
    assert client_id(MqttSettings(client_id="edge"), "a-b", "c", "0123abcd") == "edge-a-b-c-0123abcd"


def test_client_ids_of_an_old_state_stay_what_they_were() -> None:
    """Under another id the triggers that wait at the broker would be lost."""
    settings = MqttSettings(client_id="edge")
    assert client_id(settings, "box", "press-1", "") == "edge-box-press-1"
    assert client_id(settings, "a-b", "c", "") != client_id(settings, "a", "b-c", "")
    assert client_id(settings, "a-b", "c", "") == "edge-a-b-c-695274f6"


@pytest.mark.parametrize(("keepalive_s", "told"), [(2, 2), (3, 2), (15, 10), (3600, 2400)])
def test_a_broker_sends_the_last_will_after_the_keepalive(keepalive_s: int, told: int) -> None:
    settings = MqttSettings(keepalive_s=keepalive_s, host="127.0.0.1", port=free_port())
    client = client_of(settings, "any", "3.1.1")
    connect(client, settings, "3.1.1")
    client.disconnect()
    assert client.keepalive == told  # after half as long again


def test_reasons_come_with_what_to_do() -> None:
    taken_over = ReasonCode(PacketTypes.DISCONNECT, "Session taken over")
    assert lost(taken_over).startswith("connection lost: Session taken over; another client has the same id")
    unspecified = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
    assert lost(unspecified).endswith("if the broker is up, another client may have the same id")
    assert "set mqtt.version" in refused(ReasonCode(PacketTypes.CONNACK, "Unsupported protocol version"))
    assert refused(ReasonCode(PacketTypes.CONNACK, "Banned")) == "the broker refused the connection: Banned"


def test_probe_says_why_not() -> None:
    port = free_port()
    assert check_broker(MqttSettings(host="127.0.0.1", port=port), 5).refusal == f"nothing listens on 127.0.0.1:{port}"
    assert "name not found: no-such-host.invalid" in str(
        check_broker(MqttSettings(host="no-such-host.invalid"), 20).refusal
    )
    assert "is no name or address of a host" in str(check_broker(MqttSettings(host="a..b"), 5).refusal)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = MqttSettings(host="127.0.0.1", port=silent.getsockname()[1])
        assert check_broker(settings, 0.3).refusal == f"no answer from 127.0.0.1:{settings.port} within 0.3 s"


def test_probe_of_something_that_is_no_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            accepted, _ = server.accept()
            accepted.recv(1)
            accepted.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        reason = check_broker(MqttSettings(host="127.0.0.1", port=server.getsockname()[1]), 5).refusal
        thread.join()
    assert "closed the connection without an answer" in str(reason)


def test_probe_leaves_the_lines_alone(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    since = publisher.state.since
    assert check_broker(MqttSettings(host="127.0.0.1", port=mosquitto.port), 5).refusal is None
    time.sleep(0.1)
    assert publisher.state.since == since


@pytest.mark.parametrize("in_file", [True, False])
def test_a_password_that_no_packet_takes_is_refused(tmp_path: Path, in_file: bool) -> None:
    """Fault: it ended paho's network thread again and again."""
    path = tmp_path / "secret"
    path.write_text("\u00e9" * 40_000)
    given = {"password_file": path} if in_file else {"password": path.read_text()}
    with pytest.raises(ConfigError, match="a password has at most 65535 bytes") as caught:
        client_of(MqttSettings(username="edge", **given), "id", "5", keep=False)
    assert "\u00e9" not in str(caught.value)

"""The demo's broker, seen by paho and by mosquitto's own client."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.settings import MqttSettings
from edge.tools.broker import BrokerError, EmbeddedBroker
from edge.tools.broker_check import check_broker
from tests.support.mosquitto import binary, free_port, subscribe


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(free_port()) as running:
        yield running


def mosquitto_sub(port: int, topic: str, *options: str) -> list[str]:
    command = [binary("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-W", "5", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.splitlines()


def client_of(port: int) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.will_set("will/a", b"gone", 1, retain=True)
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert connected.wait(5)
    return client


def test_retained_message_reaches_those_who_come_later(broker: EmbeddedBroker) -> None:
    client = client_of(broker.port)
    client.publish("retained/a", b"kept", 1, retain=True).wait_for_publish(5)
    client.disconnect()
    with subscribe(broker.port, "retained/a") as late:
        (message,) = late.wait(1)
    assert (message.payload, message.retained) == (b"kept", True)
    assert mosquitto_sub(broker.port, "retained/+", "-C", "1", "-q", "1", "-F", "%r %p") == ["1 kept"]


def test_retained_message_reaches_nobody_else(broker: EmbeddedBroker) -> None:
    client = client_of(broker.port)
    client.publish("retained/b", b"kept", 1, retain=True).wait_for_publish(5)
    with subscribe(broker.port, "retained/#") as first, subscribe(broker.port, "other") as second:
        first.wait(1)
        client.publish("other", b"mine", 1).wait_for_publish(5)
        assert [message.payload for message in second.wait(1)] == [b"mine"]
    client.disconnect()


def test_live_message_is_delivered_once_and_not_kept(broker: EmbeddedBroker) -> None:
    client = client_of(broker.port)
    with subscribe(broker.port, "live/#") as listener:
        client.publish("live/a", b"now", 1).wait_for_publish(5)
        client.publish("live/b", b"then", 0).wait_for_publish(5)
        assert [message.payload for message in listener.wait(2)] == [b"now", b"then"]
    client.disconnect()
    assert mosquitto_sub(broker.port, "live/#", "-W", "1") == []


def test_last_will_of_a_client_that_vanishes(broker: EmbeddedBroker) -> None:
    with subscribe(broker.port, "will/a") as listener:
        client = client_of(broker.port)
        connection = client.socket()
        assert isinstance(connection, socket.socket)
        client.reconnect_delay_set(60, 60)
        connection.shutdown(socket.SHUT_RDWR)
        assert [message.payload for message in listener.wait(1)] == [b"gone"]
        client.disconnect()
    assert mosquitto_sub(broker.port, "will/a", "-C", "1") == ["gone"]


def test_large_payload(broker: EmbeddedBroker) -> None:
    png = bytes(range(256)) * 8192  # 2 MiB
    client = client_of(broker.port)
    with subscribe(broker.port, "large") as listener:
        client.publish("large", png, 0)
        assert listener.wait(1)[0].payload == png
    client.disconnect()


def test_probe_accepts_it(broker: EmbeddedBroker) -> None:
    assert check_broker(MqttSettings(host=broker.host, port=broker.port), 5).refusal is None


def test_a_port_is_found_where_the_usual_one_is_taken() -> None:
    with EmbeddedBroker() as first, EmbeddedBroker() as second:
        assert first.port != second.port
        assert second.port != 1883
        assert check_broker(MqttSettings(host=second.host, port=second.port), 5).refusal is None


def test_a_given_port_that_is_taken_is_an_error(broker: EmbeddedBroker) -> None:
    with (
        pytest.raises(BrokerError, match=f"port {broker.port} of 127.0.0.1 is taken"),
        EmbeddedBroker(broker.port),
    ):
        pytest.fail("it started")


def test_stops_with_clients_connected_and_leaves_no_thread(capfd: pytest.CaptureFixture[str]) -> None:
    threads = set(threading.enumerate())
    with EmbeddedBroker(free_port()) as stopping:
        client = client_of(stopping.port)
        client.reconnect_delay_set(60, 60)
    client.disconnect()
    assert {thread.name for thread in set(threading.enumerate()) - threads if "broker" in thread.name} == set()
    assert "nothing listens" in str(check_broker(MqttSettings(host=stopping.host, port=stopping.port), 5).refusal)
    with EmbeddedBroker(stopping.port) as again:
        assert again.port == stopping.port
    assert capfd.readouterr() == ("", "")


def test_without_amqtt_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "amqtt"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amqtt", None)
    with (
        pytest.raises(BrokerError, match=r"install the extra demo with `.*pip install .*\[demo\]"),
        EmbeddedBroker(free_port()),
    ):
        pytest.fail("it started")

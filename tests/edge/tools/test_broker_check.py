"""What `doctor` finds out about a broker: a real mosquitto, and a real one that knows MQTT 3.1.1 only."""

from __future__ import annotations

import socket
import threading

import pytest

from edge.settings import CameraSettings, LineSettings, MqttSettings, Settings
from edge.tools.broker import EmbeddedBroker
from edge.tools.broker_check import BrokerReport, check_broker
from edge.tools.check import Check
from edge.tools.doctor import broker_checks
from tests.support.mosquitto import Mosquitto, free_port

USERS = {"edge": "secret"}
USER = {"username": "edge", "password": "secret"}


def mqtt(port: int, **settings: object) -> MqttSettings:
    return MqttSettings.model_validate({"host": "127.0.0.1", "port": port} | settings)


def checks(settings: MqttSettings, lines: int) -> dict[str, Check]:
    """What doctor says of the broker."""
    line = LineSettings(camera=CameraSettings(source="sim:bottle"))
    found = broker_checks(Settings(mqtt=settings, lines={f"line-{number}": line for number in range(lines)}))
    return {check.name: check for check in found if check.name.startswith("broker")}


def test_a_broker_of_today() -> None:
    with Mosquitto(users=USERS) as broker:
        assert check_broker(mqtt(broker.port, **USER), 5) == BrokerReport(version="5")


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_broker_that_takes_the_user_for_the_client_id(version: str) -> None:
    with Mosquitto(users=USERS, listener_options=["use_username_as_clientid true"]) as broker:
        report = check_broker(mqtt(broker.port, version=version, **USER), 5)
        assert report == BrokerReport(version=version, one_client_a_user=True)  # type: ignore[arg-type]


def test_doctor_says_so_with_a_remedy_and_fails_with_two_lines_only() -> None:
    with Mosquitto(users=USERS, listener_options=["use_username_as_clientid true"]) as running:
        settings = mqtt(running.port, **USER)
        for lines, result in ((2, "fail"), (1, "note")):
            found = checks(settings, lines)
            assert found["broker"].result == "ok"
            assert found["broker: clients"].result == result
            assert "use_username_as_clientid false" in found["broker: clients"].detail


def test_a_broker_with_a_limit_of_packets() -> None:
    with Mosquitto(options=["max_packet_size 65536"]) as broker:
        assert check_broker(mqtt(broker.port), 5).max_packet == 65536
        packets = checks(mqtt(broker.port), 2)["broker: packets"]
    assert packets.result == "note"
    assert "65536 bytes" in packets.detail


def test_a_broker_that_knows_mqtt_3_only() -> None:
    with EmbeddedBroker() as broker:
        assert check_broker(mqtt(broker.port), 5) == BrokerReport(version="3.1.1")
        found = checks(mqtt(broker.port), 2)
    assert found["broker"].result == found["broker: clients"].result == "ok"
    assert found["broker: version"].result == "note"
    assert "since the broker refuses MQTT 5" in found["broker: version"].detail


def test_a_broker_that_refuses_the_user() -> None:
    with Mosquitto(users=USERS) as broker:
        report = check_broker(mqtt(broker.port, username="edge", password="wrong"), 5)
    assert "check mqtt.username and mqtt.password" in str(report.refusal)


def test_nothing_there() -> None:
    port = free_port()
    assert check_broker(mqtt(port), 5).refusal == f"nothing listens on 127.0.0.1:{port}"
    assert checks(mqtt(port), 2)["broker"].result == "fail"


def test_a_password_file_that_is_not_there() -> None:
    report = check_broker(mqtt(1883, username="edge", password_file="/nowhere/password"), 5)
    assert "no such file" in str(report.refusal)


def test_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert check_broker(mqtt(port), 0.3).refusal == f"no answer from 127.0.0.1:{port} within 0.3 s"


def test_no_thread_stays() -> None:
    before = set(threading.enumerate())
    with Mosquitto(users=USERS, listener_options=["use_username_as_clientid true"]) as broker:
        check_broker(mqtt(broker.port, **USER), 5)
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
            assert not thread.is_alive()

"""The broker's files, in a real mosquitto: who may say and hear what."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.settings import MqttSettings, Settings
from edge.tools.broker_check import check_broker
from edge.tools.broker_rights import acl
from edge.topics import ANOMALY, COMMAND, HEATMAP, PICTURE, REPLY, STATS, STATUS, SYNC, TRIGGER, Topic
from tests.support.crowd import Crowd
from tests.support.mosquitto import binary, free_port, subscribe

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = "a password of the tests"
BOXES = {"hall-1": ("press-1", "press-2"), "hall-2": ("press-3",)}
USERS = (*BOXES, "plc", "consumer")


@dataclass(frozen=True)
class Broker:
    port: int
    tls_port: int
    certificate: Path


def settings_of(user: str, lines: Sequence[str]) -> Settings:
    camera = {"source": "sim:bottle"}
    return Settings(mqtt={"username": user}, lines={line: {"pack": "bottle", "camera": camera} for line in lines})


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """mosquitto with the files of deploy/, at ports and folders of the tests' own."""
    folder = tmp_path_factory.mktemp("mosquitto")
    (folder / "certs").mkdir()
    (folder / "data").mkdir()
    made = Broker(free_port(), free_port(), folder / "certs" / "server.crt")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    files = ["-keyout", str(folder / "certs" / "server.key"), "-out", str(made.certificate)]
    subprocess.run([binary("openssl"), "req", "-x509", *key, *subject, *files], check=True, capture_output=True)
    (folder / "passwords").touch(0o600)
    for user in USERS:
        subprocess.run([binary("mosquitto_passwd"), "-b", str(folder / "passwords"), user, PASSWORD], check=True)
    people = (DEPLOY / "mosquitto.acl").read_text("utf-8").partition("# The boxes.")[0]
    blocks = [acl(settings_of(box, lines)) for box, lines in BOXES.items()]
    (folder / "mosquitto.acl").write_text("\n".join([people, *blocks]))
    config = (DEPLOY / "mosquitto.conf").read_text("utf-8")
    config = config.replace("/etc/mosquitto", str(folder)).replace("/var/lib/mosquitto", str(folder / "data"))
    config = config.replace("listener 1883", f"listener {made.port}")
    config = config.replace("listener 8883", f"listener {made.tls_port}")
    if os.geteuid() == 0:
        config += "user root\n"
    (folder / "mosquitto.conf").write_text(config)
    log = (folder / "log").open("wb")
    with (
        closing(log),
        subprocess.Popen(
            [binary("mosquitto"), "-c", str(folder / "mosquitto.conf")], stdout=log, stderr=log
        ) as process,
    ):
        until = time.monotonic() + 20
        while not answers(made.tls_port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"mosquitto does not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.02)
        yield made
        process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def client_of(broker: Broker, user: str | None, *, tls: bool = False) -> Iterator[Client]:
    """A client of MQTT 5, whose broker says what it refuses; connected."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
    if user is not None:
        client.username_pw_set(user, PASSWORD)
    if tls:
        client.tls_set(str(broker.certificate))
    answer: list[ReasonCode] = []
    connected = threading.Event()

    def on_connect(*about: object) -> None:
        answer.append(about[3])  # type: ignore[arg-type]
        connected.set()

    client.on_connect = on_connect
    client.connect("localhost" if tls else "127.0.0.1", broker.tls_port if tls else broker.port)
    client.loop_start()
    try:
        assert connected.wait(10)
        if answer[0].is_failure:
            raise PermissionError(str(answer[0]))
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def may_write(client: Client, topic: str) -> bool:
    """Whether the broker takes a message."""
    answer: list[ReasonCode] = []
    acknowledged = threading.Event()

    def on_publish(*about: object) -> None:
        answer.append(about[3])  # type: ignore[arg-type]
        acknowledged.set()

    client.on_publish = on_publish
    client.publish(topic, b"x", 1)
    assert acknowledged.wait(10)
    return not answer[0].is_failure


EVERYTHING = ("#", "line/#", "line/+/trigger", "line/press-2/command", "$share/all/line/+/trigger")
RIGHTS: dict[str, dict[Topic, str]] = {
    "hall-1": dict.fromkeys((ANOMALY, HEATMAP, PICTURE, STATUS, STATS, REPLY), "write")
    | {TRIGGER: "read", COMMAND: "read"},
    "hall-2": {},  # it has to do with another line
    "plc": {TRIGGER: "write", COMMAND: "write", ANOMALY: "read", STATUS: "read", REPLY: "read"},
    "consumer": dict.fromkeys((ANOMALY, HEATMAP, PICTURE, STATUS, STATS, REPLY), "read"),
}


@pytest.mark.parametrize("user", USERS)
def test_each_user_may_write_what_is_theirs_and_nothing_else(broker: Broker, user: str) -> None:
    rights = RIGHTS[user]
    with client_of(broker, user) as client:
        for topic in (ANOMALY, HEATMAP, PICTURE, STATUS, STATS, REPLY, TRIGGER, COMMAND):
            assert may_write(client, topic.of("press-1")) == (rights.get(topic) == "write"), topic.pattern
        assert may_write(client, SYNC.of("press-1")) == (user == "hall-1")
        assert not may_write(client, "line/press-1/anomaly/forged")
        assert not may_write(client, "$SYS/broker/uptime")


@pytest.mark.parametrize("user", USERS)
def test_each_user_hears_what_is_theirs_and_nothing_else(broker: Broker, user: str) -> None:
    heard = {topic.of("press-2") for topic, right in RIGHTS[user].items() if right == "read"}
    heard |= {SYNC.of("press-2"), STATS.of("press-2")} if user == "hall-1" else set()
    with (
        subscribe(broker.port, *EVERYTHING, user=user, password=PASSWORD) as subscription,
        client_of(broker, "hall-1") as service,
        client_of(broker, "plc") as plc,
    ):
        for topic in (ANOMALY, HEATMAP, PICTURE, STATUS, STATS, REPLY):
            assert may_write(service, topic.of("press-2"))
        assert may_write(service, SYNC.of("press-2"))
        for topic in (TRIGGER, COMMAND):
            assert may_write(plc, topic.of("press-2"))
        subscription.wait(len(heard), 10)
        time.sleep(0.2)  # for what must not come
        assert {message.topic for message in subscription.messages} == heard


def test_what_is_retained_of_another_box_is_not_heard_either(broker: Broker) -> None:
    with client_of(broker, "hall-1") as service:
        for topic in (STATUS, STATS):
            service.publish(topic.of("press-1"), b"{}", 1, retain=True).wait_for_publish(10)
    with subscribe(broker.port, *EVERYTHING, user="hall-2", password=PASSWORD) as subscription:
        time.sleep(0.3)
        assert subscription.messages == []


@pytest.mark.parametrize("user", ["hall-2", "consumer"])
def test_nobody_leaves_a_last_will_for_a_line_of_others(broker: Broker, user: str) -> None:
    with subscribe(broker.port, STATUS.wildcard, user="consumer", password=PASSWORD) as subscription:
        until = len(subscription.messages)
        for number in (1, 3):
            will = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
            will.username_pw_set(user, PASSWORD)
            will.will_set(STATUS.of(f"press-{number}"), b"offline", 1)
            will.connect("127.0.0.1", broker.port)
            will.loop_start()
            time.sleep(0.2)
            connection = will.socket()
            if isinstance(connection, socket.socket):
                connection.shutdown(socket.SHUT_RDWR)
            will.loop_stop()
        time.sleep(0.3)
        said = {message.topic for message in subscription.messages[until:] if message.payload == b"offline"}
        assert said == ({STATUS.of("press-3")} if user == "hall-2" else set())


def test_the_file_has_what_the_box_of_the_readme_prints() -> None:
    text = (DEPLOY / "mosquitto.acl").read_text("utf-8")
    assert text.endswith(f"#\n{acl(settings_of('alfa-edge', ['press-1']))}")


@pytest.mark.parametrize("user", [None, "somebody"])
def test_nobody_else_gets_in(broker: Broker, user: str | None) -> None:
    with pytest.raises(PermissionError, match="Not authorized"), client_of(broker, user):
        pass


def test_from_outside_there_is_tls_only(broker: Broker) -> None:
    with client_of(broker, "consumer", tls=True) as client:
        assert not may_write(client, ANOMALY.of("press-1"))
    listeners = re.findall(r"^listener (.*)$", (DEPLOY / "mosquitto.conf").read_text("utf-8"), re.MULTILINE)
    assert listeners == ["1883 127.0.0.1", "8883"], "without TLS on this machine only"


def test_a_heatmap_of_a_large_camera_passes(broker: Broker) -> None:
    with (
        subscribe(broker.port, HEATMAP.wildcard, user="consumer", password=PASSWORD) as subscription,
        client_of(broker, "hall-1") as service,
    ):
        service.publish(HEATMAP.of("press-1"), bytes(12_000_000), 1)
        [message] = subscription.wait(1, 20)
        assert len(message.payload) == 12_000_000


@pytest.mark.parametrize("packet", [b"\x10", b"\x30"], ids=["before it has said who it is", "as a consumer"])
def test_nobody_takes_the_brokers_memory_with_a_packet_that_is_too_large(broker: Broker, packet: bytes) -> None:
    """What is announced is not waited for."""
    with socket.create_connection(("127.0.0.1", broker.port), timeout=5) as stranger:
        if packet == b"\x30":
            stranger.sendall(connect_packet("consumer"))
            assert stranger.recv(4) == b"\x20\x02\x00\x00"
        stranger.sendall(packet + b"\xff\xff\xff\x7f" + bytes(100_000))  # 256 MiB
        with contextlib.suppress(ConnectionError):
            assert stranger.recv(100) == b""


def test_a_service_learns_how_large_a_packet_may_be(broker: Broker) -> None:
    settings = MqttSettings(host="127.0.0.1", port=broker.port, username="hall-1", password=PASSWORD)
    assert check_broker(settings, 5).max_packet == 16 << 20


def test_a_crowd_outside_keeps_no_line_out(broker: Broker) -> None:
    with Crowd(broker.tls_port, 450), client_of(broker, "hall-1") as service:
        assert may_write(service, ANOMALY.of("press-1"))


def connect_packet(user: str) -> bytes:
    """Of MQTT 3.1.1, with the tests' password."""
    texts = b"".join(len(text).to_bytes(2, "big") + text.encode() for text in ("stranger", user, PASSWORD))
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + texts
    return b"\x10" + bytes([len(body)]) + body

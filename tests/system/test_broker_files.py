"""The broker's files, in a real mosquitto: who may say and hear what."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.topics import ANOMALY, COMMAND, HEATMAP, PICTURE, REPLY, STATS, STATUS, SYNC, TOPICS, TRIGGER, Topic
from tests.support.mosquitto import binary, free_port, subscribe

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = "a password of the tests"
USERS = ("alfa-edge", "plc", "consumer")


@dataclass(frozen=True)
class Broker:
    port: int
    tls_port: int
    certificate: Path


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
    (folder / "mosquitto.acl").write_text((DEPLOY / "mosquitto.acl").read_text("utf-8"))
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


RIGHTS = {
    "alfa-edge": dict.fromkeys((ANOMALY, HEATMAP, PICTURE, STATUS, STATS, REPLY), "write")
    | {TRIGGER: "read", COMMAND: "read"},
    "plc": {TRIGGER: "write", COMMAND: "write", ANOMALY: "read", STATUS: "read", REPLY: "read"},
    "consumer": dict.fromkeys((ANOMALY, HEATMAP, PICTURE, STATUS, STATS, REPLY), "read"),
}


@pytest.mark.parametrize("user", USERS)
def test_each_user_may_write_what_is_theirs_and_nothing_else(broker: Broker, user: str) -> None:
    rights: dict[Topic, str] = RIGHTS[user]
    with client_of(broker, user) as client:
        for topic in (ANOMALY, HEATMAP, PICTURE, STATUS, STATS, REPLY, TRIGGER, COMMAND):
            assert may_write(client, topic.of("press-1")) == (rights.get(topic) == "write"), topic.pattern
        assert may_write(client, SYNC.of("press-1")) == (user == "alfa-edge")
        assert not may_write(client, "line/press-1/anomaly/forged")
        assert not may_write(client, "$SYS/broker/uptime")


@pytest.mark.parametrize("user", USERS)
def test_each_user_hears_what_is_theirs_and_nothing_else(broker: Broker, user: str) -> None:
    heard = {topic.of("hall-2") for topic, right in RIGHTS[user].items() if right == "read"}
    heard |= {SYNC.of("hall-2"), STATS.of("hall-2")} if user == "alfa-edge" else set()
    with (
        subscribe(broker.port, "line/#", user=user, password=PASSWORD) as subscription,
        client_of(broker, "alfa-edge") as service,
        client_of(broker, "plc") as plc,
    ):
        for topic in (ANOMALY, HEATMAP, PICTURE, STATUS, STATS, REPLY):
            assert may_write(service, topic.of("hall-2"))
        assert may_write(service, SYNC.of("hall-2"))
        for topic in (TRIGGER, COMMAND):
            assert may_write(plc, topic.of("hall-2"))
        subscription.wait(len(heard), 10)
        time.sleep(0.2)  # for what must not come
        assert {message.topic for message in subscription.messages} == heard


def test_every_topic_of_the_service_is_allowed() -> None:
    text = (DEPLOY / "mosquitto.acl").read_text("utf-8")
    service = text.partition("user alfa-edge\n")[2].partition("\nuser ")[0]
    for topic in TOPICS:
        verb = "readwrite" if topic in (SYNC, STATS) else {"out": "write", "in": "read"}[topic.direction]
        assert f"topic {verb} {topic.wildcard}\n" in service, topic.pattern


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
        client_of(broker, "alfa-edge") as service,
    ):
        service.publish(HEATMAP.of("press-1"), bytes(12_000_000), 1)
        [message] = subscription.wait(1, 20)
        assert len(message.payload) == 12_000_000

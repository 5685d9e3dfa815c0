"""Triggers and commands over a real broker to a running service, good ones and bad ones."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.clock import monotonic
from edge.mqtt.inbound import InboundMessage, Receiver
from edge.storage.verdict_database import MessageIdentity
from tests.support.mosquitto import Mosquitto, eventually
from tests.support.running import Running, service


@pytest.fixture
def running(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Running]:
    with service(mosquitto, tmp_path, mode="trigger", deadline_ms=20_000) as one:
        yield one


@pytest.fixture
def plc(mosquitto: Mosquitto) -> Iterator[Client]:
    client = Client(CallbackAPIVersion.VERSION2, client_id="plc")
    client.connect(mosquitto.host, mosquitto.port)
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()


def receivers(running: Running) -> Mapping[str, Receiver]:
    """What takes the messages, once the lines are there."""
    eventually(lambda: running.service._router._receivers is not None, 30)
    return cast(Mapping[str, Receiver], running.service._router._receivers)


def replies(running: Running, count: int) -> list[dict[str, Any]]:
    eventually(lambda: len(running.messages.of("line/one/reply")) >= count, 30)
    return [json.loads(one.payload) for one in running.messages.of("line/one/reply")]


def test_each_trigger_gets_its_verdict(running: Running, plc: Client) -> None:
    for number in range(5):
        plc.publish("line/one/trigger", json.dumps({"part_id": f"part-{number}", "unknown": 1}), qos=1)
    eventually(lambda: len(running.verdicts()) == 5, 30)
    assert [one["part_id"] for one in running.verdicts()] == [f"part-{number}" for number in range(5)]
    assert [one["seq"] for one in running.verdicts()] == [1, 2, 3, 4, 5]
    assert {one["mode"] for one in running.verdicts()} == {"trigger"}
    assert all(one["verdict"] != "error" for one in running.verdicts())


def test_a_part_that_was_there_too_long_ago_is_answered_and_not_judged(running: Running, plc: Client) -> None:
    plc.publish("line/one/trigger", json.dumps({"part_id": "old", "at": "2026-01-31T06:00:00Z"}), qos=1)
    eventually(lambda: len(running.verdicts()) == 1, 30)
    assert running.verdicts()[0]["error"]["code"] == "late"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"part-1",
        b"{}",
        b"[]",
        b'{"part_id": ""}',
        b'{"part_id": [7]}',
        b'{"part_id": "x", "deadline_ms": 1}',
        b'{"part_id": "x", "at": "yesterday"}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_what_is_no_trigger_is_refused_and_answered(running: Running, plc: Client, payload: bytes) -> None:
    plc.publish("line/one/trigger", payload, qos=1)
    plc.publish("line/one/trigger", json.dumps({"part_id": "good"}), qos=1)
    assert replies(running, 1)[0]["refusal"]["code"] == "bad_trigger"
    eventually(lambda: len(running.verdicts()) == 1, 30)
    assert running.verdicts()[0]["part_id"] == "good"


def test_machines_pause_and_change_the_recipe_and_nothing_else(running: Running, plc: Client) -> None:
    for message in (
        {"id": "1", "command": "pause"},
        {"id": "2", "command": "resume"},
        {"id": "3", "command": "recipe_set", "arguments": {"pack": "tile"}},
        {"id": "5", "command": "backup", "arguments": {"folder": "/tmp"}},
        {"id": "6", "command": "recipe_set", "arguments": {"pack": "nothing-like-it"}},
        {"id": "7", "command": "pause", "arguments": {"line": "two"}},
        {"command": 7},
    ):
        plc.publish("line/one/command", json.dumps(message), qos=1)
    found = {one["id"]: one for one in replies(running, 7)}
    assert found["1"]["result"] == {"state": "paused"}
    assert found["2"]["result"]["state"] in ("ready", "running")
    assert found["3"]["result"]["recipe"]["pack"] == "tile"
    plc.publish("line/one/command", json.dumps({"id": "4", "command": "status"}), qos=1)
    asked = replies(running, 8)[7]
    assert asked["id"] == "4"
    assert asked["result"]["lines"]["one"]["recipe"]["pack"] == "tile"
    assert found["5"]["refusal"]["code"] == "unknown_command"
    assert found["6"]["refusal"]["code"] in ("refused", "failed")
    assert found["7"]["result"] == {"state": "paused"}, "a machine speaks of its own line only"
    assert found["-"]["refusal"]["code"] == "bad_command"
    assert "mqtt" in {one["who"] for one in running.ask("audit")["entries"]}


def test_triggers_while_the_service_starts_are_answered_late(mosquitto: Mosquitto, tmp_path: Path, plc: Client) -> None:
    with service(mosquitto, tmp_path, mode="trigger"):
        pass  # from now on the broker keeps what comes for it
    plc.publish("line/one/trigger", json.dumps({"part_id": "meanwhile"}), qos=1).wait_for_publish(5)
    time.sleep(0.2)
    with service(mosquitto, tmp_path, mode="trigger", deadline_ms=20_000) as one:
        eventually(lambda: len(one.verdicts()) == 1, 30)
        assert one.verdicts()[0]["part_id"] == "meanwhile"
        assert one.verdicts()[0]["error"]["code"] == "late"
        plc.publish("line/one/trigger", json.dumps({"part_id": "fresh"}), qos=1)
        eventually(lambda: len(one.verdicts()) == 2, 30)
        assert one.verdicts()[1]["verdict"] != "error"


class Origin:
    """Where messages of a test come from; it notes what is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.broken = False

    def acknowledge(self, packet: int, _trigger: int | None) -> None:
        if self.broken:
            raise OSError("Bad file descriptor")
        self.acknowledged.append(packet)


def repeated(origin: Origin, packet: int, part: str) -> InboundMessage:
    """A trigger that the broker sends again."""
    payload = json.dumps({"part_id": part, "deadline_ms": 1000}).encode()
    identity = MessageIdentity("one", f"connection-{packet}", packet, part, repeated=True)
    return InboundMessage("one", "trigger", payload, monotonic(), 0.0, identity, origin)


def test_a_repetition_in_doubt_is_answered_in_time_though_the_disk_is_slow(running: Running) -> None:
    line = running.service.lines["one"]
    line.trigger("warm").answer.result(30)
    triggers, origin = receivers(running), Origin()
    writer, go = line._services.outbox._writer, threading.Event()
    writer.submit(lambda _: go.wait(30))
    began = time.monotonic()
    triggers["trigger"].receive(repeated(origin, 1, "part-1"))
    eventually(lambda: len(running.verdicts()) == 2, 10)
    took = time.monotonic() - began
    go.set()
    assert took < 1.5
    assert running.verdicts()[-1]["error"]["code"] == "state_failed"
    line.trigger("next").answer.result(30)
    eventually(lambda: not line._services.outbox.keeps("one") and len(running.verdicts()) == 3, 10)
    assert [one["part_id"] for one in running.verdicts()] == ["warm", "part-1", "next"]
    assert line.stats().open == 0


def test_a_part_is_not_lost_where_its_message_cannot_be_acknowledged(running: Running) -> None:
    triggers, origin = receivers(running), Origin()
    origin.broken = True
    triggers["trigger"].receive(repeated(origin, 1, "part-1"))
    eventually(lambda: len(running.verdicts()) == 1, 10)
    origin.broken = False
    again = repeated(origin, 1, "part-1")
    again = replace(again, identity=replace(again.identity, connection="another"))
    triggers["trigger"].receive(again)
    eventually(lambda: origin.acknowledged == [1], 10)
    time.sleep(1.3)
    assert len(running.verdicts()) == 1  # it has its answer
    assert running.service.lines["one"].stats().open == 0

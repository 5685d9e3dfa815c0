"""Triggers and commands over a real broker to a running service, good ones and bad ones."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

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

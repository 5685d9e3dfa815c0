"""Fault 3: a broker that takes the user for the client's id, and two lines with one user."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.mqtt import subscriptions
from edge.mqtt.inbound import Router
from edge.topics import TRIGGER
from tests.support.mosquitto import Mosquitto, client, eventually
from tests.support.publisher import LINE, Notes, Publishers, connected

OTHER = "press-2"
USERS = {"edge": "secret", "plc": "secret"}
LINES = (LINE, OTHER)


@contextmanager
def client_of(port: int, user: str, **options: Any) -> Iterator[tuple[Client, list[bytes]]]:
    """A client of the user, connected, and what comes for it."""
    made, ready = Client(CallbackAPIVersion.VERSION2, client_id=user, **options), threading.Event()
    heard: list[bytes] = []
    made.username_pw_set(user, USERS[user])
    made.on_connect = lambda *_: ready.set()
    made.on_message = lambda _client, _, message: heard.append(bytes(message.payload))
    made.connect("127.0.0.1", port)
    made.loop_start()
    try:
        assert ready.wait(10)
        yield made, heard
    finally:
        made.disconnect()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_triggers_of_both_lines_reach_the_router_and_people_are_told(
    publisher_of: Publishers, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    caplog.set_level(logging.INFO)
    notes = Notes()
    account: dict[str, Any] = {"username": "edge", "password": USERS["edge"], "version": version}
    with Mosquitto(users=USERS, listener_options=["use_username_as_clientid true"]) as broker:
        router = Router(LINES, publisher_of.alarms)
        publishers = {line: publisher_of.make(broker.port, line, router, **account) for line in LINES}
        router.open(notes, notes, publishers)
        for publisher in publishers.values():
            publisher.start()
        eventually(lambda: any(publisher.connected for publisher in publishers.values()))
        time.sleep(0.5)  # both have subscribed
        began, sent = time.monotonic(), set()
        with client_of(broker.port, "plc") as (machine, _):
            for number in range(40):
                line, payload = LINES[number % 2], b"%d" % number
                machine.publish(TRIGGER.of(line), payload, 1).wait_for_publish(5)
                sent.add((line, payload))
                time.sleep(0.15)
        eventually(lambda: {(message.line, message.payload) for message in notes.taken} == sent)
        assert {(message.line, message.payload) for message in notes.taken} == sent
        alarms = [text for line in LINES if (text := publisher_of.alarm("broker_losses", line)) is not None]
        assert alarms
        assert all("the broker takes the user for the id" in text for text in alarms)
        made = [record for record in caplog.records if record.getMessage().startswith("connected to the broker")]
        assert len(made) < 3 * (time.monotonic() - began)  # the old service: ten a second
        for publisher in publishers.values():
            publisher.stop(timeout_s=0.5)
        with client_of(broker.port, "edge", clean_session=False) as (_, left):
            time.sleep(0.5)
            assert left == []  # all were acknowledged


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_message_of_another_box_is_left_for_it(publisher_of: Publishers, version: str) -> None:
    """Two boxes with one user: what comes to the wrong one comes to the right one later."""
    account: dict[str, Any] = {"username": "edge", "password": USERS["edge"], "version": version}
    with Mosquitto(users=USERS, listener_options=["use_username_as_clientid true"]) as broker:
        boxes = {line: Notes() for line in LINES}
        publishers = {}
        for line, notes in boxes.items():
            router = Router([line], publisher_of.alarms)
            publishers[line] = publisher_of.make(broker.port, line, router, **account)
            router.open(notes, notes, {line: publishers[line]})
            publishers[line].start()
        eventually(lambda: any(publisher.connected for publisher in publishers.values()))
        time.sleep(0.5)  # both have subscribed
        sent: dict[str, set[bytes]] = {line: set() for line in LINES}
        with client_of(broker.port, "plc") as (machine, _):
            for number in range(12):
                line, payload = LINES[number % 2], b"%d" % number
                machine.publish(TRIGGER.of(line), payload, 1).wait_for_publish(5)
                sent[line].add(payload)
                time.sleep(0.1)
        eventually(lambda: all({m.payload for m in boxes[line].taken} == sent[line] for line in LINES), 30)
        assert any("who else has the client id?" in str(publisher_of.alarm("messages_refused", line)) for line in LINES)


def test_what_belongs_to_nobody_does_not_block_the_broker_for_ever(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session has subscriptions of a box that is no more; a broker sends few messages without a PUBACK."""
    monkeypatch.setattr(subscriptions, "_STRANGE_S", 0.5)
    notes = Notes()
    publisher = publisher_of(mosquitto.port, notes, version="3.1.1")
    former = Client(CallbackAPIVersion.VERSION2, client_id=publisher._client._name, clean_session=False)
    former.on_connect = lambda *_: former.subscribe(TRIGGER.of("gone"), 1)
    former.on_subscribe = lambda *_: former.disconnect()
    former.connect("127.0.0.1", mosquitto.port)
    former.loop_forever()
    publisher.start()
    connected(publisher)
    with client(mosquitto.port) as machine:
        for _ in range(40):
            machine.publish(TRIGGER.of("gone"), b"x", 1).wait_for_publish(5)
        machine.publish(TRIGGER.of(LINE), b"mine", 1).wait_for_publish(5)
        eventually(lambda: [message.payload for message in notes.taken] == [b"mine"])
    assert publisher.rejected == {"unexpected": 40}

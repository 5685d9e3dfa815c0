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

from edge.mqtt.inbound import Router
from edge.topics import TRIGGER
from tests.support.mosquitto import Mosquitto, eventually
from tests.support.publisher import LINE, Notes, Publishers

OTHER = "press-2"
USERS = {"edge": "secret", "plc": "secret"}
LINES = (LINE, OTHER)


@contextmanager
def client_of(port: int, user: str, **options: Any) -> Iterator[tuple[Client, list[bytes]]]:
    """A client of the user, connected, and what comes for it."""
    client, heard, ready = Client(CallbackAPIVersion.VERSION2, client_id=user, **options), [], threading.Event()
    client.username_pw_set(user, USERS[user])
    client.on_connect = lambda *_: ready.set()
    client.on_message = lambda _client, _, message: heard.append(bytes(message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert ready.wait(10)
        yield client, heard
    finally:
        client.disconnect()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_triggers_of_both_lines_reach_the_router_and_people_are_told(
    publisher_of: Publishers, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    caplog.set_level(logging.INFO)
    notes = Notes()
    account: dict[str, Any] = {"username": "edge", "password": USERS["edge"], "version": version}
    with Mosquitto(users=USERS, options=["use_username_as_clientid true"]) as broker:
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

"""A machine, or somebody else, that sends thousands of messages that make no sense."""

from __future__ import annotations

import random

import pytest

from edge.incoming import MessageError
from edge.mqtt.inbound import InboundMessage
from tests.support.mosquitto import Mosquitto, client, eventually, subscribe
from tests.support.publisher import ANOMALY, COMMAND, LINE, SYNC, TRIGGER, Publishers, connected, ids, verdicts

MESSAGES = 2000


class Strict:
    """Takes nothing of it, and fails on some."""

    def __init__(self) -> None:
        self.taken = 0

    def receive(self, message: InboundMessage) -> None:
        self.taken += 1
        if message.kind == "command":
            raise MessageError("bad_command", "no command")
        if self.taken % 50 == 0:
            raise RecursionError("nested too deeply")
        raise MessageError("bad_trigger", "no trigger")


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_verdicts_go_out_meanwhile(mosquitto: Mosquitto, publisher_of: Publishers, version: str) -> None:
    receiver = Strict()
    publisher = publisher_of(mosquitto.port, receiver, version=version, max_message_kb=1)
    publisher.start()
    connected(publisher)
    eventually(lambda: publisher.state.last_puback_age_s is not None)
    network = publisher._client._network
    draw = random.Random(7)
    payloads = (b"", b"\xff\xfe", b"{", b"[" * 1000, b'{"part_id": "' + b"x" * 900, bytes(1025), bytes(60_000), b"\x00")
    with client(mosquitto.port) as machine, subscribe(mosquitto.port, ANOMALY) as listener:
        for number in range(MESSAGES):
            topic = draw.choice((TRIGGER, COMMAND, SYNC))
            machine.publish(topic, draw.choice(payloads), draw.choice((0, 1, 1, 2)), draw.random() < 0.1)
            if number % 100 == 0:
                publisher_of.issue(publisher)
        last = machine.publish(TRIGGER, b"last", 1)
        last.wait_for_publish(20)
        listener.until(verdicts(MESSAGES // 100), 20)
    eventually(lambda: receiver.taken + sum(publisher.rejected.values()) > MESSAGES // 2, 20)
    eventually(lambda: publisher.acknowledged == MESSAGES // 100)
    assert publisher.connected
    assert publisher._client._network is network
    assert network is not None
    assert network.is_alive()
    assert set(publisher.rejected) == {"bad_trigger", "bad_command", "too_large", "internal"}
    assert len(set(ids(listener))) == MESSAGES // 100
    assert {alarm.code for alarm in publisher_of.alarms.of(LINE)} == {"messages_refused"}

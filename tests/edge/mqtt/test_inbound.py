"""The one way for triggers and commands, during the start, while the service runs, and after its end."""

from __future__ import annotations

import json
import threading
from typing import Any, Literal

import pytest

from edge.incoming import MessageError, read_command, read_trigger
from edge.mqtt import inbound
from edge.mqtt.inbound import InboundMessage, Router
from edge.ops.alarms import Alarms
from edge.storage.verdict_tables import MessageIdentity
from tests.support.mosquitto import Mosquitto, client, eventually, subscribe
from tests.support.publisher import COMMAND, LINE, REPLY, TRIGGER, Notes, Publishers, connected

OTHER = "press-2"


class Connection:
    """Notes what is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[int, int | None]] = []

    def acknowledge(self, packet: int, trigger: int | None) -> None:
        self.acknowledged.append((packet, trigger))


class Replies:
    """Notes what a line replies."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def publish_reply(self, payload: bytes) -> None:
        self.said.append(json.loads(payload))


class Reader:
    """Reads messages as the service does, then drops them."""

    def receive(self, message: InboundMessage) -> None:
        if message.kind == "trigger":
            read_trigger(message.payload)
        else:
            read_command(message.payload)
        message.acknowledge(7)


class Hall:
    """A router with two lines."""

    def __init__(self) -> None:
        self.alarms = Alarms()
        self.router = Router([LINE, OTHER], self.alarms)
        self.connection = Connection()
        self.replies = {LINE: Replies(), OTHER: Replies()}
        self._packet = 0

    def message(
        self, payload: bytes, line: str = LINE, kind: Literal["trigger", "command"] = "trigger", qos: int = 1
    ) -> InboundMessage:
        self._packet += 1
        identity = MessageIdentity(line, "a", self._packet, "", False) if qos else None
        return InboundMessage(line, kind, payload, 0.0, 0.0, identity, self.connection)


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_what_comes_before_the_start_is_kept_in_order_and_takes_the_same_way(hall: Hall) -> None:
    triggers, commands = Notes(), Notes()
    kept = [hall.message(b"%d" % number, (LINE, OTHER)[number % 2]) for number in range(10)]
    for message in kept:
        hall.router.receive(message)
    command = hall.message(b"{}", OTHER, "command")
    hall.router.receive(command)
    assert hall.connection.acknowledged == []
    hall.router.open(triggers, commands, hall.replies)
    live = hall.message(b"live")
    hall.router.receive(live)
    assert triggers.taken == [*kept, live]
    assert commands.taken == [command]
    assert [packet for packet, _ in hall.connection.acknowledged] == [*range(1, 13)]


def test_what_comes_while_it_is_opened_comes_after_what_was_kept(hall: Hall) -> None:
    class Slow(Notes):
        def receive(self, message: InboundMessage) -> None:
            if not self.taken:
                thread = threading.Thread(target=hall.router.receive, args=(late,))
                thread.start()
                thread.join(5)
            super().receive(message)

    triggers, kept, late = Slow(), [hall.message(b"1"), hall.message(b"2")], hall.message(b"3")
    for message in kept:
        hall.router.receive(message)
    hall.router.open(triggers, Notes(), hall.replies)
    assert triggers.taken == [*kept, late]


@pytest.mark.parametrize("opened", [False, True])
def test_after_the_close_all_is_left_at_the_broker(hall: Hall, opened: bool) -> None:
    triggers = Notes()
    if opened:
        hall.router.open(triggers, triggers, hall.replies)
    else:
        hall.router.receive(hall.message(b"kept"))
    hall.router.close()
    hall.router.close()
    hall.router.receive(hall.message(b"late"))
    hall.router.receive(hall.message(b"late", kind="command"))
    hall.router.open(triggers, triggers, hall.replies)
    assert (triggers.taken, hall.connection.acknowledged) == ([], [])
    assert hall.router.rejected(LINE) == {}


BAD: list[tuple[Literal["trigger", "command"], bytes, str]] = [
    ("command", b"pause", "-"),
    ("command", b'{"command": "stop", "id": "\\ud800"}', "-"),
    ("command", b'{"id": "7", "command": ""}', "7"),
    ("command", b'{"id": 7, "command": [1e999]}', "7"),
    ("command", b"[" * 100_000, "-"),
    ("trigger", b"", "-"),
    ("trigger", b'{"part_id": "\\udfff"}', "-"),
    ("trigger", b"\xff\xfe", "-"),
    ("trigger", b'{"id": "9", "deadline_ms": 3}', "9"),
]


@pytest.mark.parametrize(("kind", "payload", "caller"), BAD, ids=[f"{kind}-{text[:24]!r}" for kind, text, _ in BAD])
@pytest.mark.parametrize("when", ["kept", "live"])
def test_one_that_is_none_is_counted_replied_with_its_id_and_acknowledged(
    hall: Hall, kind: Literal["trigger", "command"], payload: bytes, caller: str, when: str
) -> None:
    """Fault 1: such a command, repeated by the broker, ended the whole service at each start."""
    message = hall.message(payload, OTHER, kind)
    if when == "kept":
        hall.router.receive(message)
    hall.router.open(Reader(), Reader(), hall.replies)
    if when == "live":
        hall.router.receive(message)
    assert hall.router.rejected(OTHER) == {f"bad_{kind}": 1}
    assert hall.router.rejected(LINE) == {}
    (reply,) = hall.replies[OTHER].said
    assert reply["id"] == caller
    assert reply["refusal"]["code"] == f"bad_{kind}"
    assert hall.replies[LINE].said == []
    assert hall.connection.acknowledged == [(1, None)]
    (alarm,) = hall.alarms.of(OTHER)
    assert (alarm.code, alarm.line) == ("messages_refused", OTHER)
    assert alarm.message.startswith(f"a {kind} was refused: no {kind}: ")


def test_the_failure_of_a_receiver_costs_that_message_only(hall: Hall, caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Notes):
        def receive(self, message: InboundMessage) -> None:
            if message.payload == b"bad":
                raise ZeroDivisionError("by zero")
            super().receive(message)

    receiver = Fails()
    hall.router.open(receiver, receiver, hall.replies)
    for payload in (b"1", b"bad", b"2"):
        hall.router.receive(hall.message(payload))
    assert [message.payload for message in receiver.taken] == [b"1", b"2"]
    assert hall.router.rejected(LINE) == {"internal": 1}
    assert hall.replies[LINE].said[0]["refusal"] == {
        "code": "internal",
        "message": "internal error: ZeroDivisionError: by zero",
    }
    assert [packet for packet, _ in hall.connection.acknowledged] == [1, 2, 3]
    failed = [record for record in caplog.records if record.exc_info]
    assert [getattr(record, "line", None) for record in failed] == [LINE]


def test_a_message_is_acknowledged_once_and_one_without_qos_never(hall: Hall) -> None:
    message, loose = hall.message(b""), hall.message(b"", qos=0)
    threads = [threading.Thread(target=message.acknowledge, args=(3,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loose.acknowledge(4)
    assert hall.connection.acknowledged == [(1, 3)]


def test_what_is_kept_is_bounded_and_the_rest_is_counted(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "_MOST", 3)
    for number in range(5):
        hall.router.receive(hall.message(b"%d" % number))
    assert hall.router.rejected(LINE) == {"too_many": 2}
    triggers = Notes()
    hall.router.open(triggers, triggers, hall.replies)
    assert [message.payload for message in triggers.taken] == [b"0", b"1", b"2"]
    assert len(hall.connection.acknowledged) == 3  # the others may come again


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_with_a_real_broker(mosquitto: Mosquitto, publisher_of: Publishers, version: str) -> None:
    router = Router([LINE], publisher_of.alarms)
    publisher = publisher_of.make(mosquitto.port, LINE, router, version=version)
    publisher.start()
    connected(publisher)
    eventually(lambda: publisher.state.last_puback_age_s is not None)
    with subscribe(mosquitto.port, REPLY) as replies, client(mosquitto.port) as machine:
        machine.publish(COMMAND, b"pause", 1).wait_for_publish(5)
        machine.publish(TRIGGER, b'{"part_id": "a"}', 1).wait_for_publish(5)
        publisher.stop()  # nothing was acknowledged: all comes again in the next run
        second = publisher_of.make(mosquitto.port, LINE, router := Router([LINE], publisher_of.alarms), version=version)
        second.start()
        connected(second)
        router.open(Reader(), Reader(), {LINE: second})
        (reply,) = replies.wait(1)
        assert json.loads(reply.payload)["refusal"]["code"] == "bad_command"
        router.close()
        machine.publish(TRIGGER, b'{"part_id": "b"}', 1).wait_for_publish(5)
        second.stop()
    notes = Notes()
    third = publisher_of(mosquitto.port, notes, version=version)
    third.start()
    eventually(lambda: [message.payload for message in notes.taken] == [b'{"part_id": "b"}'])
    assert third.rejected == {}


def test_an_error_says_nothing_that_cannot_be_sent(hall: Hall) -> None:
    class Odd:
        def receive(self, message: InboundMessage) -> None:
            raise MessageError("bad_trigger", message.payload.decode("utf-8", "surrogateescape"), "\ud800")

    hall.router.open(Odd(), Odd(), hall.replies)
    hall.router.receive(hall.message(b"\xff"))
    assert hall.router.rejected(LINE) == {"bad_trigger": 1}
    assert hall.connection.acknowledged == [(1, None)]
    assert len(hall.replies[LINE].said) == 1


def test_nothing_follows_messages_that_were_left_at_the_broker() -> None:
    done: list[str] = []
    router = Router(["one"], Alarms())
    router.then(lambda: done.append("kept"))
    router.close()
    router.then(lambda: done.append("after the end"))
    assert done == []

"""What the publisher is told: triggers and commands, old and new, once and again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.mqtt import freshness as marker
from edge.mqtt.publisher import Publisher
from tests.support.mosquitto import Mosquitto, client, eventually, subscribe
from tests.support.publisher import COMMAND, LINE, REPLY, SYNC, TRIGGER, Notes, Publishers, connected
from tests.support.stub_broker import StubBroker

VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


def say(port: int, *messages: tuple[str, bytes], retain: bool = False, five: bool = False) -> None:
    with client(port, five=five) as machine:
        for topic, payload in messages:
            machine.publish(topic, payload, 1, retain).wait_for_publish(5)


def listening(publisher: Publisher) -> None:
    """Subscribed, and done with what is old."""
    connected(publisher)
    with publisher._link.sending:  # the status was sent
        pass
    eventually(lambda: not publisher._flight.awaited)  # and, after the subscriptions, acknowledged
    eventually(lambda: publisher._intake is not None and not publisher._intake.sorting)


@VERSIONS
def test_triggers_and_commands_come_in(mosquitto: Mosquitto, publisher_of: Publishers, version: str) -> None:
    inbox = Notes()
    publisher = publisher_of(mosquitto.port, inbox, version=version)
    publisher.start()
    listening(publisher)
    say(mosquitto.port, (TRIGGER, b'{"part_id": "a"}'), (COMMAND, b"{}"), (TRIGGER, b""))
    eventually(lambda: len(inbox.taken) == 3)
    assert inbox.taken == [Taken(b'{"part_id": "a"}', False), Taken(b"{}", False), Taken(b"", False)]
    assert publisher.rejected == {}
    assert publisher.state.trouble is None
    with subscribe(mosquitto.port, REPLY) as listener:
        publisher.publish_reply(b"done")
        (reply,) = listener.wait(1)
    assert (reply.payload, reply.qos, reply.retained) == (b"done", 1, False)


def test_replies_wait_for_a_connection(publisher_of: Publishers) -> None:
    with Mosquitto(start=False) as broker:
        publisher = publisher_of(broker.port, Notes())
        publisher.start()
        for number in range(20):
            publisher.publish_reply(b"%d" % number)
        broker.start()
        with subscribe(broker.port, REPLY) as listener:
            assert [message.payload for message in listener.wait(16)] == [b"%d" % number for number in range(4, 20)]


@VERSIONS
def test_a_trigger_is_acknowledged_when_it_is_on_disk(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    """Until then the broker keeps it for the next connection."""
    inbox = Notes(waits=True)
    publisher = publisher_of(mosquitto.port, inbox, version=version)
    publisher.start()
    listening(publisher)
    say(mosquitto.port, (TRIGGER, b"first"), (TRIGGER, b"second"))
    eventually(lambda: len(inbox.taken) == 2)
    inbox.futures[0].set_result(None)
    publisher_of.issue(publisher)
    eventually(lambda: publisher.acknowledged == 1)  # the broker, which reads in order, has the acknowledgement too
    publisher._link.drop("as if the network had failed")
    eventually(lambda: len(inbox.taken) == 3)
    assert inbox.taken[2] == Taken(b"second", stale=True, again=True)
    listening(publisher)
    inbox.futures[1].set_exception(OSError("too late"))  # of the connection that is gone: acknowledges nothing
    inbox.futures[2].set_result(None)
    publisher_of.issue(publisher)
    eventually(lambda: publisher.acknowledged == 2)
    publisher._link.drop("once more")
    listening(publisher)
    say(mosquitto.port, (TRIGGER, b"third"))
    eventually(lambda: len(inbox.taken) == 4)
    assert inbox.taken[3] == Taken(b"third", stale=False)


@VERSIONS
def test_what_waited_at_the_broker_is_stale_and_what_comes_then_is_not(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    inbox = Notes()
    first = publisher_of(mosquitto.port, inbox, version=version)
    first.start()
    listening(first)
    first.stop()
    kept = [(TRIGGER, b"kept %d" % number) for number in range(60)]  # more than a broker sends without acknowledgement
    say(mosquitto.port, *kept[:30], (COMMAND, b"kept"), *kept[30:])
    second = publisher_of(mosquitto.port, inbox, version=version)
    second.start()
    listening(second)
    say(mosquitto.port, (TRIGGER, b"fresh"))
    eventually(lambda: len(inbox.taken) == 62)
    assert [one.payload for one in inbox.taken if one.stale] == [
        *(payload for _, payload in kept[:30]),
        b"kept",
        *(payload for _, payload in kept[30:]),
    ]
    assert inbox.taken[-1] == Taken(b"fresh", stale=False)
    assert second.state.trouble is None


def test_nothing_is_stale_where_the_broker_keeps_no_session(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    inbox = Notes()
    publisher = publisher_of(mosquitto.port, inbox)
    with subscribe(mosquitto.port, SYNC) as listener:
        publisher.start()
        listening(publisher)
        assert listener.messages == []
    mosquitto.restart()
    listening(publisher)
    eventually(lambda: publisher.connected)
    say(mosquitto.port, (TRIGGER, b"fresh"))
    eventually(lambda: inbox.taken == [Taken(b"fresh", stale=False)])


def test_a_broker_that_restarts_with_its_memory_gives_what_it_kept_as_stale(publisher_of: Publishers) -> None:
    inbox = Notes()
    with Mosquitto(persistent=True) as broker:
        first = publisher_of(broker.port, inbox)
        first.start()
        listening(first)
        first.stop()
        say(broker.port, (TRIGGER, b"kept"))
        broker.restart()
        second = publisher_of(broker.port, inbox)
        second.start()
        eventually(lambda: inbox.taken == [Taken(b"kept", stale=True)])


def test_a_marker_that_does_not_come_back_is_a_state_and_old_messages_end_all_the_same(
    publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marker, "BACK_S", 0.5)
    inbox = Notes()
    acl = f"topic readwrite {TRIGGER}\ntopic readwrite line/{LINE}/status\ntopic write {SYNC}\n"
    with Mosquitto(acl=acl) as broker:
        first = publisher_of(broker.port, inbox)
        first.start()
        listening(first)
        first.stop()
        say(broker.port, (TRIGGER, b"kept"))
        second = publisher_of(broker.port, inbox)
        second.start()
        connected(second)
        eventually(lambda: f"{SYNC} does not come back" in str(second.state.trouble))
        say(broker.port, (TRIGGER, b"fresh"))
        eventually(lambda: len(inbox.taken) == 2)
    assert inbox.taken == [Taken(b"kept", stale=True), Taken(b"fresh", stale=False)]


def test_a_refused_subscription_is_a_state(publisher_of: Publishers) -> None:
    with StubBroker(granted=b"\x80\x01\x01") as broker:
        publisher = publisher_of(broker.port, Notes())
        publisher.start()
        eventually(lambda: publisher.state.trouble == f"the broker refuses {TRIGGER}: Unspecified error")
        assert publisher.connected


def test_without_commands_none_are_taken_not_even_from_an_older_session(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    inbox = Notes()
    first = publisher_of(mosquitto.port, inbox)
    first.start()
    listening(first)
    first.stop()
    say(mosquitto.port, (COMMAND, b"kept"))
    second = publisher_of(mosquitto.port, inbox, commands=False)
    second.start()
    listening(second)
    eventually(lambda: second.rejected == {"unexpected": 1})
    say(mosquitto.port, (COMMAND, b"more"), (TRIGGER, b"one"))
    eventually(lambda: inbox.taken == [Taken(b"one", stale=False)])
    assert second.rejected == {"unexpected": 1}


@VERSIONS
def test_retained_and_large_messages_are_refused_and_counted(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    inbox = Notes()
    say(mosquitto.port, (TRIGGER, b"retained"), (COMMAND, b"retained"), retain=True)
    publisher = publisher_of(mosquitto.port, inbox, version=version, max_message_kb=1)
    publisher.start()
    listening(publisher)
    eventually(lambda: publisher.rejected == {"retained": 2})
    say(mosquitto.port, (TRIGGER, bytes(1025)), (TRIGGER, bytes(1024)), (COMMAND, bytes(1_000_000)))
    eventually(lambda: publisher.rejected == {"retained": 2, "too_large": 2})
    eventually(lambda: inbox.taken == [Taken(bytes(1024), stale=False)])


def test_what_the_inbox_refuses_is_counted_and_its_failure_ends_nothing(
    mosquitto: Mosquitto, publisher_of: Publishers, caplog: pytest.LogCaptureFixture
) -> None:
    class Bad(Notes):
        def trigger(self, payload: bytes, *, again: bool, stale: bool) -> Future[Any] | None:
            raise ValueError("bad_trigger") if payload == b"bad" else ZeroDivisionError(payload.decode())

        def command(self, payload: bytes, *, stale: bool) -> None:
            raise ValueError("bad_command") if payload == b"bad" else ValueError("something else")

    publisher = publisher_of(mosquitto.port, Bad())
    publisher.start()
    listening(publisher)
    say(mosquitto.port, *[(topic, payload) for topic in (TRIGGER, COMMAND) for payload in (b"bad", b"worse")])
    eventually(lambda: publisher.rejected == {"bad_trigger": 1, "bad_command": 1, "internal": 2})
    assert publisher.connected
    assert "the inbox failed on a message" in caplog.text


def test_without_an_inbox_the_line_listens_to_nothing(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    with client(mosquitto.port) as machine:
        machine.publish(TRIGGER, b"x", 1).wait_for_publish(5)
    assert publisher.rejected == {}
    assert publisher.state.trouble is None


def test_a_message_that_cannot_be_read_does_not_come_back_for_ever(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    """paho takes a U+FEFF in a property for a fault of the broker's, and ends the connection at each delivery."""
    inbox = Notes()
    publisher = publisher_of(mosquitto.port, inbox, version="5")
    publisher.start()
    listening(publisher)
    with client(mosquitto.port, five=True) as machine:
        poison = Properties(PacketTypes.PUBLISH)
        poison.UserProperty = ("a", "\ufeff")
        machine.publish(TRIGGER, b"poison", 1, properties=poison).wait_for_publish(5)
    eventually(lambda: publisher.rejected == {"unreadable": 1})
    listening(publisher)
    say(mosquitto.port, (TRIGGER, b"after"))
    eventually(lambda: inbox.taken == [Taken(b"after", stale=False)])
    publisher.stop()
    say(mosquitto.port, (TRIGGER, b"kept"))  # the new session is kept as the old one was
    again = publisher_of(mosquitto.port, inbox, version="5")
    again.start()
    eventually(lambda: Taken(b"kept", stale=True) in inbox.taken)


def test_acknowledgements_come_from_any_thread(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    """As the outbox gives them."""
    inbox = Notes(waits=True)
    publisher = publisher_of(mosquitto.port, inbox)
    publisher.start()
    listening(publisher)

    def accept() -> None:
        done = 0
        while done < 100:
            for future in inbox.futures[done:]:
                future.set_result(None)
                done += 1
            time.sleep(0.001)

    worker = threading.Thread(target=accept, daemon=True)
    with client(mosquitto.port) as machine:
        worker.start()
        for number in range(100):
            machine.publish(TRIGGER, b"%d" % number, 1)
        worker.join(10)
    assert [one.payload for one in inbox.taken] == [b"%d" % number for number in range(100)]


def test_what_the_broker_held_back_while_nothing_was_acknowledged_is_stale(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the service starts, or its disk stands still."""
    monkeypatch.setattr(marker, "HELD_S", 0.2)
    inbox = Notes(waits=True)
    publisher = publisher_of(mosquitto.port, inbox)
    publisher.start()
    listening(publisher)
    with client(mosquitto.port) as machine:
        for number in range(50):
            machine.publish(TRIGGER, b"%d" % number, 1)
        eventually(lambda: len(inbox.taken) == 20)
        time.sleep(0.3)
        inbox.accept()
        eventually(lambda: len(inbox.taken) == 50)
        listening(publisher)
        machine.publish(TRIGGER, b"fresh", 1)
        eventually(lambda: len(inbox.taken) == 51)
    assert [one.stale for one in inbox.taken] == [False] * 20 + [True] * 30 + [False]
    assert publisher.state.trouble is None

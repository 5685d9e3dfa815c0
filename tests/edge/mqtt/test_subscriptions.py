"""What the publisher is told: triggers and commands, old and new, once and again."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.clock import utc_now
from edge.incoming import MessageError
from edge.mqtt import freshness
from edge.mqtt.inbound import InboundMessage
from edge.mqtt.property_text import read_text
from edge.mqtt.publisher import Publisher
from edge.storage.outbox import Outbox
from edge.storage.verdict_tables import Accepted
from tests.support.mosquitto import Mosquitto, client, eventually, subscribe
from tests.support.proxy import Proxy
from tests.support.publisher import COMMAND, LINE, REPLY, SYNC, TRIGGER, Notes, Publishers, Taken, connected
from tests.support.stub_broker import StubBroker

VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


def say(port: int, *messages: tuple[str, bytes], retain: bool = False, five: bool = False) -> None:
    with client(port, five=five) as machine:
        for topic, payload in messages:
            machine.publish(topic, payload, 1, retain).wait_for_publish(5)


def listening(publisher: Publisher) -> None:
    """Subscribed, and done with what is old."""
    connected(publisher)
    with publisher._client.sending:  # the status was sent
        pass
    eventually(lambda: not publisher._in_flight.awaited)  # and, after the subscriptions, acknowledged
    eventually(lambda: publisher.subscriptions is not None and not publisher.subscriptions.sorting)


@VERSIONS
def test_triggers_and_commands_come_in(mosquitto: Mosquitto, publisher_of: Publishers, version: str) -> None:
    notes = Notes()
    publisher = publisher_of(mosquitto.port, notes, version=version)
    publisher.start()
    listening(publisher)
    say(mosquitto.port, (TRIGGER, b'{"part_id": "a"}'), (COMMAND, b"{}"), (TRIGGER, b""))
    eventually(lambda: len(notes.taken) == 3)
    assert notes.heard == [Taken(b'{"part_id": "a"}', False), Taken(b"{}", False), Taken(b"", False)]
    assert publisher.rejected == {}
    assert publisher_of.alarms.of(LINE) == []
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
    notes = Notes(waits=True)
    publisher = publisher_of(mosquitto.port, notes, version=version)
    publisher.start()
    listening(publisher)
    say(mosquitto.port, (TRIGGER, b"first"), (TRIGGER, b"second"))
    eventually(lambda: len(notes.taken) == 2)
    notes.taken[0].acknowledge(1)
    publisher_of.issue(publisher)
    eventually(lambda: publisher.acknowledged == 1)  # the broker, which reads in order, has the acknowledgement too
    publisher._client.drop("as if the network had failed")
    eventually(lambda: len(notes.taken) == 3)
    assert notes.heard[2] == Taken(b"second", stale=True, again=True)
    listening(publisher)
    notes.taken[1].acknowledge(2)  # of the connection that is gone: acknowledges nothing
    notes.taken[2].acknowledge(2)
    publisher_of.issue(publisher)
    eventually(lambda: publisher.acknowledged == 2)
    publisher._client.drop("once more")
    listening(publisher)
    say(mosquitto.port, (TRIGGER, b"third"))
    eventually(lambda: len(notes.taken) == 4)
    assert notes.heard[3] == Taken(b"third", stale=False)


@VERSIONS
def test_what_waited_at_the_broker_is_stale_and_what_comes_then_is_not(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    notes = Notes()
    first = publisher_of(mosquitto.port, notes, version=version)
    first.start()
    listening(first)
    first.stop()
    kept = [(TRIGGER, b"kept %d" % number) for number in range(60)]  # more than a broker sends without acknowledgement
    say(mosquitto.port, *kept[:30], (COMMAND, b"kept"), *kept[30:])
    second = publisher_of(mosquitto.port, notes, version=version)
    second.start()
    listening(second)
    say(mosquitto.port, (TRIGGER, b"fresh"))
    eventually(lambda: len(notes.taken) == 62)
    assert [taken.payload for taken in notes.heard if taken.stale] == [
        *(payload for _, payload in kept[:30]),
        b"kept",
        *(payload for _, payload in kept[30:]),
    ]
    assert notes.heard[-1] == Taken(b"fresh", stale=False)
    assert publisher_of.alarms.of(LINE) == []


def test_nothing_is_stale_where_the_broker_keeps_no_session(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    notes = Notes()
    publisher = publisher_of(mosquitto.port, notes)
    with subscribe(mosquitto.port, SYNC) as listener:
        publisher.start()
        listening(publisher)
        assert listener.messages == []
    mosquitto.restart()
    listening(publisher)
    eventually(lambda: publisher.connected)
    say(mosquitto.port, (TRIGGER, b"fresh"))
    eventually(lambda: notes.heard == [Taken(b"fresh", stale=False)])


def test_a_broker_that_restarts_with_its_memory_gives_what_it_kept_as_stale(publisher_of: Publishers) -> None:
    notes = Notes()
    with Mosquitto(persistent=True) as broker:
        first = publisher_of(broker.port, notes)
        first.start()
        listening(first)
        first.stop()
        say(broker.port, (TRIGGER, b"kept"))
        broker.restart()
        second = publisher_of(broker.port, notes)
        second.start()
        eventually(lambda: notes.heard == [Taken(b"kept", stale=True)])


def test_a_sync_message_that_does_not_come_back_is_a_state_and_old_messages_end_all_the_same(
    publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "BACK_S", 0.5)
    notes = Notes()
    acl = f"topic readwrite {TRIGGER}\ntopic readwrite line/{LINE}/status\ntopic write {SYNC}\n"
    with Mosquitto(acl=acl) as broker:
        first = publisher_of(broker.port, notes)
        first.start()
        listening(first)
        first.stop()
        say(broker.port, (TRIGGER, b"kept"))
        second = publisher_of(broker.port, notes)
        second.start()
        connected(second)
        eventually(lambda: f"{SYNC} does not come back" in str(publisher_of.alarm("broker_order")))
        say(broker.port, (TRIGGER, b"fresh"))
        eventually(lambda: len(notes.taken) == 2)
    assert notes.heard == [Taken(b"kept", stale=True), Taken(b"fresh", stale=False)]


def test_a_refused_subscription_is_a_state(publisher_of: Publishers) -> None:
    with StubBroker(granted=b"\x80\x01\x01\x00") as broker:
        publisher = publisher_of(broker.port, Notes())
        publisher.start()
        eventually(lambda: publisher_of.alarm("broker_topic") == f"the broker refuses {TRIGGER}: Unspecified error")
        assert publisher.connected


def test_without_commands_none_are_taken_not_even_from_an_older_session(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    notes = Notes()
    first = publisher_of(mosquitto.port, notes)
    first.start()
    listening(first)
    first.stop()
    say(mosquitto.port, (COMMAND, b"kept"))
    second = publisher_of(mosquitto.port, notes, commands=False)
    second.start()
    listening(second)
    eventually(lambda: second.rejected == {"unexpected": 1})
    say(mosquitto.port, (COMMAND, b"more"), (TRIGGER, b"one"))
    eventually(lambda: notes.heard == [Taken(b"one", stale=False)])
    assert second.rejected == {"unexpected": 1}


@VERSIONS
def test_retained_and_large_messages_are_refused_and_counted(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    notes = Notes()
    say(mosquitto.port, (TRIGGER, b"retained"), (COMMAND, b"retained"), retain=True)
    publisher = publisher_of(mosquitto.port, notes, version=version, max_message_kb=1)
    publisher.start()
    listening(publisher)
    eventually(lambda: publisher.rejected == {"retained": 2})
    say(mosquitto.port, (TRIGGER, bytes(1025)), (TRIGGER, bytes(1024)), (COMMAND, bytes(1_000_000)))
    eventually(lambda: publisher.rejected == {"retained": 2, "too_large": 2})
    eventually(lambda: notes.heard == [Taken(bytes(1024), stale=False)])


def test_what_the_receiver_refuses_is_counted_and_its_failure_ends_nothing(
    mosquitto: Mosquitto, publisher_of: Publishers, caplog: pytest.LogCaptureFixture
) -> None:
    class Bad:
        def receive(self, message: InboundMessage) -> None:
            if message.payload == b"bad":
                raise MessageError(f"bad_{message.kind}", "it is none", "7")
            raise ZeroDivisionError(message.payload.decode())

    publisher = publisher_of(mosquitto.port, Bad())
    publisher.start()
    listening(publisher)
    say(mosquitto.port, *[(topic, payload) for topic in (TRIGGER, COMMAND) for payload in (b"bad", b"worse")])
    eventually(lambda: publisher.rejected == {"bad_trigger": 1, "bad_command": 1, "internal": 2})
    assert publisher.connected
    assert "a trigger could not be taken" in caplog.text
    assert "a command could not be taken" in caplog.text


def test_without_a_router_the_line_listens_to_nothing(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    with client(mosquitto.port) as machine:
        machine.publish(TRIGGER, b"x", 1).wait_for_publish(5)
    assert publisher.rejected == {}
    assert publisher_of.alarms.of(LINE) == []


def test_a_message_that_cannot_be_read_does_not_come_back_for_ever(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """paho takes it for a fault of the broker's, and ends the connection at each delivery."""

    def refuses(buffer: bytes, most: int) -> tuple[str, int]:
        if buffer[2:8] == b"poison":
            raise MalformedPacket("as of this test")
        return read_text(buffer, most)

    monkeypatch.setattr("paho.mqtt.properties.readUTF", refuses)
    notes = Notes()
    publisher = publisher_of(mosquitto.port, notes, version="5")
    publisher.start()
    listening(publisher)
    with client(mosquitto.port, five=True) as machine:
        poison = Properties(PacketTypes.PUBLISH)
        poison.UserProperty = ("a", "poison")
        machine.publish(TRIGGER, b"poison", 1, properties=poison).wait_for_publish(5)
    eventually(lambda: publisher.rejected == {"unreadable": 1})
    listening(publisher)
    say(mosquitto.port, (TRIGGER, b"after"))
    eventually(lambda: notes.heard == [Taken(b"after", stale=False)])
    publisher.stop()
    say(mosquitto.port, (TRIGGER, b"kept"))  # the new session is kept as the old one was
    again = publisher_of(mosquitto.port, notes, version="5")
    again.start()
    eventually(lambda: Taken(b"kept", stale=True) in notes.heard)


def test_acknowledgements_come_from_any_thread(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    """As the outbox gives them."""
    notes = Notes(waits=True)
    publisher = publisher_of(mosquitto.port, notes)
    publisher.start()
    listening(publisher)

    def accept() -> None:
        done = 0
        while done < 100:
            for message in notes.taken[done:]:
                message.acknowledge(1)
                done += 1
            time.sleep(0.001)

    worker = threading.Thread(target=accept, daemon=True)
    with client(mosquitto.port) as machine:
        worker.start()
        for number in range(100):
            machine.publish(TRIGGER, b"%d" % number, 1)
        worker.join(10)
    assert [taken.payload for taken in notes.heard] == [b"%d" % number for number in range(100)]


def test_what_the_broker_held_back_while_nothing_was_acknowledged_is_stale(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the service starts, or its disk stands still."""
    monkeypatch.setattr(freshness, "HELD_S", 0.2)
    notes = Notes(waits=True)
    publisher = publisher_of(mosquitto.port, notes)
    publisher.start()
    listening(publisher)
    with client(mosquitto.port) as machine:
        for number in range(50):
            machine.publish(TRIGGER, b"%d" % number, 1)
        eventually(lambda: len(notes.taken) == 20)
        time.sleep(0.3)
        notes.accept()
        eventually(lambda: len(notes.taken) == 50)
        listening(publisher)
        machine.publish(TRIGGER, b"fresh", 1)
        eventually(lambda: len(notes.taken) == 51)
    assert [taken.stale for taken in notes.heard] == [False] * 20 + [True] * 30 + [False]
    assert publisher_of.alarms.of(LINE) == []


class Disk:
    """Has each trigger written to the outbox, and acknowledges it then, as the service does."""

    def __init__(self, outbox: Outbox) -> None:
        self.accepted: list[tuple[InboundMessage, Accepted]] = []
        self.came: list[InboundMessage] = []
        self._outbox = outbox

    def receive(self, message: InboundMessage) -> None:
        self.came.append(message)
        accepting = self._outbox.accept(message.line, message.payload.decode(), utc_now(), message.identity).future
        accepting.add_done_callback(lambda done: self._written(message, done.result()))

    def _written(self, message: InboundMessage, accepted: Accepted) -> None:
        self.accepted.append((message, accepted))
        message.acknowledge(accepted.trigger)

    @property
    def found(self) -> list[tuple[bytes, bool, bool, bool]]:
        """Of each its payload, and whether it came with DUP, whether it is a repetition, whether the part was known."""
        return [
            (message.payload, message.identity is not None and message.identity.repeated, found.repetition, found.known)
            for message, found in self.accepted
        ]


def messages_on_disk(outbox: Outbox) -> int:
    """So many may come again."""
    with closing(sqlite3.connect(outbox.path)) as database:
        (count,) = database.execute("SELECT count(*) FROM messages").fetchone()
    return int(count)


@VERSIONS
def test_a_message_whose_acknowledgement_was_lost_is_recognised(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    """Fault 2: the packets vanish for a while, so the broker sends the trigger again."""
    disk = Disk(publisher_of.outbox)
    with Proxy(mosquitto.port) as proxy, client(mosquitto.port) as machine:
        publisher = publisher_of(proxy.port, disk, version=version)
        publisher.start()
        listening(publisher)
        machine.publish(TRIGGER, b"a", 1).wait_for_publish(5)
        eventually(lambda: len(disk.accepted) == 1)
        publisher_of.issue(publisher)
        eventually(lambda: publisher.acknowledged == 1)
        eventually(lambda: messages_on_disk(publisher_of.outbox) == 0)  # the broker has surely had the PUBACK
        proxy.swallow_from_clients()
        machine.publish(TRIGGER, b"b", 1).wait_for_publish(5)
        eventually(lambda: len(disk.accepted) == 2)
        publisher_of.issue(publisher)  # has no PUBACK either, so nothing is known of that of the trigger
        time.sleep(0.2)
        assert messages_on_disk(publisher_of.outbox) == 1
        publisher._client.drop("as if the broker were silent")
        eventually(lambda: len(disk.accepted) == 3)
        assert disk.found == [
            (b"a", False, False, False),
            (b"b", False, False, False),
            (b"b", True, True, True),
        ]
        assert disk.accepted[2][1].trigger == disk.accepted[1][1].trigger
        listening(publisher)
        eventually(lambda: messages_on_disk(publisher_of.outbox) == 0)  # though no verdict follows
        machine.publish(TRIGGER, b"b", 1).wait_for_publish(5)  # the carrier comes round again
        eventually(lambda: len(disk.accepted) == 4)
        assert disk.found[3] == (b"b", False, False, True)


@VERSIONS
def test_a_repeated_message_of_which_nothing_is_on_disk_is_no_repetition(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    """Fault 2: a part_id that was used before, and a DUP: the old service gave the part no verdict."""
    disk = Disk(publisher_of.outbox)
    with Proxy(mosquitto.port) as proxy, client(mosquitto.port) as machine:
        publisher = publisher_of(proxy.port, disk, version=version)
        publisher.start()
        listening(publisher)
        machine.publish(TRIGGER, b"carrier", 1).wait_for_publish(5)
        eventually(lambda: len(disk.accepted) == 1)
        publisher_of.issue(publisher)
        eventually(lambda: messages_on_disk(publisher_of.outbox) == 0)
        proxy.swallow()
        machine.publish(TRIGGER, b"carrier", 1).wait_for_publish(5)
        time.sleep(0.2)
        publisher._client.drop("as if the broker were silent")
        eventually(lambda: len(disk.accepted) == 2)
        assert disk.found[1] == (b"carrier", True, False, True)


@VERSIONS
def test_a_new_session_repeats_nothing(publisher_of: Publishers, version: str) -> None:
    """Its packet identifiers begin anew: they must not be taken for those of the old one."""
    disk = Disk(publisher_of.outbox)
    with Mosquitto() as broker:
        publisher = publisher_of(broker.port, disk, version=version)
        publisher.start()
        listening(publisher)
        with client(broker.port) as machine:
            machine.publish(TRIGGER, b"a", 1).wait_for_publish(5)
            eventually(lambda: len(disk.accepted) == 1)
        assert messages_on_disk(publisher_of.outbox) == 1
        broker.kill()
        broker.start()
        eventually(lambda: publisher.connected)
        eventually(lambda: messages_on_disk(publisher_of.outbox) == 0)


def test_nothing_in_the_network_thread_waits_for_the_disk(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    """Fault 7: the writer stands still; connections are made, verdicts acknowledged, triggers taken all the same."""
    publisher_of.keep(3)
    disk, goes_on = Disk(publisher_of.outbox), threading.Event()
    publisher = publisher_of(mosquitto.port, disk)
    publisher.start()
    listening(publisher)
    eventually(lambda: publisher.acknowledged == 3)
    issued = publisher_of.keep(2)
    try:
        publisher_of.outbox._writer.submit(lambda _: goes_on.wait(30))
        for number, verdict in enumerate(issued, 1):
            say(mosquitto.port, (TRIGGER, b"%d" % number), (COMMAND, b"x"))
            eventually(lambda: len(disk.came) >= 2 * number)  # noqa: B023
            publisher.publish_verdict(verdict)
            eventually(lambda: publisher.acknowledged == 3 + number)  # noqa: B023
            publisher.publish_reply(b"x")
            publisher._client.drop("as if the network had failed")
            connected(publisher)
        assert disk.accepted == []
        assert publisher.state.connected
        assert publisher.stop(timeout_s=1) == 0  # what was delivered is known, though not on disk
    finally:
        goes_on.set()

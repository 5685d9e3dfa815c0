"""A line's connection when something goes wrong in the very moment: in callbacks, during stop, before an answer."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from typing import Any

import pytest

from edge.mqtt import publisher as publisher_module
from edge.mqtt import subscriptions
from edge.topics import STATS as STATS_TOPIC
from edge.topics import STATUS as STATUS_TOPIC
from tests.support.mosquitto import Mosquitto, client, eventually, subscribe
from tests.support.publisher import (
    LINE,
    STATS,
    STATUS,
    TRIGGER,
    Notes,
    Publishers,
    connected,
    health,
    states,
    stats,
    topics,
    verdict,
)
from tests.support.stub_broker import StubBroker

VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.endswith(LINE)]


@VERSIONS
def test_a_clean_stop_says_nothing_of_a_lost_connection(
    mosquitto: Mosquitto, publisher_of: Publishers, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    """Fault 14."""
    caplog.set_level(logging.DEBUG)
    publisher = publisher_of(mosquitto.port, Notes(), version=version)
    publisher.start()
    connected(publisher)
    publisher_of.issue(publisher, 5)
    assert publisher.stop("done") == 0
    assert publisher_of.alarms.of(LINE) == []
    said = [record for record in caplog.records if record.name.startswith("edge.")]
    assert [record.getMessage() for record in said if record.levelno >= logging.INFO] == [
        f"connected to the broker, MQTT {version}"
    ]
    assert {getattr(record, "line", None) for record in said} == {LINE}


def test_stop_right_after_the_start_leaves_nothing_behind(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    for number in range(20):
        publisher = publisher_of(mosquitto.port, Notes())
        publisher.start()
        time.sleep(number / 1000)
        publisher.stop(timeout_s=0.5)
        assert threads() == []


def test_stop_while_connecting_to_what_never_answers(publisher_of: Publishers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = publisher_of(silent.getsockname()[1])
        publisher.start()
        time.sleep(0.2)
        began = time.monotonic()
        publisher.stop(timeout_s=0.2)
        assert time.monotonic() - began < 3
        assert threads() == []


def test_a_session_that_is_taken_over_while_it_stops(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publisher_of(mosquitto.port, Notes())
    first.start()
    connected(first)
    monkeypatch.setattr(first, "_awaits_puback", lambda: not over.is_set())  # holds up the stop
    over = threading.Event()
    stopping = threading.Thread(target=first.stop, args=("bye", 3.0))
    stopping.start()
    second = publisher_of(mosquitto.port, Notes())  # has the same id
    second.start()
    time.sleep(0.5)
    over.set()
    stopping.join(10)
    assert not stopping.is_alive()
    connected(second)
    eventually(lambda: len(threads()) == 1)
    assert second.connected


def test_a_callback_that_fails_for_ever_does_not_make_a_storm(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = publisher_of(mosquitto.port, Notes())
    opened: list[float] = []

    def fails(*_: Any) -> None:
        opened.append(time.monotonic())
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(publisher, "opened", fails)
        publisher.start()
        eventually(lambda: len(opened) >= 5)
        assert opened[4] - opened[0] > 0.1 + 0.1 + 0.2 + 0.4
        assert "failure in _on_connect" in str(publisher_of.alarm("broker"))
    connected(publisher)
    eventually(lambda: publisher_of.alarm("broker") is None)


def test_a_message_that_is_being_taken_while_the_connection_is_lost_comes_again(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    class Loses(Notes):
        def receive(self, message: Any) -> None:
            if not self.taken:
                publisher._client.drop("in the midst of it")
            super().receive(message)

    notes = Loses()
    publisher = publisher_of(mosquitto.port, notes)
    publisher.start()
    connected(publisher)
    with client(mosquitto.port) as machine:
        machine.publish(TRIGGER, b"a", 1).wait_for_publish(5)
        eventually(lambda: len(notes.taken) == 2)
    assert [(taken.payload, taken.again) for taken in notes.heard] == [(b"a", False), (b"a", True)]
    eventually(lambda: publisher.connected)


def test_who_listens_to_alarms_may_lock_what_publishers_lock(publisher_of: Publishers) -> None:
    """The service says its status when alarms change, while lines publish under locks of their own."""
    lock = threading.Lock()
    held: list[str] = []

    with Mosquitto(acl=f"topic readwrite {STATUS}\n") as broker:
        publisher = publisher_of(broker.port, Notes(), in_flight=4)

        def listener(_line: str | None) -> None:
            locks: dict[str, Any] = {
                "sending": publisher._client.sending,
                "paho's": publisher._client.client._out_message_mutex,
            }
            held.extend(name for name, lock in locks.items() if lock._is_owned())
            assert lock.acquire(timeout=10), "who raised the alarm and who publishes wait for each other"
            lock.release()
            publisher.set_status(health("running", f"{len(publisher_of.alarms.of(LINE))} alarms {time.monotonic()}"))

        publisher_of.alarms.listen(listener)
        publisher.start()
        connected(publisher)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            with lock:
                publisher_of.issue(publisher)
                publisher.publish_stats(stats())
                publisher.publish_reply(b"x")
            if publisher.published % 40 == 0:
                publisher._client.drop("once more")
            broker.allow("topic readwrite line/#\n" if publisher.published % 2 else f"topic readwrite {STATUS}\n")
        broker.allow("topic readwrite line/#\n")
        eventually(lambda: publisher.acknowledged > 0, 40)
        connected(publisher)
    assert held == []


def test_a_broker_that_never_answers_subscribe_is_an_alarm_and_asked_anew(
    publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "_ANSWER_S", 0.2)
    monkeypatch.setattr(publisher_module, "PATIENCE", 0.75)
    with StubBroker(granted=None) as broker:
        publisher = publisher_of(broker.port, Notes(), keepalive_s=2)
        monkeypatch.setattr(publisher._in_flight, "_sent", _Nothing())  # nor is it asked anew for a PUBACK
        publisher.start()
        connected(publisher)
        eventually(lambda: "does not answer the subscriptions" in str(publisher_of.alarm("broker_topic")))
        assert publisher.connected
        eventually(lambda: broker.connections >= 2)
        broker._granted = b"\x01\x01\x01\x00"
        eventually(lambda: publisher_of.alarm("broker_topic") is None)


class _Nothing(dict[int, Any]):
    """Forgets what is put in."""

    def __setitem__(self, key: int, value: Any) -> None:
        return


GARBAGE = [
    b"{",
    b"[]",
    b'"seq"',
    b"null",
    b'{"seq": null}',
    b'{"seq": "12"}',
    b'{"seq": true}',
    b'{"seq": 1.5}',
    b'{"seq": 1e999}',
    b'{"seq": NaN}',
    b'{"seq": -1}',
    b'{"seq": %d}' % 2**53,
    b'{"seq": 1' + b"0" * 400 + b"}",
    b'{"seq": 1' + b"0" * 5000 + b"}",
    b"[" * 50_000,
    b"\xff\xfe\x00",
    b'{"seq": 7, "x": "' + b"x" * 100_000 + b'"}',
]


@pytest.mark.parametrize("payload", GARBAGE, ids=lambda payload: repr(payload[:20]))
def test_retained_stats_that_are_garbage_are_refused(
    mosquitto: Mosquitto, publisher_of: Publishers, payload: bytes
) -> None:
    with client(mosquitto.port) as machine:
        machine.publish(STATS, payload, 1, retain=True).wait_for_publish(5)
    publisher = publisher_of(mosquitto.port, Notes())
    publisher.start()
    eventually(lambda: publisher.rejected == {"unreadable": 1})
    assert publisher.subscriptions is not None
    assert publisher.subscriptions.told.wait(5)
    assert publisher.subscriptions.last_seq == 0
    time.sleep(0.2)
    assert (publisher.connected, publisher.rejected) == (True, {"unreadable": 1})


@VERSIONS
@pytest.mark.parametrize("seq", [0, 417, 2**53 - 1])
def test_the_last_number_is_what_the_broker_retains(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str, seq: int
) -> None:
    first = publisher_of(mosquitto.port, Notes(), version=version)
    first.start()
    connected(first)
    first.publish_stats(stats().model_copy(update={"seq": seq, "generation": 3}))
    with subscribe(mosquitto.port, STATS) as listener:
        listener.wait(1)
    first.stop()
    second = publisher_of(mosquitto.port, Notes(), version=version)
    second.start()
    assert second.subscriptions is not None
    assert second.subscriptions.told.wait(5)
    assert (second.subscriptions.last_seq, second.subscriptions.last_generation) == (seq, 3)
    for _ in range(3):
        second.publish_stats(stats())  # of its own it hears no more
    assert second.subscriptions.last_seq == seq


def test_a_broker_that_retains_nothing_says_so_soon(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port, Notes())
    publisher.start()
    assert publisher.subscriptions is not None
    assert publisher.subscriptions.told.wait(4)
    assert publisher.subscriptions.last_seq == 0


@VERSIONS
def test_forget_clears_what_the_broker_retains_of_another_line(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    """Fault 18: ghosts of lines that were renamed."""
    with client(mosquitto.port) as machine:
        for topic in (STATUS_TOPIC, STATS_TOPIC):
            machine.publish(topic.of("old"), b"{}", 1, retain=True).wait_for_publish(5)
    publisher = publisher_of(mosquitto.port, version=version)
    assert not publisher.forget("old")  # there is no connection
    publisher.start()
    connected(publisher)
    with pytest.raises(ValueError, match="no name for a line"):
        publisher.forget("#")
    assert publisher.forget("old")
    publisher_of.issue(publisher)
    eventually(lambda: publisher.acknowledged == 1)
    with subscribe(mosquitto.port, "line/#") as late:
        late.until(lambda messages: STATUS in topics(messages))
        time.sleep(0.1)
        assert topics(late.messages) == {STATUS}


def test_a_broker_that_is_down_is_an_alarm_from_the_start(
    publisher_of: Publishers, caplog: pytest.LogCaptureFixture
) -> None:
    with Mosquitto(start=False) as broker:
        publisher = publisher_of(broker.port)
        publisher.start()
        reason = f"not connected to the broker: nothing listens on 127.0.0.1:{broker.port}"
        eventually(lambda: publisher_of.alarm("broker") == reason)
        broker.start()
        connected(publisher)
        eventually(lambda: publisher_of.alarm("broker") is None)
    assert [getattr(record, "line", None) for record in caplog.records if reason in record.getMessage()] == [LINE]


def test_the_first_reconnect_is_after_a_tenth_of_a_second(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    began = time.monotonic()
    publisher._client.drop("as if the network had failed")
    assert not publisher.connected
    connected(publisher)
    assert 0.08 < time.monotonic() - began < 0.5


def test_the_last_word_is_stopped_whoever_speaks_meanwhile(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    over = threading.Event()

    def talk() -> None:
        while not over.is_set():
            publisher.set_status(health("running", str(time.monotonic())))

    with subscribe(mosquitto.port, STATUS) as listener:
        talker = threading.Thread(target=talk)
        talker.start()
        time.sleep(0.1)
        publisher.stop("bye")
        over.set()
        talker.join()
        time.sleep(0.1)
        assert states(listener.messages)[-1] == "stopped"
        assert json.loads(listener.messages[-1].payload)["reason"] == "bye"


def test_a_verdict_is_never_sent_by_a_stopped_line(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    publisher.stop()
    assert not publisher.publish_verdict(verdict(1))
    assert not publisher.publish_stats(stats())
    assert not publisher.forget("old")

"""Another client takes a line's id at the broker: it is said what happened, since when, and what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.mqtt import lost_session
from tests.support.mosquitto import Mosquitto, client, eventually
from tests.support.publisher import LINE, TRIGGER, Notes, Publishers, connected
from tests.support.stub_broker import NEW_AS_5, RESUMED_AS_5, TAKEN_OVER, StubBroker

VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


@contextmanager
def intruder(port: int, name: str, *, version: str, clean: bool = True) -> Iterator[list[bytes]]:
    """A client with the id of another one, connected once; what it hears."""
    five = version == "5"
    protocol = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
    options: dict[str, Any] = {} if five else {"clean_session": clean}
    made = Client(CallbackAPIVersion.VERSION2, name, protocol=protocol, reconnect_on_failure=False, **options)
    ready, heard = threading.Event(), list[bytes]()
    made.on_connect = lambda *_: ready.set()
    made.on_message = lambda _client, _, message: heard.append(bytes(message.payload))
    made.connect("127.0.0.1", port, **({"clean_start": clean} if five else {}))
    made.loop_start()
    try:
        assert ready.wait(10)
        yield heard
    finally:
        made.disconnect()
        made.loop_stop()


@VERSIONS
def test_triggers_that_another_client_has_wiped_out_are_an_alarm(
    mosquitto: Mosquitto, publisher_of: Publishers, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    """The broker had acknowledged them to the controller."""
    publisher = publisher_of(mosquitto.port, Notes(), version=version)
    publisher.start()
    connected(publisher)
    time.sleep(0.2)  # it has subscribed
    publisher._client.drop("as if the network had failed")
    with client(mosquitto.port) as machine:
        machine.publish(TRIGGER, b"wiped out", 1).wait_for_publish(5)
    with intruder(mosquitto.port, publisher._client._name, version=version):
        pass
    eventually(lambda: publisher_of.alarm("broker_session") is not None)
    said = str(publisher_of.alarm("broker_session"))
    assert said.startswith("triggers may have been lost since 20")
    assert "another client" in said
    assert "send those again that have no answer" in said
    assert said in [record.getMessage() for record in caplog.records]
    connected(publisher)
    assert publisher_of.alarm("broker_session") == said, "it is said for a while"


@pytest.mark.parametrize("answer", [NEW_AS_5, RESUMED_AS_5], ids=["it wiped out the session", "it left the session"])
def test_what_the_broker_tells_of_the_other_client_is_said(
    publisher_of: Publishers, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    """Also where the session is still there: the other client may have heard what waited, and acknowledged it."""
    with StubBroker(granted=bytes(4), to_five=answer) as broker:
        publisher = publisher_of(broker.port, Notes(), version="5", keepalive_s=60)
        publisher.start()
        connected(publisher)
        broker.farewell = TAKEN_OVER
        eventually(lambda: publisher_of.alarm("broker_session") is not None)
        eventually(lambda: publisher_of.alarm("broker_takeover") is not None)
    takeover, session = (str(publisher_of.alarm(code)) for code in ("broker_takeover", "broker_session"))
    assert takeover.startswith(f"another client took the id alfa-edge-box-{LINE}-...")
    assert "find it in the broker's log" in takeover
    assert "another client took the line's id, and its session with it" in session
    assert "Session taken over; another client has the same id" in caplog.text


@VERSIONS
@pytest.mark.parametrize("clean", [True, False])
def test_a_connection_that_ends_for_no_reason_makes_one_think_of_another_client(
    mosquitto: Mosquitto, publisher_of: Publishers, caplog: pytest.LogCaptureFixture, version: str, clean: bool
) -> None:
    """mosquitto 2.0.11 gives none."""
    publisher = publisher_of(mosquitto.port, Notes(), version=version)
    publisher.start()
    connected(publisher)
    with intruder(mosquitto.port, publisher._client._name, version=version, clean=clean):
        eventually(lambda: "if the broker is up, another client may have the same id" in caplog.text)


@VERSIONS
def test_a_broker_that_forgets_sessions_is_an_alarm_that_ends(
    publisher_of: Publishers, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_session, "TELL_S", 1.5)
    with Mosquitto() as broker:
        publisher = publisher_of(broker.port, Notes(), version=version)
        publisher.start()
        connected(publisher)
        time.sleep(0.1)
        assert publisher_of.alarm("broker_session") is None, "the first connection expects nothing"
        broker.restart()
        eventually(lambda: "`persistence true`" in str(publisher_of.alarm("broker_session")))
        eventually(lambda: publisher_of.alarm("broker_session") is None, 5)


@VERSIONS
def test_a_session_that_is_there_is_no_alarm(publisher_of: Publishers, version: str) -> None:
    with Mosquitto(persistent=True) as broker:
        publisher = publisher_of(broker.port, Notes(), version=version)
        publisher.start()
        connected(publisher)
        time.sleep(0.2)
        broker.restart()
        eventually(lambda: publisher.connected and publisher.state.last_puback_age_s is not None)
        publisher.stop()
        again = publisher_of(broker.port, Notes(), version=version)
        again.start()
        connected(again)
        time.sleep(0.3)
        assert publisher_of.alarm("broker_session") is None


@VERSIONS
def test_a_session_that_an_earlier_run_had_is_missed(publisher_of: Publishers, version: str) -> None:
    """While the service was away."""
    with Mosquitto() as broker:
        publisher = publisher_of(broker.port, Notes(), version=version)
        publisher.start()
        connected(publisher)
        publisher.stop()
        broker.restart()
        again = publisher_of(broker.port, Notes(), version=version)
        again.start()
        eventually(lambda: "lost since an earlier run" in str(publisher_of.alarm("broker_session")))


def test_ids_are_published_without_what_nobody_is_to_guess(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port, Notes())
    suffix = publisher_of.outbox.client_suffix
    assert len(suffix) == 16
    assert publisher._client._name == f"alfa-edge-box-{LINE}-{suffix}"
    assert publisher._client.shown_name == f"alfa-edge-box-{LINE}-..."

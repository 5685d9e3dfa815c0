"""Which MQTT version is spoken: 5, or 3.1.1 where the broker refuses 5."""

from __future__ import annotations

import threading
import time

import pytest

from edge.mqtt.publisher import Publisher
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.publisher import ANOMALY, LINE, Publishers, connected, verdicts
from tests.support.stub_broker import REFUSED_AS_3, REFUSED_AS_5, StubBroker

THREE, FIVE = 4, 5  # as CONNECT names them


def versions(broker: StubBroker) -> list[int]:
    return [version for version, _ in broker.asked]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.endswith(LINE)]


def started(publisher: Publisher) -> Publisher:
    publisher.start()
    return publisher


def test_5_is_the_default_and_no_alarm(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = started(publisher_of(mosquitto.port))
    connected(publisher)
    assert publisher._client.five
    assert publisher_of.alarms.of(LINE) == []


@pytest.mark.parametrize(
    ("answer", "tries"), [(REFUSED_AS_3, 1), (REFUSED_AS_5, 1), (b"", 2)], ids=["code 1", "code 0x84", "hangs up"]
)
def test_a_broker_that_refuses_5_is_spoken_to_in_3(publisher_of: Publishers, answer: bytes, tries: int) -> None:
    with StubBroker(to_five=answer) as broker:
        publisher = started(publisher_of(broker.port))
        connected(publisher)
        asked = versions(broker)
        assert asked[-1] == THREE
        assert set(asked[:-1]) == {FIVE}
        assert tries <= len(asked) - 1 <= tries + 3
        eventually(lambda: publisher_of.alarm("broker_version") is not None)
        alarm = str(publisher_of.alarm("broker_version"))
        assert alarm.startswith("the broker refuses MQTT 5, so 3.1.1 is used")
        assert "set mqtt.version = '3.1.1' to accept that" in alarm
        eventually(lambda: publisher_of.alarm("broker") is None)
        (issued,) = publisher_of.issue(publisher)
        eventually(lambda: ANOMALY.encode() in broker.published)
        publisher._client.drop("once more")
        eventually(lambda: versions(broker)[-2:] == [THREE, THREE])
        assert threads() == [f"paho-{LINE}"]
        assert publisher_of.waiting == [issued.id]


def test_3_that_was_asked_for_is_no_alarm(publisher_of: Publishers) -> None:
    with StubBroker(to_five=b"") as broker:
        publisher = started(publisher_of(broker.port, version="3.1.1"))
        connected(publisher)
        assert versions(broker) == [THREE]
        assert publisher_of.alarms.of(LINE) == []


@pytest.mark.parametrize("answer", [REFUSED_AS_3, REFUSED_AS_5, b""], ids=["code 1", "code 0x84", "hangs up"])
def test_a_broker_that_spoke_5_before_never_causes_a_fallback(publisher_of: Publishers, answer: bytes) -> None:
    """It may be going down, or behind a proxy that is."""
    with StubBroker() as broker:
        publisher = started(publisher_of(broker.port))
        connected(publisher)
        speaks, broker.answers[FIVE] = broker.answers[FIVE], answer
        publisher._client.drop("as if the network had failed")
        eventually(lambda: len(broker.asked) >= 5)
        time.sleep(1.2)  # the delivery thread has looked at it
        broker.answers[FIVE] = speaks
        connected(publisher)
        assert set(versions(broker)) == {FIVE}
        assert publisher_of.alarm("broker_version") is None


def test_what_hangs_up_on_both_versions_is_not_taken_for_a_broker_of_3(publisher_of: Publishers) -> None:
    """A proxy whose broker is not up yet hangs up, too."""
    with StubBroker(to_five=b"", to_three=b"") as broker:
        started(publisher_of(broker.port))
        eventually(lambda: versions(broker).count(THREE) >= 2 and versions(broker)[-1] == FIVE)
        assert publisher_of.alarm("broker_version") is None
        eventually(lambda: "closed the connection without an answer" in str(publisher_of.alarm("broker")))
        assert len(broker.asked) < 20  # nor is it asked in a circle
        assert len(threads()) <= 1


def test_stop_while_it_falls_back_leaves_nothing_behind(publisher_of: Publishers) -> None:
    for pause_s in (0.0, 0.12, 0.3, 0.6, 1.0, 1.2):
        with StubBroker(to_five=b"") as broker:
            publisher = started(publisher_of(broker.port))
            time.sleep(pause_s)
            began = time.monotonic()
            publisher.stop(timeout_s=0.2)
            assert time.monotonic() - began < 3
            eventually(lambda: threads() == [], 1)
            before = len(broker.asked)
            time.sleep(0.3)
            assert len(broker.asked) == before


def test_a_password_that_is_gone_delays_the_fallback_only(
    publisher_of: Publishers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("secrets") / "password"
    path.write_text("secret\n")
    with StubBroker(to_five=REFUSED_AS_5) as broker:
        publisher = publisher_of(broker.port, username="edge", password_file=path)
        path.unlink()
        publisher.start()
        eventually(lambda: "password_file" in str(publisher_of.alarm("outbox")))
        path.write_text("secret\n")
        connected(publisher)
        assert versions(broker)[-1] == THREE


def test_a_wrong_acl_is_said_in_5(publisher_of: Publishers) -> None:
    """With 3.1.1, the old default, every verdict was lost with all lights green."""
    with Mosquitto(acl=f"topic readwrite line/{LINE}/status\n") as broker, subscribe(broker.port, "line/#") as listener:
        publisher = started(publisher_of(broker.port))
        connected(publisher)
        publisher_of.issue(publisher, 3)
        eventually(
            lambda: f"the broker refuses {ANOMALY}: Not authorized" in str(publisher_of.alarm("verdicts_refused"))
        )
        assert len(publisher_of.waiting) == 3
        assert not verdicts(1)(listener.messages)

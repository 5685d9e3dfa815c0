"""Whether a broker lets a line speak and hear: nobody hears of the question."""

from __future__ import annotations

import pytest
from paho.mqtt.client import Client

from edge.settings import MqttSettings
from edge.tools import topic_check
from edge.tools.broker import EmbeddedBroker
from edge.tools.check import Check
from edge.tools.topic_check import check_topics
from tests.support.mosquitto import Mosquitto, subscribe

ALL = {"anomaly", "anomaly/heatmap", "status", "stats", "reply", "trigger/sync"}


def looked_at(port: int, *, triggered: bool = True, timeout_s: float = 2.0, **settings: object) -> list[Check]:
    mqtt = MqttSettings.model_validate({"host": "127.0.0.1", "port": port} | settings)
    return list(check_topics(mqtt, "one", triggered=triggered, timeout_s=timeout_s))


def acl(writes: set[str], reads: str = "topic read line/#\n") -> str:
    return reads + "".join(f"topic write line/one/{topic}\n" for topic in sorted(writes))


def test_a_broker_that_takes_all_is_asked_without_anybody_hearing_it() -> None:
    with Mosquitto() as broker, subscribe(broker.port, "line/#") as heard:
        (found,) = looked_at(broker.port)
        assert {message.topic for message in heard.wait(1)} == {"line/one/trigger/sync"}
        assert len(heard.messages) == 1, "what was held back is not passed on"
    assert found == Check("line one: topics", "ok", "the broker takes what the line says, and the line hears itself")


@pytest.mark.parametrize(
    ("missing", "triggered", "result"),
    [("anomaly", True, "fail"), ("anomaly", False, "fail"), ("status", True, "note"), ("reply", True, "note")],
)
def test_a_topic_that_it_refuses_is_said_as_the_service_says_it(missing: str, triggered: bool, result: str) -> None:
    with Mosquitto(acl=acl(ALL - {missing})) as broker:
        (found,) = looked_at(broker.port, triggered=triggered)
    refused = f"the broker refuses line/one/{missing}: Not authorized"
    assert (found.result, found.detail.startswith(refused)) == (result, True)


@pytest.mark.parametrize(("triggered", "result"), [(True, "fail"), (False, "note")])
def test_a_line_that_does_not_hear_itself(triggered: bool, result: str) -> None:
    unread = "".join(f"topic read line/one/{topic}\n" for topic in ("trigger", "command"))
    for broker_acl, words in (
        (acl(ALL - {"trigger/sync"}), "the broker refuses line/one/trigger/sync: Not authorized"),
        (acl(ALL, unread), "line/one/trigger/sync does not come back"),
    ):
        with Mosquitto(acl=broker_acl) as broker:
            found = looked_at(broker.port, triggered=triggered, timeout_s=0.5)
        assert (found[0].result, found[0].detail.startswith(words)) == (result, True)


def test_a_user_who_may_not_write_at_all_hears_of_the_verdicts_too() -> None:
    with Mosquitto(acl="topic read line/#\n") as broker:
        found = looked_at(broker.port)
    assert any(check.detail.startswith("the broker refuses line/one/anomaly:") for check in found)


def test_with_mqtt_3_nothing_is_claimed() -> None:
    with EmbeddedBroker() as broker:
        (found,) = looked_at(broker.port, version="3.1.1")
    assert (found.result, "does not say whether" in found.detail) == ("note", True)


def test_a_broker_without_qos_2_is_not_asked_for_more() -> None:
    with Mosquitto(listener_options=["max_qos 1"]) as broker, subscribe(broker.port, "line/#") as heard:
        (found,) = looked_at(broker.port)
        assert {message.topic for message in heard.wait(1)} == {"line/one/trigger/sync"}
    assert (found.result, "seen with the first part" in found.detail) == ("note", True)


def test_a_broker_that_passes_on_at_once_is_not_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if mosquitto did: the client lets go of the message."""

    class LettingGo(topic_check._Probe):
        def _on_pubrec(self) -> object:  # type: ignore[override]
            result = Client._handle_pubrec(self.client)
            super()._on_pubrec()
            return result

    monkeypatch.setattr(topic_check, "_Probe", LettingGo)
    with Mosquitto() as broker, subscribe(broker.port, "line/#") as heard:
        (found,) = looked_at(broker.port)
        assert {message.topic for message in heard.wait(1)} == {"line/one/trigger/sync"}
    assert (found.result, "seen with the first part" in found.detail) == ("note", True)

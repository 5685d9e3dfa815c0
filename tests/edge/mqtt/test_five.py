"""MQTT 5: what the messages carry besides, and how a broker says no."""

from __future__ import annotations

import json

import pytest

from edge.messages import Fault
from edge.mqtt import properties
from edge.mqtt.publisher import Publisher
from edge.topics import HEATMAP
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.publisher import (
    ANOMALY,
    LINE,
    STATS,
    STATUS,
    Publishers,
    connected,
    ids,
    stats,
    topics,
    verdict,
    verdicts,
)


def five(publisher_of: Publishers, port: int, **settings: object) -> Publisher:
    publisher = publisher_of(port, version="5", **settings)
    publisher.start()
    connected(publisher)
    return publisher


def test_messages_say_what_they_are(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = five(publisher_of, mosquitto.port)
    with subscribe(mosquitto.port, "line/#", five=True) as listener:
        (issued,) = publisher_of.issue(publisher)
        publisher.publish_heatmap(b"\x89PNG", issued)
        publisher.publish_stats(stats())
        wanted = {ANOMALY, f"{ANOMALY}/heatmap", STATS, STATUS}
        messages = {m.topic: m for m in listener.until(lambda m: wanted <= topics(m))}
    json_, line = {"ContentType": "application/json"}, ("line", LINE)
    about = [line, ("seq", "1"), ("id", issued.id)]
    assert messages[ANOMALY].properties == json_ | {"UserProperty": about}
    assert messages[ANOMALY].payload == issued.to_json()
    assert messages[STATUS].properties == messages[STATS].properties == json_ | {"UserProperty": [line]}
    heatmap = messages[f"{ANOMALY}/heatmap"].properties
    assert heatmap.pop("MessageExpiryInterval") <= 10
    assert heatmap == {"ContentType": "image/png", "UserProperty": about}
    assert properties.of_message(HEATMAP, LINE).MessageExpiryInterval == 10


def test_the_last_will_says_what_it_is(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = five(publisher_of, mosquitto.port)
    eventually(lambda: publisher.state.last_puback_age_s is not None)
    with subscribe(mosquitto.port, STATUS, five=True) as listener:
        publisher._client.drop("no farewell")
        messages = listener.until(lambda found: any(json.loads(m.payload)["state"] == "offline" for m in found))
    will = next(m for m in messages if json.loads(m.payload)["state"] == "offline")
    assert will.properties == {"ContentType": "application/json", "UserProperty": [("line", LINE)]}


def test_a_broker_gets_no_more_at_a_time_than_it_takes(publisher_of: Publishers) -> None:
    with Mosquitto(options=["max_inflight_messages 7"]) as broker:
        publisher = five(publisher_of, broker.port)
        assert publisher._in_flight.limit == 7
        publisher_of.issue(publisher, 20)
        eventually(lambda: publisher.acknowledged == 20)
        assert publisher.connected


def test_refused_verdicts_wait_and_go_when_the_broker_takes_them(
    publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.mqtt.in_flight._PAUSE_S", (0.3, 0.3))
    with Mosquitto(acl=f"topic write {STATUS}\n") as broker:
        publisher = five(publisher_of, broker.port)
        issued = publisher_of.issue(publisher, 15)
        eventually(lambda: publisher.state.unacknowledged == 0)
        refused = f"the broker refuses {ANOMALY}: Not authorized; check mqtt.username and mqtt.password"
        eventually(lambda: str(publisher_of.alarm("verdicts_refused")).startswith(refused))
        assert (publisher.connected, publisher.acknowledged, len(publisher_of.waiting)) == (True, 0, 15)
        broker.allow("topic readwrite line/#\n")
        eventually(lambda: publisher.acknowledged == 15)
        eventually(lambda: publisher_of.alarm("verdicts_refused") is None)
        assert publisher_of.waiting == []
        with subscribe(broker.port, ANOMALY) as listener:
            assert ids(listener) == []
        assert len(issued) == 15


def test_messages_larger_than_the_broker_takes_are_not_sent(publisher_of: Publishers) -> None:
    with Mosquitto(options=["max_packet_size 500"]) as broker:
        publisher = five(publisher_of, broker.port)
        (large,) = publisher_of.issue(publisher)
        said = lambda: str(publisher_of.alarm("broker_packet_size"))  # noqa: E731
        eventually(lambda: f"bytes on {ANOMALY} was not sent: the broker allows 500" in said())
        assert not publisher.publish_heatmap(bytes(1000), large)
        eventually(lambda: f"{ANOMALY}/heatmap" in said())
        assert publisher.publish_heatmap(bytes(100), large)
        eventually(lambda: f"{ANOMALY}/heatmap" not in said())
        assert f"{ANOMALY} was" in said()
        assert publisher_of.waiting == [large.id]
        assert publisher.connected


def test_a_verdict_that_breaks_the_connection_is_held_back(publisher_of: Publishers) -> None:
    """Mosquitto answers a message beyond its limit with a code that MQTT does not know for it, and paho hangs up."""
    with Mosquitto(options=["message_size_limit 900"]) as broker:
        publisher = five(publisher_of, broker.port)
        large = verdict(1).model_copy(update={"error": Fault(code="test", message="x" * 1000)})
        publisher_of.outbox.issue(large)
        publisher.publish_verdict(large)
        eventually(lambda: "is the message larger than it takes?" in str(publisher_of.alarm("verdicts_refused")))
        connected(publisher)
        with subscribe(broker.port, ANOMALY) as listener:
            (small,) = publisher_of.issue(publisher)
            listener.until(verdicts(1))
        eventually(lambda: publisher.acknowledged == 1)
        assert ids(listener) == [small.id]
        assert publisher_of.waiting == [large.id]

"""The publisher and a real broker that dies, hangs, refuses and comes back."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from edge.connection import probe
from edge.mqtt import PublishError
from edge.settings import MqttSettings
from tests.support.mosquitto import Mosquitto, eventually, free_port, subscribe
from tests.support.publisher import (
    ANOMALY,
    LINE,
    STATUS,
    Publishers,
    connected,
    ids,
    retained_status,
    states,
    stats,
    topics,
    verdict,
)


def test_broker_down_at_start(publisher_of: Publishers) -> None:
    with Mosquitto(start=False) as broker:
        publisher = publisher_of(broker.port)
        publisher.start()
        publisher.set_status("running")
        publisher.publish_verdict(verdict(1))
        assert not publisher.publish_heatmap(b"\x89PNG")
        assert not publisher.publish_stats(stats())
        eventually(lambda: publisher.state.reason == f"nothing listens on 127.0.0.1:{broker.port}")
        assert not publisher.connected
        broker.start()
        with subscribe(broker.port, "line/#") as listener:
            connected(publisher)
            listener.until(lambda messages: topics(messages) == {STATUS, ANOMALY})
            assert states(listener.messages) == ["running"]


def test_broker_restart(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.set_status("running")
    publisher.start()
    connected(publisher)
    mosquitto.kill()
    eventually(lambda: not publisher.connected)
    lost_since = publisher.state.since
    queued = [verdict(seq) for seq in range(1, 101)]
    for one in queued:
        publisher.publish_verdict(one)
    publisher.set_status("fault", "camera")
    assert publisher.state.unacknowledged == 100
    eventually(lambda: "nothing listens" in str(publisher.state.reason))
    mosquitto.start()
    with subscribe(mosquitto.port, "line/#") as listener:
        connected(publisher)
        listener.until(lambda messages: len([m for m in messages if m.topic == ANOMALY]) >= 100)
        time.sleep(0.2)
        assert ids(listener) == [one.id for one in queued]  # in order, each once
        assert states(listener.messages) == ["fault"]
    assert publisher.state.unacknowledged == 0
    assert publisher.acknowledged == publisher.published == 100
    assert publisher.state.since > lost_since


def test_nothing_is_lost_and_no_old_status_comes_last_when_a_hung_broker_dies(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    mosquitto.pause()
    sent = [verdict(seq) for seq in range(1, 61)]  # more than paho has in flight at a time
    publisher.set_status("running")
    for one in sent:
        publisher.publish_verdict(one)
    assert publisher.connected
    assert publisher.state.unacknowledged == 60
    mosquitto.kill()
    eventually(lambda: "nothing listens" in str(publisher.state.reason))
    publisher.set_status("paused")
    mosquitto.start()
    with subscribe(mosquitto.port, "line/#") as listener:
        eventually(lambda: publisher.acknowledged == 60, 8)
        time.sleep(0.2)
        assert set(ids(listener)) == {one.id for one in sent}
        assert states(listener.messages) == ["paused"]
    assert retained_status(mosquitto.port)["state"] == "paused"


@pytest.mark.parametrize("password", ["wrong", None])
def test_refused(publisher_of: Publishers, password: str | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Mosquitto(users={"edge": "right"}) as broker:
        settings: dict[str, Any] = {"username": "edge", "password": password} if password else {}
        publisher = publisher_of(broker.port, **settings)
        publisher.start()
        eventually(lambda: "refused" in str(publisher.state.reason))
        assert "check mqtt.username and mqtt.password" in str(publisher.state.reason)
        assert not publisher.connected
        publisher.publish_verdict(verdict(1))
        assert publisher.state.unacknowledged == 1
        assert "refused" in str(probe(MqttSettings(host="127.0.0.1", port=broker.port, **settings), 5))
    assert "wrong" not in caplog.text
    assert "wrong" not in str(vars(publisher))


def test_full_queue_is_an_error(publisher_of: Publishers) -> None:
    publisher = publisher_of(free_port(), max_unacknowledged=3)
    first = verdict(1)
    for one in (first, first, verdict(2), verdict(3), first):  # the same one again takes no room
        publisher.publish_verdict(one)
    publisher.start()
    eventually(lambda: "nothing listens" in str(publisher.state.reason))
    with pytest.raises(PublishError, match="line press-1: 3 verdicts wait for the broker: nothing listens"):
        publisher.publish_verdict(verdict(4))
    assert (publisher.published, publisher.state.unacknowledged) == (3, 3)
    assert publisher.stop(timeout_s=0) == 3


def test_full_queue_has_room_again_when_the_broker_acknowledges(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port, max_unacknowledged=3)
    publisher.start()
    connected(publisher)
    mosquitto.pause()
    for seq in (1, 2, 3):
        publisher.publish_verdict(verdict(seq))
    with pytest.raises(PublishError, match="3 verdicts wait for the broker: it does not acknowledge"):
        publisher.publish_verdict(verdict(4))
    assert [publisher.publish_heatmap(bytes(4 << 20)) for _ in range(12)][-1] is False  # nor do these pile up
    mosquitto.resume()
    eventually(lambda: publisher.state.unacknowledged == 0)
    publisher.publish_verdict(verdict(4))
    eventually(lambda: publisher.acknowledged == 4)


def test_stop_is_bounded_when_the_broker_hangs(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    mosquitto.pause()
    publisher.publish_verdict(verdict(1))
    while publisher.publish_heatmap(bytes(4 << 20)):
        pass  # until the network takes no more
    began = time.monotonic()
    assert publisher.stop(timeout_s=0.2) == 1
    assert time.monotonic() - began < 3
    assert not [thread for thread in threading.enumerate() if LINE in thread.name]


def test_stop_is_prompt_when_there_is_no_broker(publisher_of: Publishers) -> None:
    publisher = publisher_of(free_port())
    publisher.start()
    eventually(lambda: "nothing listens" in str(publisher.state.reason))
    began = time.monotonic()
    assert publisher.stop(timeout_s=5) == 0
    assert time.monotonic() - began < 3


def test_an_exception_in_a_callback_is_a_state_and_is_recovered_from(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    reasons: list[str] = []
    noted = publisher._disconnected

    def note(reason: str) -> None:
        reasons.append(reason)
        noted(reason)

    monkeypatch.setattr(publisher, "_disconnected", note)
    with monkeypatch.context() as broken:
        broken.setattr(publisher, "_settle", lambda sent: 1 / 0)
        publisher.publish_verdict(verdict(1))
        eventually(lambda: reasons != [])
    assert reasons[0] == "failure in _on_publish: division by zero"
    eventually(lambda: publisher.acknowledged == 1, 8)
    assert publisher.connected


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_network_thread_is_noticed_and_replaced(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    with monkeypatch.context() as broken:
        broken.setattr(publisher._client, "_handle_pubackcomp", lambda cmd: 1 / 0)
        publisher.publish_verdict(verdict(1))
        eventually(lambda: publisher.state.reason == "the network thread has ended")
    assert not publisher.connected
    publisher.publish_stats(stats())  # whatever is said next starts it anew
    eventually(lambda: publisher.acknowledged == 1)
    assert publisher.connected

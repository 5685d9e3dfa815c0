"""The publisher and a real broker that dies, hangs, refuses and comes back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from edge.mqtt import publisher as mqtt
from edge.mqtt.client import Cause
from edge.mqtt.publisher import Publisher
from edge.settings import MqttSettings
from edge.tools.broker_check import check_broker
from tests.support.mosquitto import Mosquitto, Subscription, eventually, free_port, subscribe
from tests.support.proxy import Proxy
from tests.support.publisher import (
    ANOMALY,
    LINE,
    STATS,
    STATUS,
    Notes,
    Publishers,
    connected,
    ends_with,
    health,
    ids,
    retained_status,
    states,
    stats,
    topics,
    verdict,
    verdicts,
)
from tests.support.stub_broker import StubBroker


@contextmanager
def listening_first(broker: Mosquitto, publisher: Publisher) -> Iterator[Subscription]:
    """Starts the broker; what the publisher then says is heard from the beginning."""
    with ExitStack() as stack:
        with publisher._client.sending:
            broker.start()
            listener = stack.enter_context(subscribe(broker.port, "line/#"))
        yield listener


def test_broker_down_at_start(publisher_of: Publishers) -> None:
    with Mosquitto(start=False) as broker:
        publisher = publisher_of(broker.port)
        publisher.start()
        publisher.set_status(health("running"))
        publisher_of.issue(publisher)
        assert not publisher.publish_heatmap(b"\x89PNG", verdict(1))
        assert not publisher.publish_stats(stats())
        eventually(lambda: publisher.state.reason == f"nothing listens on 127.0.0.1:{broker.port}")
        assert not publisher.connected
        with listening_first(broker, publisher) as listener:
            connected(publisher)
            listener.until(lambda messages: topics(messages) == {STATUS, STATS, ANOMALY})
            assert states(listener.messages) == ["running"]


def test_broker_restart(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port, replay_rate=1000)
    publisher.set_status(health("running"))
    publisher.start()
    connected(publisher)
    mosquitto.kill()
    eventually(lambda: not publisher.connected)
    lost_since = publisher.state.since
    queued = publisher_of.issue(publisher, 100)
    publisher.set_status(health("fault", "camera"))
    assert publisher.state.waiting == 100
    assert publisher.state.oldest is not None
    eventually(lambda: "nothing listens" in str(publisher.state.reason))
    with listening_first(mosquitto, publisher) as listener:
        connected(publisher)
        listener.until(verdicts(100))
        time.sleep(0.2)
        assert ids(listener) == [one.id for one in queued]  # in order, each once
        assert states(listener.messages) == ["fault"]
    eventually(lambda: publisher.state.waiting == 0)
    assert publisher.acknowledged == publisher.published == 100
    assert publisher.state.since > lost_since


def test_nothing_is_lost_and_no_old_status_comes_last_when_a_hung_broker_dies(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    publisher = publisher_of(mosquitto.port, replay_rate=1000)
    publisher.start()
    connected(publisher)
    mosquitto.pause()
    publisher.set_status(health("running"))
    sent = publisher_of.issue(publisher, 60)
    assert publisher.connected
    assert publisher.state.waiting == 60
    assert 15 <= publisher.state.unacknowledged <= 20  # no more than may be in flight, the status among them
    mosquitto.kill()
    eventually(lambda: "nothing listens" in str(publisher.state.reason))
    publisher.set_status(health("paused"))
    with listening_first(mosquitto, publisher) as listener:
        eventually(lambda: publisher.acknowledged == 60)
        listener.until(lambda messages: verdicts(60)(messages) and ends_with("paused")(messages))
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
        publisher_of.issue(publisher)
        assert publisher.state.waiting == 1
        assert "refused" in str(check_broker(MqttSettings(host="127.0.0.1", port=broker.port, **settings), 5).refusal)
    assert "wrong" not in caplog.text
    assert "wrong" not in str(vars(publisher))


def test_a_broker_that_never_acknowledges_gets_few_verdicts_and_a_new_connection(
    publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(mqtt, "PATIENCE", 0.2)
    with StubBroker() as broker:
        publisher = publisher_of(broker.port, keepalive_s=2, in_flight=5)
        publisher.start()
        connected(publisher)
        publisher_of.issue(publisher, 30)
        assert publisher.state.unacknowledged < 5  # the status is the fifth
        eventually(lambda: broker.connections >= 2)
        eventually(lambda: broker.published.count(ANOMALY.encode()) >= 8)  # tried again, some live and some from disk
        assert broker.published.count(ANOMALY.encode()) <= broker.connections * 5
        assert publisher.acknowledged == 0
        assert len(publisher_of.waiting) == 30
    assert "not connected to the broker: the broker has not acknowledged a message for 0 s" in caplog.text


@pytest.mark.parametrize("inbox", [None, Notes()], ids=["new sessions", "one session"])
def test_verdicts_in_paho_stay_few_over_many_connections(publisher_of: Publishers, inbox: Notes | None) -> None:
    with StubBroker(granted=b"\x01\x01\x01\x00") as broker:
        publisher = publisher_of(broker.port, inbox, in_flight=5)
        publisher.start()
        for count in range(1, 5):
            eventually(lambda count=count: broker.connections >= count and publisher.connected)  # type: ignore[misc]
            publisher_of.issue(publisher, 10)
            assert len(publisher._client.client._out_messages) <= 5
            publisher._client.drop("once more")
        assert publisher._client.client._inflight_messages <= 5


def test_packets_that_vanish_are_noticed(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    with Proxy(mosquitto.port) as proxy, subscribe(mosquitto.port, "line/#") as listener:
        publisher = publisher_of(proxy.port, keepalive_s=2)
        publisher.set_status(health("running"))
        publisher.start()
        connected(publisher)
        began = time.monotonic()
        proxy.swallow()
        lost = publisher_of.issue(publisher, 3)
        assert publisher.connected
        eventually(lambda: publisher.acknowledged == 3)
        assert time.monotonic() - began < 1.5 * 2 + 6  # 6: a slow machine
        listener.until(lambda messages: verdicts(3)(messages) and ends_with("running")(messages))
        assert [one.id for one in lost] == ids(listener)


def test_a_full_network_refuses_heatmaps(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    mosquitto.pause()
    sent = [publisher.publish_heatmap(bytes(4 << 20), verdict(1)) for _ in range(12)]
    assert sent[-1] is False  # they do not pile up
    publisher_of.issue(publisher)
    mosquitto.resume()
    eventually(lambda: publisher.acknowledged == 1)


def test_stop_is_bounded_when_the_broker_hangs(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    mosquitto.pause()
    publisher_of.issue(publisher)
    while publisher.publish_heatmap(bytes(4 << 20), verdict(1)):
        pass  # until the network takes no more
    began = time.monotonic()
    assert publisher.stop(timeout_s=0.2) == 1
    assert time.monotonic() - began < 3
    assert not [thread for thread in threading.enumerate() if LINE in thread.name]


def test_stop_is_prompt_when_there_is_no_broker(publisher_of: Publishers) -> None:
    publisher = publisher_of(free_port())
    publisher.start()
    publisher_of.issue(publisher, 2)
    eventually(lambda: "nothing listens" in str(publisher.state.reason))
    began = time.monotonic()
    assert publisher.stop(timeout_s=5) == 2
    assert time.monotonic() - began < 3


def test_an_exception_in_a_callback_is_a_state_and_is_recovered_from(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    eventually(lambda: publisher.state.last_puback_age_s is not None)
    reasons: list[str] = []
    lost = publisher._client._lost

    def note(reason: str, cause: Cause, heard_at: float | None = None) -> None:
        reasons.append(reason)
        lost(reason, cause, heard_at)

    monkeypatch.setattr(publisher._client, "_lost", note)
    with monkeypatch.context() as broken:
        broken.setattr(publisher, "_settle", lambda sent, code: 1 / 0)
        publisher_of.issue(publisher)
        eventually(lambda: reasons != [])
    assert reasons[0] == "failure in _on_publish: division by zero"
    eventually(lambda: publisher.acknowledged == 1)
    assert publisher.connected


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_network_thread_is_noticed_and_replaced(
    mosquitto: Mosquitto, publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    with monkeypatch.context() as broken:
        broken.setattr(publisher._client.client, "_handle_pubackcomp", lambda cmd: 1 / 0)
        publisher_of.issue(publisher)
        eventually(lambda: publisher.state.reason == "the network thread has ended")
    assert not publisher.connected
    publisher.publish_stats(stats())  # whatever is said next starts it anew
    eventually(lambda: publisher.acknowledged == 1)
    assert publisher.connected


def test_an_outbox_that_cannot_be_read_is_a_state(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher_of.keep(3)

    class Broken:
        """An outbox whose disk cannot be read once."""

        def __init__(self) -> None:
            self.fails = True

        def __getattr__(self, name: str) -> Any:
            return getattr(publisher_of.outbox, name)

        def waiting(self, line: str, limit: int, besides: Any = ()) -> Any:
            if self.fails:
                raise OSError("no disk")
            return publisher_of.outbox.waiting(line, limit, besides)

    publisher = publisher_of(mosquitto.port)
    publisher._backlog._outbox = broken = Broken()
    publisher.start()
    eventually(lambda: publisher_of.alarm("outbox") == "verdicts that wait for the broker cannot be sent: no disk")
    broken.fails = False
    publisher.publish_verdict(verdict(4))  # which makes it look again
    eventually(lambda: publisher.acknowledged == 4)
    assert publisher_of.alarm("outbox") is None

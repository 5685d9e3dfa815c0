"""Messages that are too large for the broker, by a clock of the tests' own and with a real broker."""

from __future__ import annotations

import logging
import time

import pytest
from paho.mqtt.properties import Properties

from edge.mqtt import packet_limit
from edge.mqtt.packet_limit import PacketLimit, packet_size
from edge.mqtt.properties import of_message
from edge.ops.alarms import Alarms
from edge.settings import MqttSettings
from edge.topics import ANOMALY, HEATMAP, STATUS, Topic
from tests.support.mosquitto import Mosquitto, client, eventually, subscribe
from tests.support.publisher import ANOMALY as VERDICTS
from tests.support.publisher import LINE, TRIGGER, Notes, Publishers, connected, ids, verdicts


class Clock:
    """Stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(packet_limit, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


def limit_of(alarms: Alarms, **settings: int) -> PacketLimit:
    return PacketLimit(MqttSettings.model_validate(settings), LINE, alarms)


def said(limit: PacketLimit, alarms: Alarms) -> str | None:
    limit.look()
    return next((alarm.message for alarm in alarms.of(LINE) if alarm.code == "broker_packet_size"), None)


def lose_after(limit: PacketLimit, clock: Clock, *sizes: int, pause_s: float = 0.2) -> None:
    """A connection that is lost so long after these were sent."""
    limit.told(None)
    for size in sizes:
        limit.sent(size)
    clock.now += pause_s
    limit.lost()


def test_any_size_is_sent_until_somebody_knows_better(clock: Clock, alarms: Alarms) -> None:
    limit = limit_of(alarms)
    assert limit.largest is None
    lose_after(limit, clock, 70_000)
    assert (limit.largest, said(limit, alarms)) == (None, None)


def test_two_losses_in_a_row_right_after_large_messages_are_put_down_to_them(clock: Clock, alarms: Alarms) -> None:
    limit = limit_of(alarms)
    lose_after(limit, clock, 71_000)
    lose_after(limit, clock, 70_000)
    assert limit.largest == 69_999
    assert "after messages of 70000 bytes: none larger than 69999 bytes are sent" in str(said(limit, alarms))
    lose_after(limit, clock, 69_000)  # one may be a broker that restarts
    assert limit.largest == 69_999
    lose_after(limit, clock, 69_500)  # and now the steps are larger
    assert limit.largest == 69_999 * 3 // 4
    assert "of 69000 bytes: none larger than 52499" in str(said(limit, alarms))


def test_a_loss_with_another_cause_in_between_begins_anew(clock: Clock, alarms: Alarms) -> None:
    limit = limit_of(alarms)
    lose_after(limit, clock, 70_000)
    lose_after(limit, clock)  # nothing was sent
    lose_after(limit, clock, 70_000)
    assert limit.largest is None


@pytest.mark.parametrize("sizes", [(8 * 1024 - 1,), (900, 1000)])
def test_small_messages_are_never_suspected(clock: Clock, alarms: Alarms, sizes: tuple[int, ...]) -> None:
    limit = limit_of(alarms)
    for _ in range(5):
        lose_after(limit, clock, *sizes)
    assert limit.largest is None


def test_what_the_connection_has_outlived_is_not_suspected(clock: Clock, alarms: Alarms) -> None:
    limit = limit_of(alarms)
    for _ in range(5):
        lose_after(limit, clock, 70_000, pause_s=1.0)  # too long after it
    for _ in range(5):
        limit.told(None)
        limit.sent(70_000)
        clock.now += 1.0
        lose_in_the_same(limit, clock, 70_000)  # as large as one that the broker took
    assert limit.largest is None
    for _ in range(2):
        limit.told(None)
        limit.sent(70_000)
        clock.now += 1.0
        lose_in_the_same(limit, clock, 70_001)
    assert limit.largest == 70_000


def lose_in_the_same(limit: PacketLimit, clock: Clock, size: int) -> None:
    limit.sent(size)
    clock.now += 0.2
    limit.lost()


def test_a_broker_that_says_that_it_was_too_large_is_believed_at_once(clock: Clock, alarms: Alarms) -> None:
    limit = limit_of(alarms)
    limit.sent(20_000)
    limit.lost(told=True)
    assert limit.largest == 19_999


@pytest.mark.parametrize("losses", [1, 2])
def test_a_loss_that_is_told_before_the_message_is_handed_over_counts(
    publisher_of: Publishers, monkeypatch: pytest.MonkeyPatch, losses: int
) -> None:
    """paho's thread sends, and the broker hangs up, while the sender's thread waits for its turn."""
    with Mosquitto() as broker:
        publisher = publisher_of(broker.port, Notes(), version="3.1.1")
        publisher.start()
        connected(publisher)
        publisher_of.issue(publisher)
        eventually(lambda: publisher_of.waiting == [])
        hand_over = publisher._client.publish

        def hand_over_and_lose(topic: Topic, payload: bytes, props: Properties | None) -> int | None:
            packet = hand_over(topic, payload, props)
            if topic is HEATMAP:
                publisher.lost("hung_up")
            return packet

        monkeypatch.setattr(publisher._client, "publish", hand_over_and_lose)
        (verdict,) = publisher_of.issue(publisher)
        for _ in range(losses):
            assert publisher.publish_heatmap(bytes(70_000), verdict)
        assert publisher.publish_heatmap(bytes(70_000), verdict) == (losses == 1)


def test_the_smallest_limit_counts_and_is_named(clock: Clock, alarms: Alarms) -> None:
    limit = limit_of(alarms, max_packet_kb=50)
    assert limit.largest == 51_200
    limit.refuse(60_000, "a/b")
    assert said(limit, alarms) == "a message of 60000 bytes on a/b was not sent: mqtt.max_packet_kb allows 51200"
    limit.told(30_000)
    assert (limit.largest, said(limit, alarms)) == (30_000, None)
    limit.refuse(40_000, "a/b")
    assert said(limit, alarms) == "a message of 40000 bytes on a/b was not sent: the broker allows 30000"
    limit.told(30_000)  # a connection to the same broker: no news
    assert said(limit, alarms) is not None
    limit.told(None)
    assert (limit.largest, said(limit, alarms)) == (51_200, None)


@pytest.mark.parametrize("topic", [ANOMALY, HEATMAP, STATUS])
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_sizes_are_never_said_too_small(version: str, topic: type[ANOMALY]) -> None:  # type: ignore[valid-type]
    for length in (0, 100, 16_300, 70_000):
        props = of_message(topic, LINE, seq="12", id="x" * 36) if version == "5" else None  # type: ignore[arg-type]
        name = topic.of(LINE)  # type: ignore[attr-defined]
        body = 2 + len(name) + 2 + (len(props.pack()) if props is not None else 0) + length  # type: ignore[no-untyped-call]
        digits = 1 + (body > 127) + (body > 16_383) + (body > 2_097_151)
        assert 0 <= packet_size(name, bytes(length), props) - (1 + digits + body) <= 4


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_broker_with_a_limit_below_the_heatmap_keeps_its_connection(
    publisher_of: Publishers, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    """Fault 4: with 3.1.1 it can say no reason; the old service lost the connection with every part, for ever."""
    caplog.set_level(logging.INFO)
    notes = Notes()
    with Mosquitto(options=["max_packet_size 65536"]) as broker:
        publisher = publisher_of(broker.port, notes, version=version)
        publisher.start()
        connected(publisher)
        with subscribe(broker.port, "line/#") as listener, client(broker.port) as machine:
            for number in range(10):
                machine.publish(TRIGGER, b"%d" % number, 1).wait_for_publish(5)
                eventually(lambda: len(notes.taken) > number)  # noqa: B023
                eventually(lambda: publisher.connected)
                (issued,) = publisher_of.issue(publisher)
                publisher.publish_heatmap(bytes(66_000 + 100 * number), issued)
                time.sleep(0.15)  # the broker hangs up now, if it does
            listener.until(verdicts(10))
            assert len(set(ids(listener))) == 10
            # On a busy machine the loss may be seen a message later, and the limit is then a little higher.
            assert not publisher.publish_heatmap(bytes(70_000), issued)
            assert publisher.publish_heatmap(bytes(40_000), issued)
            listener.until(lambda messages: any(len(message.payload) == 40_000 for message in messages))
            assert listener.of(f"{VERDICTS}/heatmap")[0].payload == bytes(40_000)
        eventually(lambda: publisher_of.waiting == [])
        eventually(lambda: publisher_of.alarm("broker_packet_size") is not None)
        told = "the broker allows 65536" if version == "5" else "the broker ends the connection after messages of 66"
        assert told in str(publisher_of.alarm("broker_packet_size"))
        losses = sum("not connected" in record.getMessage() for record in caplog.records if record.levelno > 20)
        assert losses == (0 if version == "5" else 2)
        # A reconnect makes no fresh trigger late.
        assert max(message.waited_s for message in notes.taken) < 0.9

"""Verdicts that wait on disk, and how they reach a broker that is there again."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from edge.clock import utc_now
from edge.messages import Verdict
from edge.mqtt.backlog import Backlog, is_late, marked
from edge.mqtt.in_flight import InFlight, Sent
from edge.settings import MqttSettings
from edge.topics import ANOMALY, STATUS
from tests.support.mosquitto import Message, Mosquitto, eventually, free_port, subscribe
from tests.support.publisher import ANOMALY as VERDICTS
from tests.support.publisher import LINE, Publishers, connected, ends_with, health, ids, verdict, verdicts


def bodies(messages: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in messages if message.topic == VERDICTS]


def test_verdicts_of_the_last_run_are_sent_oldest_first_and_marked(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    old, young = publisher_of.keep(30, age_s=60), publisher_of.keep(5)
    with subscribe(mosquitto.port, VERDICTS) as listener:
        publisher = publisher_of(mosquitto.port, replay_rate=1000, historical_after_s=30)
        publisher.start()
        found = bodies(listener.until(verdicts(35)))
    assert [one["id"] for one in found] == [one.id for one in old + young]
    assert [one["historical"] for one in found] == [True] * 30 + [False] * 5
    assert Verdict.model_validate(found[0]).to_json() == old[0].model_copy(update={"historical": True}).to_json()
    eventually(lambda: publisher_of.waiting == [])
    assert (publisher.published, publisher.acknowledged) == (0, 35)


def test_late_verdicts_are_sent_no_faster_than_the_settings_say_and_live_ones_at_once(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    publisher_of.keep(100, age_s=60)
    with subscribe(mosquitto.port, VERDICTS) as listener:
        publisher = publisher_of(mosquitto.port, replay_rate=20)
        publisher.start()
        began = time.monotonic()
        listener.until(verdicts(3))
        (live,) = publisher_of.issue(publisher)
        listener.until(lambda messages: live.id in [one["id"] for one in bodies(messages)])
        found = bodies(listener.until(verdicts(20)))
        assert time.monotonic() - began > 0.8  # 19 pauses of 50 ms
    assert [one["id"] for one in found if not one["historical"]] == [live.id]
    late = [one["seq"] for one in found if one["historical"]]
    assert late == sorted(late)


def test_what_finds_no_room_goes_when_there_is_some(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port, in_flight=1, historical_after_s=60)
    publisher.start()
    connected(publisher)
    with subscribe(mosquitto.port, VERDICTS) as listener:
        mosquitto.pause()
        issued = publisher_of.issue(publisher, 12)
        for state in ("running", "fault", "paused"):
            publisher.set_status(health(state))
        assert publisher.state.unacknowledged <= 1
        mosquitto.resume()
        listener.until(verdicts(12))
    assert ids(listener) == [one.id for one in issued]
    with subscribe(mosquitto.port, STATUS.of(LINE)) as statuses:
        statuses.until(ends_with("paused"))


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_burst_arrives_each_once_though_some_go_live_and_some_from_disk(
    mosquitto: Mosquitto, publisher_of: Publishers, version: str
) -> None:
    publisher = publisher_of(mosquitto.port, version=version, in_flight=4, replay_rate=1000)
    publisher.start()
    connected(publisher)
    with subscribe(mosquitto.port, VERDICTS) as listener:
        issued = publisher_of.issue(publisher, 150)
        eventually(lambda: publisher.acknowledged == 150)
        listener.until(verdicts(150))
    assert sorted(ids(listener)) == sorted(one.id for one in issued)
    assert publisher_of.waiting == []


def test_nothing_is_lost_however_often_the_connection_breaks(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port, in_flight=8, replay_rate=1000)
    publisher.start()
    issued = []
    with subscribe(mosquitto.port, VERDICTS) as listener:
        for _ in range(10):
            issued += publisher_of.issue(publisher, 12)
            if publisher.connected:
                publisher._client.drop("once more")
        eventually(lambda: publisher_of.waiting == [])
        eventually(lambda: len(set(ids(listener))) == len(issued))
    assert set(ids(listener)) == {one.id for one in issued}


def test_a_verdict_is_not_replayed_before_its_line_has_published_it(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    with subscribe(mosquitto.port, VERDICTS) as listener:
        (early,) = publisher_of.keep()  # on disk, the line is about to publish it
        with publisher._lock:
            publisher._backlog.behind = True
        publisher.wake()
        time.sleep(0.2)
        assert ids(listener) == []
        publisher.publish_verdict(early)
        publisher.publish_verdict(early)  # once more does no harm
        listener.until(verdicts(1))
        eventually(lambda: publisher.acknowledged >= 1)
    assert set(ids(listener)) == {early.id}


def test_verdicts_are_counted_while_the_broker_is_away(publisher_of: Publishers) -> None:
    publisher = publisher_of(free_port())
    publisher.start()
    (first, *_) = publisher_of.issue(publisher, 3)
    state = publisher.state
    assert (state.waiting, state.unacknowledged, state.dropped) == (3, 0, 0)
    assert state.oldest is not None
    assert abs((state.oldest - first.issued_at).total_seconds()) < 0.001  # stamps have milliseconds
    assert (publisher.published, publisher.acknowledged) == (3, 0)


def test_the_mark_changes_nothing_else() -> None:
    one = verdict(7).model_copy(update={"part_id": "Öse ✓", "threshold": 1e-7})
    found = json.loads(marked(one.to_json()))
    assert found.pop("historical") is True
    assert found == {name: value for name, value in json.loads(one.to_json()).items() if name != "historical"}
    assert "✓".encode() in marked(one.to_json())


@pytest.mark.parametrize(("age_s", "late"), [(0.0, False), (1.0, False), (2.1, True), (3600, True), (-3600, True)])
def test_late_is_what_is_old_or_from_the_future(age_s: float, late: bool) -> None:
    assert is_late(utc_now() - timedelta(seconds=age_s), 2.0) is late


def test_replay_begins_anew_with_the_oldest_after_a_lost_connection(publisher_of: Publishers) -> None:
    first, second, third = publisher_of.keep(3)
    backlog = Backlog(publisher_of.outbox, LINE, MqttSettings())
    one = backlog.next([], 3)
    assert one is not None
    backlog.sent(one)
    two = backlog.next([first.id], 3)
    assert two is not None
    assert (one.id, two.id) == (first.id, second.id)
    backlog.again()
    again = backlog.next([], 3)
    assert again is not None
    assert again.id == first.id
    publisher_of.outbox.delivered(LINE, first.id)
    backlog.again()
    rest = backlog.next([second.id], 3)
    assert rest is not None
    assert rest.id == third.id
    backlog.again()
    assert backlog.next([], 0) is None  # none of them has been published


def test_in_flight_keeps_half_of_its_room_for_live_verdicts() -> None:
    in_flight = InFlight(4)
    in_flight.note(1, Sent(ANOMALY, "a", replayed=True))
    assert in_flight.room_to_replay
    in_flight.note(2, Sent(ANOMALY, "b", replayed=True))
    assert not in_flight.room_to_replay
    assert in_flight.room
    in_flight.note(3, Sent(ANOMALY, "c"))
    in_flight.note(4, Sent(STATUS))
    assert not in_flight.room
    assert in_flight.verdicts == ["a", "b", "c"]


def test_in_flight_tries_refused_verdicts_again_few_and_ever_later() -> None:
    in_flight = InFlight(4)
    for name in ("a", "b", "c"):
        in_flight.refuse(name, 100.0)
    assert in_flight.besides == ["a", "b"]  # half of the room
    assert not in_flight.room_to_replay  # so that nothing is tried in a circle
    assert in_flight.next_release == 110.0
    assert not in_flight.release(109.9)
    assert in_flight.release(110.0)
    assert in_flight.room_to_replay
    assert in_flight.next_release is None
    in_flight.refuse("c", 110.0)  # takes the place of one that may have left the outbox
    assert in_flight.besides == ["c"]
    for now, pause in ((120.0, 20.0), (140.0, 40.0), (180.0, 60.0), (240.0, 60.0)):
        assert in_flight.release(now)
        in_flight.refuse("c", now)
        assert in_flight.next_release == now + pause
    in_flight.accept("c")
    assert in_flight.besides == []


def test_a_connection_that_is_made_while_the_disk_is_read_loses_nothing(publisher_of: Publishers) -> None:
    """`again` comes from the network thread, in the midst of `next`."""
    publisher_of.keep(3)

    class Interrupted:
        def keeps(self, line: str) -> bool:
            return False

        def waiting(self, line: str, limit: int, besides: Any = ()) -> Any:
            found = publisher_of.outbox.waiting(line, limit, besides)
            if not interrupted:
                interrupted.append(True)
                backlog.again()
                backlog.behind = False  # as `next` has it where `again` came a moment earlier
            return found

    interrupted: list[bool] = []
    backlog = Backlog(Interrupted(), LINE, MqttSettings())  # type: ignore[arg-type]
    assert backlog.next([], 3) is not None
    assert backlog.next([], 3) is not None  # after the new connection all of it is behind again


def test_what_was_given_without_the_disk_and_not_sent_is_sent_when_the_disk_has_it(
    mosquitto: Mosquitto, publisher_of: Publishers
) -> None:
    publisher = publisher_of(mosquitto.port, in_flight=1)
    publisher.start()
    connected(publisher)
    stands, goes_on = threading.Event(), threading.Event()
    publisher_of.outbox._writer.submit(lambda _: stands.set() or goes_on.wait(10))
    assert stands.wait(5)
    given = [verdict(seq) for seq in range(1, 6)]
    with subscribe(mosquitto.port, VERDICTS) as listener:
        for one in given:  # more than may be on their way
            publisher_of.outbox.keep(one)
            publisher.publish_verdict(one)
        time.sleep(0.5)  # the delivery has looked, and found nothing on disk
        goes_on.set()
        listener.until(lambda messages: len({body["id"] for body in bodies(messages)}) == 5)
    eventually(lambda: publisher_of.waiting == [])

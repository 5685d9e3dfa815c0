"""What tells old messages from new ones, by a clock of the tests' own."""

from __future__ import annotations

from edge.mqtt.freshness import Freshness

NEVER = float("inf")  # there was no connection before in this run


def test_sync_message_ends_what_may_have_waited() -> None:
    freshness = Freshness(True, 100.0, away_s=4.0)
    assert freshness.waited_s(109.0) == 13.0  # it was not sent yet; the connection was good until 96
    sent = freshness.to_send(110.0)
    assert sent is not None
    assert freshness.to_send(110.0) is None
    assert not freshness.came(b"of another connection")
    assert freshness.waited_s(111.0) == 15.0
    assert freshness.waited_s(112.5) == 16.5  # old ones follow each other
    assert freshness.came(sent)
    assert not freshness.came(sent)
    assert freshness.waited_s(113.0) == 0.0
    assert not freshness.overdue(200.0)
    assert Freshness(False, 100.0, away_s=4.0).waited_s(100.0) == 0.0


def test_what_came_before_this_run_has_waited_for_ever() -> None:
    freshness = Freshness(True, 100.0, NEVER)
    assert freshness.waited_s(100.0) == NEVER


def test_sync_message_that_does_not_come_back_is_not_waited_for() -> None:
    freshness = Freshness(True, 100.0, NEVER)
    freshness.to_send(100.0)
    assert freshness.sorting(101.9)
    assert freshness.overdue(102.0)
    assert freshness.waited_s(102.0) == 0.0
    busy = Freshness(True, 100.0, NEVER)
    busy.to_send(100.0)
    assert [busy.waited_s(100.0 + second) > 0 for second in range(31)] == [True] * 30 + [False]


def test_sync_message_is_held_up_by_what_is_not_acknowledged() -> None:
    freshness = Freshness(True, 100.0, 1.0)
    sent = freshness.to_send(100.0)
    freshness.hold(1, 100.0)
    assert freshness.waited_s(190.0) == 91.0  # the broker may wait for the acknowledgement
    assert not freshness.overdue(190.0)
    assert not freshness.let_go(1, 190.0)
    assert freshness.waited_s(191.0) == 92.0
    assert sent is not None
    assert freshness.came(sent)
    freshness.hold(2, 200.0)
    assert not freshness.let_go(2, 200.5)
    freshness.hold(3, 200.0)
    assert freshness.let_go(3, 201.5)  # late: another sync message
    assert freshness.waited_s(201.5) == 1.5  # the broker may have kept it since 3 was to be acknowledged
    assert freshness.to_send(201.5) not in (None, sent)

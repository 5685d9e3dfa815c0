"""What tells old messages from new ones, by a clock of the tests' own."""

from __future__ import annotations

from edge.mqtt.freshness import Marker


def test_marker_ends_what_is_old() -> None:
    marker = Marker(True, 100.0)
    assert marker.is_old(109.0)  # it was not sent yet
    sent = marker.to_send(110.0)
    assert sent is not None
    assert marker.to_send(110.0) is None
    marker.came(b"of another connection")
    assert marker.is_old(111.0)
    assert marker.is_old(112.9)  # old ones follow each other
    marker.came(sent)
    assert not marker.is_old(113.0)
    assert not marker.overdue(200.0)
    assert not Marker(False, 100.0).is_old(100.0)


def test_marker_that_does_not_come_back_is_not_waited_for() -> None:
    marker = Marker(True, 100.0)
    marker.to_send(100.0)
    assert marker.sorting(101.9)
    assert marker.overdue(102.0)
    assert not marker.is_old(102.0)
    busy = Marker(True, 100.0)
    busy.to_send(100.0)
    assert [busy.is_old(100.0 + second) for second in range(31)] == [True] * 30 + [False]


def test_marker_is_held_up_by_what_is_not_acknowledged() -> None:
    marker = Marker(True, 100.0)
    sent = marker.to_send(100.0)
    marker.hold(1, 100.0)
    assert marker.is_old(190.0)  # the broker may wait for the acknowledgement
    assert not marker.overdue(190.0)
    assert not marker.let_go(1, 190.0)
    assert marker.is_old(191.0)
    assert sent is not None
    marker.came(sent)
    marker.hold(2, 200.0)
    assert not marker.let_go(2, 200.5)
    marker.hold(3, 200.0)
    assert marker.let_go(3, 201.5)  # late: another marker
    assert marker.is_old(201.5)
    assert marker.to_send(201.5) not in (None, sent)

"""The list of what is wrong: conditions last until they are over, events are counted, the log says what changes."""

from __future__ import annotations

import logging

import pytest

from edge.ops import alarms as module
from edge.ops.alarms import Alarms


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    return clock


def test_a_condition_is_logged_when_it_begins_changes_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    alarms = Alarms()
    heard: list[str | None] = []
    alarms.listen(heard.append)
    for message in ("full", "full", "worn"):
        alarms.set("archive", message)
    (alarm,) = alarms.of("press-1")
    assert (alarm.code, alarm.message, alarm.severity) == ("archive", "worn", "warning")
    alarms.set("archive", None)
    alarms.set("archive", None)
    assert alarms.of("press-1") == []
    assert [record.getMessage() for record in caplog.records] == ["full", "worn", "over: worn"]
    assert heard == [None, None, None]


def test_a_line_has_its_own_and_the_services_alarms_faults_first() -> None:
    alarms = Alarms()
    alarms.raise_("archive", "full")
    alarms.raise_("state_disk", "slow", "press-1")
    alarms.raise_("broker", "away", "press-2")
    assert [alarm.code for alarm in alarms.of("press-1")] == ["state_disk", "archive"]
    assert [alarm.code for alarm in alarms.of(None)] == ["archive"]
    assert len(alarms.every()) == 3


def test_several_of_one_kind_are_told_apart() -> None:
    alarms = Alarms()
    for topic in ("stats", "anomaly"):
        alarms.raise_("broker_topic", f"refuses {topic}", "press-1", about=topic)
    alarms.clear("broker_topic", "press-1", "stats")
    assert [alarm.message for alarm in alarms.of("press-1")] == ["refuses anomaly"]
    alarms.clear("broker_topic", "press-1")
    assert alarms.of("press-1") == []


def test_events_are_logged_once_a_minute_with_a_count(now: list[float], caplog: pytest.LogCaptureFixture) -> None:
    alarms = Alarms()
    for _ in range(240):
        alarms.count("errors", "no frame", "press-1")
        now[0] += 0.5
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["no frame", "no frame (120 times in 60 s)"]
    (alarm,) = alarms.of("press-1")
    assert alarm.count == 240
    now[0] += 60.0
    assert alarms.of("press-1") == []

"""What a line last said of its state."""

from __future__ import annotations

import json
from typing import Any

from edge.clock import utc_now
from edge.messages import LineHealth, StatusAlarm
from edge.mqtt.line_status import CurrentStatus
from tests.support.publisher import LINE, health


def said(status: CurrentStatus) -> dict[str, Any]:
    payload = status.to_say()
    assert payload is not None
    found: dict[str, Any] = json.loads(payload)
    return found


def test_what_is_new_is_said_once() -> None:
    status = CurrentStatus(LINE, "box", "1.2.3")
    assert status.to_say() is None  # there was no connection yet
    assert status.change(health("running", "well"), generation=3)
    assert not status.change(health("running", "well"), generation=3)
    assert status.unsaid
    first = said(status)
    assert (first["state"], first["reason"], first["generation"], first["node"]) == ("running", "well", 3, "box")
    assert (status.to_say(), status.unsaid) == (None, False)
    alarm = StatusAlarm(code="drift", message="it drifts", since=utc_now(), severity="warning")
    assert status.change(health("running", "well"), generation=3, alarms=(alarm,))
    second = said(status)
    assert (second["alarms"][0]["code"], second["since"]) == ("drift", first["since"])
    status.repeat()
    assert said(status) == second


def test_after_the_last_word_there_is_none() -> None:
    status = CurrentStatus(LINE, "box", "1.2.3")
    status.change(health("running"), generation=2)
    assert status.change(health("stopped", "bye"), last=True)
    assert not status.change(health("running"))
    final = said(status)
    assert (final["state"], final["reason"], final["generation"]) == ("stopped", "bye", 2)


def test_the_last_will_is_of_the_connection_and_says_no_alarms() -> None:
    status = CurrentStatus(LINE, "box", "1.2.3")
    alarm = StatusAlarm(code="drift", message="it drifts", since=utc_now(), severity="warning")
    status.change(LineHealth(state="fault", reason="camera", remedy="look at it"), 2, (alarm,))
    will = json.loads(status.last_will())
    assert (will["state"], will["generation"]) == ("offline", 2)
    assert will["reason"] == "connection lost; it had been made at `since`"
    assert (will["level"], will["components"]) == ("fault", {})
    assert "look at it" not in will["remedy"]
    assert not will.get("alarms")
    assert status.unsaid  # a will is not said

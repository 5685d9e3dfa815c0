"""What pages say of lines and parts, without a browser."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from starlette.datastructures import QueryParams

from edge.hmi.formats import coded, from_local, in_one_line, local, size
from edge.hmi.pages.history_filters import Asked
from edge.hmi.pages.page import Notice, Notices
from edge.hmi.pages.parts import lamp_of, reasons, with_all_fields
from edge.hmi.wording import ENGLISH, Wording

GOOD = {"verdict": "normal", "score": 0.1, "threshold": 0.5}


@pytest.mark.parametrize(
    ("state", "verdict", "lost", "lamp"),
    [
        ("running", GOOD, False, "normal"),
        ("running", GOOD | {"verdict": "anomaly"}, False, "anomaly"),
        ("running", GOOD | {"verdict": "anomaly", "review": True}, False, "review"),
        ("running", GOOD | {"verdict": "error"}, False, "error"),
        ("ready", None, False, "waiting"),  # nothing was judged yet
        ("paused", GOOD, False, "paused"),  # the state comes before the last verdict
        ("fault", GOOD, False, "fault"),
        ("stopping", GOOD, False, "waiting"),
        ("running", GOOD, True, "lost"),
        (None, GOOD, False, "lost"),
    ],
)
def test_a_lamp_goes_by_state_and_verdict(state: str | None, verdict: Any, lost: bool, lamp: str) -> None:
    assert lamp_of(None if state is None else {"state": state}, verdict, lost=lost) == lamp


def test_reasons_are_places_and_descriptors_or_the_error() -> None:
    t = Wording(ENGLISH)
    region = {"position": "middle left", "score": 0.8, "descriptor": "a dent"}
    anomaly = {"regions": [region, region | {"descriptor": None}], "explanation": [{"text": "a scratch"}]}
    assert reasons(anomaly, t) == ("Left: a dent (0.800)", "Left: unlike the good parts (0.800)")
    assert reasons({"explanation": [{"text": "a scratch"}]}, t) == ("a scratch",)
    assert reasons({"error": {"message": "no picture"}}, t) == ("no picture",)
    assert reasons(None, t) == ()


def test_an_error_has_all_fields_and_no_score() -> None:
    found = with_all_fields({"verdict": "error", "error": {"code": "deadline", "message": "late"}})
    assert (found["score"], found["regions"], found["verdict"]) == (None, (), "error")


def test_times_are_those_of_the_line() -> None:
    assert local("2026-01-31T05:00:00.123Z", "Europe/Berlin") == "2026-01-31 06:00:00"
    typed = from_local("2026-01-31T06:00", "Europe/Berlin")
    assert typed is not None
    assert typed.astimezone(timezone.utc) == datetime(2026, 1, 31, 5, tzinfo=timezone.utc)
    assert from_local("soon", "Europe/Berlin") is None


def test_words_of_the_service_are_shown_as_they_are() -> None:
    assert coded("<b> `alfa-edge learn` & so on") == "&lt;b&gt; <code>alfa-edge learn</code> &amp; so on"
    assert in_one_line({"line": "one", "note": "", "yes": [], "seq": 3, "rate": 0.05}) == "line=one, seq=3, rate=0.05"
    assert [size(number) for number in (None, 12, 1500, 2.5e9, 3e13)] == ["–", "12 B", "1.5 kB", "2.5 GB", "30 TB"]


def test_filters_that_are_none_are_passed_over() -> None:
    query = QueryParams("kinds=anomaly&kinds=unheard&min_score=2&max_score=0.9&before_seq=-1&since=soon&part_id=A%201")
    asked = Asked.of(query, ["one", "two"])
    assert asked.arguments("UTC", 24) == {
        "line": "one",
        "kinds": ["anomaly"],
        "part_id": "A 1",
        "max_score": 0.9,
        "count": 24,
    }
    assert QueryParams(asked.query(7)).getlist("kinds") == ["anomaly"]
    assert QueryParams(asked.query(7))["before_seq"] == "7"


def test_old_notices_give_way() -> None:
    notices = Notices()
    first = notices.put(Notice("first"))
    assert notices.get(first) == Notice("first")
    for number in range(300):
        last = notices.put(Notice(str(number)))
    assert notices.get(first) is None
    assert notices.get(last) == Notice("299")
    assert notices.get(None) is None

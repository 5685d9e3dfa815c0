"""What a line has judged is found by what it is, page by page, and summed up over time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from core.database.database import DatabaseError
from edge.clock import iso_ms
from edge.control import history_commands
from edge.control.dispatcher import Dispatcher
from edge.messages import Bank
from edge.storage.history import History
from edge.storage.trend import Bucket, Trends
from edge.storage.verdict_tables import FILE
from tests.support.at_rest import asked
from tests.support.past import with_past

BEGIN = datetime(2026, 1, 31, 6, tzinfo=timezone.utc)
COUNT = 40


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def part(seq: int) -> dict[str, Any]:
    """One a minute; every tenth anomalous, the 15th an error, the last ten by another bank."""
    changes: dict[str, Any] = {"issued_at": at(seq), "score": seq / 100, "part_id": f"part {seq % 7}"}
    if seq == 15:
        return {"issued_at": at(seq), "verdict": "error"}
    if seq > 30:
        changes["bank"] = Bank(shots=9, revision=9)
    return changes | ({"verdict": "anomaly"} if seq % 10 == 0 else {})


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    folder = tmp_path_factory.mktemp("past")
    with with_past(folder, *(part(seq) for seq in range(1, COUNT + 1))) as dispatcher:
        for seq, kind in ((20, "false_alarm"), (5, "missed")):
            dispatcher.database.run(
                lambda tables, seq=seq, kind=kind: tables.feed_back(  # type: ignore[misc]
                    "one", seq, kind, who="eva", note="", shot=None, picture=None
                )
            )
        yield dispatcher


def done(dispatcher: Dispatcher, command: str, **arguments: Any) -> dict[str, Any]:
    reply = asked(dispatcher, command, **{"line": "one"} | arguments)
    assert reply.refusal is None, reply.refusal
    return reply.result or {}


def refused(dispatcher: Dispatcher, command: str, **arguments: Any) -> str:
    reply = asked(dispatcher, command, **{"line": "one"} | arguments)
    assert reply.refusal is not None, reply.result
    return reply.refusal.message


def seqs(found: dict[str, Any]) -> list[int]:
    return [entry["seq"] for entry in found["verdicts"]]


@pytest.mark.parametrize(
    ("asked_for", "found"),
    [
        ({"count": 3}, [40, 39, 38]),
        ({"kinds": ["anomaly", "error"]}, [40, 30, 20, 15, 10]),
        ({"kinds": ["anomaly"], "before_seq": 30}, [20, 10]),
        ({"part_id": "part 3", "before_seq": 24}, [17, 10, 3]),
        ({"min_score": 0.38}, [40, 39, 38]),
        ({"max_score": 0.02}, [2, 1]),
        ({"min_score": 0.1, "max_score": 0.12}, [12, 11, 10]),
        ({"recipe": "default", "count": 2}, [40, 39]),
        ({"recipe": "other"}, []),
        ({"since": iso_ms(at(39))}, [40, 39]),
        ({"since": iso_ms(at(9)), "until": iso_ms(at(21)), "kinds": ["anomaly"]}, [20, 10]),
        ({"before_seq": 1}, []),
    ],
)
def test_verdicts_are_found_by_what_they_are(
    dispatcher: Dispatcher, asked_for: dict[str, Any], found: list[int]
) -> None:
    assert seqs(done(dispatcher, "history", **asked_for)) == found


@pytest.mark.parametrize(
    "choice", [{}, {"kinds": ["normal"]}, {"part_id": "part 3"}, {"max_score": 0.2}, {"kinds": ["anomaly", "error"]}]
)
def test_pages_follow_each_other_without_a_gap(dispatcher: Dispatcher, choice: dict[str, Any]) -> None:
    whole = seqs(done(dispatcher, "history", **choice))
    found, before = list[int](), None
    for _ in range(COUNT):
        page = done(dispatcher, "history", count=2, before_seq=before, **choice)
        found += seqs(page)
        before = page["before_seq"]
        if before is None:
            break
    assert found == whole
    assert len(found) > 4


def test_a_search_that_takes_long_says_where_to_go_on(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_commands, "_SEARCHED_S", 0.0)
    page = done(dispatcher, "history", max_score=0.01)
    assert page == {"verdicts": [], "before_seq": COUNT + 1}, "nothing was looked at"
    monkeypatch.undo()
    assert seqs(done(dispatcher, "history", max_score=0.01, before_seq=page["before_seq"])) == [1]


def test_an_entry_has_what_was_said_of_it(dispatcher: Dispatcher) -> None:
    entries = {entry["seq"]: entry for entry in done(dispatcher, "history")["verdicts"]}
    assert {seq: entry["feedback"]["kind"] for seq, entry in entries.items() if entry["feedback"]} == {
        20: "false_alarm",
        5: "missed",
    }
    assert entries[20]["feedback"]["who"] == "eva"


def test_a_stretch_is_summed_up(dispatcher: Dispatcher) -> None:
    found = done(dispatcher, "trend", since=iso_ms(at(1)), until=iso_ms(at(41)), buckets=4)
    assert found["complete"]
    assert [bucket["since"] for bucket in found["buckets"]] == [iso_ms(at(minute)) for minute in (1, 11, 21, 31)]
    counts = [(bucket["normal"], bucket["anomaly"], bucket["error"]) for bucket in found["buckets"]]
    assert counts == [(9, 1, 0), (8, 1, 1), (9, 1, 0), (9, 1, 0)]
    assert [bucket["score_max"] for bucket in found["buckets"]] == [0.1, 0.2, 0.3, 0.4]
    assert [bucket["score_median"] for bucket in found["buckets"]] == [0.05, 0.16, 0.25, 0.35]
    assert {bucket["threshold"] for bucket in found["buckets"]} == {0.5}


def test_a_stretch_without_parts_says_so_and_one_that_takes_long_is_cut(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    [empty] = done(dispatcher, "trend", since=iso_ms(at(-9)), until=iso_ms(at(0)), buckets=1)["buckets"]
    nothing = {"normal": 0, "anomaly": 0, "error": 0, "score_median": None, "score_max": None, "threshold": None}
    assert empty == {"since": iso_ms(at(-9))} | nothing
    assert len(done(dispatcher, "trend", since=iso_ms(at(0)), until=iso_ms(at(0.001)), buckets=500)["buckets"]) == 500
    monkeypatch.setattr(history_commands, "_SUMMED_S", 0.0)
    found = done(dispatcher, "trend", since=iso_ms(at(1)), until=iso_ms(at(41)), buckets=4)
    assert not found["complete"]
    assert [len(bucket) for bucket in found["buckets"]] == [1, 1, 1, 7], "the newest is there"


@pytest.mark.parametrize(
    ("now", "zone", "shift", "since", "counts"),
    [
        (at(20.5), "UTC", "06:20", at(20), (0, 1, 0)),
        (at(19.5), "UTC", "06:00", at(0), (17, 1, 1)),
        (at(20.5), "Europe/Berlin", "07:10", at(10), (8, 2, 1)),
    ],
)
def test_the_shift_is_counted_by_the_clock_of_its_people(
    dispatcher: Dispatcher,
    monkeypatch: pytest.MonkeyPatch,
    now: datetime,
    zone: str,
    shift: str,
    since: datetime,
    counts: tuple[int, int, int],
) -> None:
    shifts = ("06:00", "06:20", "07:10")
    service = dispatcher.service.model_copy(update={"zone": zone, "shifts": shifts})
    monkeypatch.setattr(dispatcher, "service", service)
    monkeypatch.setattr(history_commands, "utc_now", lambda: now)
    found = done(dispatcher, "shift_counts")
    assert (found["shift"], datetime.fromisoformat(found["since"].replace("Z", "+00:00"))) == (shift, since)
    assert tuple(found["counts"].values()) == counts
    assert found["per_minute"] == 1


def test_a_threshold_is_tried_on_the_last_parts_that_were_judged_as_now(dispatcher: Dispatcher) -> None:
    found = done(dispatcher, "threshold_preview", threshold=0.21)
    assert found["parts"] == 29  # neither the error, nor those by another bank
    assert found["then"] == {"threshold": 0.21, "anomalies": 10, "share": pytest.approx(10 / 29)}
    assert found["now"]["anomalies"] == 0
    last = done(dispatcher, "threshold_preview", threshold=0.21, parts=5)
    assert (last["parts"], last["then"]["share"]) == (5, 1.0)
    assert done(dispatcher, "threshold_preview", line="two", threshold=0.21) == {
        "parts": 0,
        "then": {"threshold": 0.21, "anomalies": 0, "share": None},
        "now": {"threshold": 0.5, "anomalies": 0, "share": None},
    }


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        ("history", {"line": "three"}, "no line 'three'"),
        ("history", {"count": 10_001}, "count"),
        ("history", {"kinds": ["good"]}, "kinds"),
        ("history", {"min_score": 2}, "min_score"),
        ("history", {"min_score": float("nan")}, "min_score"),
        ("history", {"before_seq": 2**63}, "before_seq"),
        ("history", {"since": "2026-01-31"}, "since"),
        ("history", {"part_id": "x" * 201}, "part_id"),
        ("history", {"part_id": "\udc80"}, "part_id"),
        ("trend", {"line": "three", "since": iso_ms(BEGIN)}, "no line 'three'"),
        ("trend", {}, "since"),
        ("trend", {"since": iso_ms(BEGIN), "buckets": 501}, "buckets"),
        ("trend", {"since": iso_ms(at(1)), "until": iso_ms(at(1))}, "until is not after since"),
        ("trend", {"since": "2999-01-01T00:00:00Z"}, "has not come yet"),
        ("shift_counts", {"line": "three"}, "no line 'three'"),
        ("threshold_preview", {"threshold": 1.1}, "threshold"),
        ("threshold_preview", {"threshold": 0.5, "parts": 10_001}, "parts"),
        ("threshold_preview", {"threshold": 0.5, "recipe": "other"}, "other"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    dispatcher: Dispatcher, command: str, arguments: dict[str, Any], why: str
) -> None:
    assert why in refused(dispatcher, command, **arguments)


def test_the_widest_stretch_there_is_can_be_asked_for(dispatcher: Dispatcher) -> None:
    widest = {"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}
    assert len(seqs(done(dispatcher, "history", count=10_000, **widest))) == COUNT
    found = done(dispatcher, "trend", buckets=500, **widest)
    assert sum(bucket["normal"] for bucket in found["buckets"]) == COUNT - 5


def test_where_nothing_was_judged_there_is_nothing(dispatcher: Dispatcher) -> None:
    assert done(dispatcher, "history", line="two") == {"verdicts": [], "before_seq": None}
    assert done(dispatcher, "shift_counts", line="two")["counts"] == {"normal": 0, "anomaly": 0, "error": 0}


def test_without_a_history_there_is_nothing_either(tmp_path: Path) -> None:
    assert History(tmp_path).page("one") == ([], None)
    assert History(tmp_path).some("one", [1]) == []
    trends = Trends(tmp_path)
    assert trends.counts("one", at(0), at(9)) == {"normal": 0, "anomaly": 0, "error": 0}
    assert trends.buckets("one", [at(0), at(1), at(2)], 1.0) == [Bucket(0, 0, 0, None, None, None)] * 2


def test_a_history_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all " * 500)
    with pytest.raises(DatabaseError, match=r"verdicts\.db"):
        Trends(tmp_path).buckets("one", [at(0), at(1)], 1.0)
    with pytest.raises(DatabaseError, match=r"verdicts\.db"):
        Trends(tmp_path).counts("one", at(0), at(1))

"""A third answer on a running line: what is said before, what is on the wire, and a queue that people empty."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from core.bank.shot_checks import FLAGS
from core.image import decode, encode_png, read
from core.review import borders_by_escape_rate, borders_by_review_rate
from core.simline import render
from edge.control.client import RefusedError
from edge.control.client import ask as ask_console
from edge.storage.settings_database import LineCalibration
from tests.support.at_rest import asked, at_rest
from tests.support.mosquitto import Mosquitto, eventually
from tests.support.running import Running, service

PATIENCE_S = 90.0
OLD_SCHEMA = Path(__file__).parents[2] / "support" / "wire" / "verdict-before-review.json"
GOOD = [0.2 + place * 379 % 1009 / 2018 for place in range(99)]


@pytest.fixture(autouse=True)
def _few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are judged in a quarter of the time."""
    monkeypatch.setenv("ALFA_EDGE_METHOD__SCALES", "[3]")
    monkeypatch.setenv("ALFA_EDGE_METHOD__STRIDE", "3")


def calibrated(dispatcher: Any, scores: list[float]) -> None:
    """The line's calibration is of these scores."""
    dispatcher.enrolment.calibrate(
        dispatcher.ready("one"), [(score, score) for score in scores], 0.05, "good parts", "eva"
    )


def last(dispatcher: Any) -> LineCalibration:
    kept: LineCalibration | None = dispatcher.database.run(lambda tables: tables.calibration("one"))
    assert kept is not None
    return kept


def refused(dispatcher: Any, command: str, **arguments: Any) -> str:
    reply = asked(dispatcher, command, line="one", **arguments)
    assert reply.refusal is not None, reply.result
    return reply.refusal.message


def test_borders_are_shown_before_they_are_set_and_outlive_a_restart(tmp_path: Path) -> None:
    rates = {"false_alarm_rate": 0.02, "review_rate": 0.18}
    wanted = borders_by_review_rate(GOOD, 0.02, 0.18)
    with at_rest(tmp_path) as one:
        assert "has no calibration on good parts that holds" in refused(one, "review_set", **rates)
        calibrated(one, GOOD)
        before = one.line("one").recipe
        shown = asked(one, "review_set", line="one", **rates).result
        assert shown is not None
        assert (shown["set"], shown["borders"]["lower"], shown["borders"]["upper"]) == (
            False,
            wanted.lower,
            wanted.upper,
        )
        assert shown["share_of_good"] == pytest.approx(18 / 99)
        assert (shown["parts_per_hour"], shown["reviews_per_hour"]) == (None, None)  # it has judged nothing yet
        assert one.line("one").recipe is before
        assert asked(one, "review_set", line="one", sure=True, **rates).result is not None
    with at_rest(tmp_path) as one:
        recipe = one.line("one").recipe
        assert (recipe.threshold, recipe.review_below) == (wanted.lower, wanted.upper)
        assert (recipe.wire.false_alarm_rate, recipe.wire.rejected_rate, recipe.wire.escape_rate) == (0.2, 0.02, None)
        words = "review: of good parts at most 20 % stopped, 2 % without review, from 99 good parts"
        assert (recipe.wire.threshold_source, recipe.provisional) == (words, False)
        assert recipe.pixel_threshold == before.pixel_threshold
        assert recipe.drift is not None

        picture = render("bottle", 1, 5000, 0.0).image
        one.enrolment.enrol(
            one.ready("one"), [("a", picture)], who="eva", note=""
        )  # the borders are of other scores now
        assert one.line("one").recipe.review_below is None
        assert one.line("one").recipe.wire.rejected_rate is None
        one.enrolment.remove(1, "eva")
        assert "has no calibration on good parts that holds" in refused(one, "review_set", **rates)


def test_another_calibration_ends_a_review_and_says_so(tmp_path: Path) -> None:
    with at_rest(tmp_path) as one:
        calibrated(one, GOOD)
        asked(one, "review_set", line="one", false_alarm_rate=0.02, review_rate=0.18, sure=True)
        found = asked(one, "threshold", line="one", threshold=0.4).result
        assert found is not None
        assert "the review of line one has ended" in found["notes"][0]
        assert one.line("one").recipe.review_below is None
        assert asked(one, "threshold", line="one", threshold=0.5).result["notes"] == []  # type: ignore[index]


def test_other_shots_end_a_calibration_and_its_review_and_say_so(tmp_path: Path) -> None:
    picture = encode_png(render("bottle", 1, 5000, 0.0).image)
    with at_rest(tmp_path) as one:
        calibrated(one, GOOD)
        asked(one, "review_set", line="one", false_alarm_rate=0.02, review_rate=0.18, sure=True)
        enrolled = asked(one, "enroll", picture, line="one", yes=list(FLAGS)).result
        assert enrolled is not None
        promise, review = enrolled["notes"]
        assert promise.startswith("recipe default of line one keeps its threshold, which promises nothing any more")
        assert "`alfa-edge calibrate --line one --recipe 1`" in promise
        assert "the review of line one has ended" in review
        removed = asked(one, "shots_remove", shot=1).result
        assert removed is not None
        assert removed["notes"] == [promise]


def test_an_ended_review_rejects_what_was_reviewed(tmp_path: Path) -> None:
    with at_rest(tmp_path) as one:
        assert "line one has no review that holds now" in refused(one, "review_off")
        calibrated(one, GOOD)
        asked(one, "review_set", line="one", false_alarm_rate=0.02, review_rate=0.18, sure=True)
        lower = one.line("one").recipe.threshold
        assert asked(one, "review_off", line="one").result is not None
        recipe = one.line("one").recipe
        assert (recipe.threshold, recipe.review_below, recipe.wire.false_alarm_rate) == (lower, None, 0.2)
        assert "the lower border of the review that eva has ended" in recipe.wire.threshold_source


def test_bad_parts_of_a_folder_set_the_lower_border(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    folder = tmp_path / "bad"
    folder.mkdir()
    with at_rest(tmp_path / "state", roi={"x": 0, "y": 0, "width": 240, "height": 240}) as one:
        calibrated(one, GOOD)
        rates: dict[str, Any] = {"false_alarm_rate": 0.02, "escape_rate": 0.2, "bad": str(folder)}
        assert "bad: no pictures in this folder" in refused(one, "review_set", **rates)
        for number in range(9):
            (folder / f"{number}.png").write_bytes(encode_png(render("bottle", 1, number, 1.0).image))
        bad = [0.3 + number / 20 for number in range(9)]
        scores = itertools.cycle(bad)
        monkeypatch.setattr(one.enrolment, "score", lambda *_: (next(scores), 0.5))
        found = asked(one, "review_set", line="one", sure=True, **rates).result
        assert found is not None
        wanted = borders_by_escape_rate(GOOD, bad, 0.02, 0.2)
        assert wanted.lower == bad[1]
        assert one.line("one").recipe.threshold == wanted.lower
        assert found["share_of_bad"] == pytest.approx(sum(wanted.lower <= score < wanted.upper for score in bad) / 9)
        assert last(one).escape_rate == 0.2
        assert "of bad parts at most 20 % passed, from 99 good and 9 bad parts" in found["source"]
        (folder / "9.png").write_bytes(encode_png(render("bottle", 1, 9, 1.0).image[:100]))
        assert "9.png: has 240 x 100 pixels, the line inspects 240 x 240" in refused(one, "review_set", **rates)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"review_rate": 0.1, "escape_rate": 0.1}, "one of the two"),
        ({}, "one of the two"),
        ({"escape_rate": 0.1}, "takes a folder of bad parts"),
        ({"review_rate": 0.1, "bad": "/tmp"}, "and a review_rate none"),
        ({"review_rate": 0.1, "false_alarm_rate": 0.001}, "calibrate on 999 good parts, or ask for a higher rate"),
    ],
)
def test_rates_that_cannot_be_are_refused_with_what_to_do(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    with at_rest(tmp_path) as one:
        calibrated(one, GOOD)
        assert words in refused(one, "review_set", **{"false_alarm_rate": 0.02} | arguments)
        assert one.line("one").recipe.review_below is None


def heard(running: Running, count: int, **wanted: Any) -> list[dict[str, Any]]:
    """The first verdicts whose fields are as wanted, once there are `count` of them."""

    def found() -> list[dict[str, Any]]:
        return [verdict for verdict in running.verdicts() if wanted.items() <= verdict.items()]

    eventually(lambda: len(found()) >= count, PATIENCE_S)
    return found()


def test_parts_between_the_borders_wait_for_a_person_who_says_what_they_are(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFA_EDGE_SERVICE__STATS_INTERVAL_S", "0.2")

    def stats() -> dict[str, Any]:
        return dict(json.loads(running.messages.of("line/one/stats")[-1].payload))

    with service(mosquitto, tmp_path, review_queue=2) as running:
        began = heard(running, 20)[0]["issued_at"]
        running.ask("calibrate", line="one", since=began, rate=0.5)
        shown = running.ask("review_set", line="one", false_alarm_rate=0.2, review_rate=0.6, sure=True)
        assert shown["parts_per_hour"] > 0
        assert shown["reviews_per_hour"] == pytest.approx(shown["parts_per_hour"] * shown["share_of_good"])
        waiting = heard(running, 4, review=True)
        for verdict in waiting:
            assert verdict["verdict"] == "anomaly"  # who does not know the third answer rejects the part
            assert verdict["threshold"] <= verdict["score"] < verdict["review_below"]
        running.ask("pause", line="one")
        eventually(lambda: running.service.lines["one"].gauges().queue == 0, PATIENCE_S)  # those under way, too
        old, parts = Draft202012Validator(json.loads(OLD_SCHEMA.read_text("utf-8"))), running.verdicts()
        for verdict in parts:
            old.validate(verdict)
            border = verdict.get("review_below")
            between = border is not None and verdict["threshold"] <= verdict["score"] < border
            assert verdict["review"] == between

        listed = running.ask("review_list", line="one")
        count = listed["waiting"]
        assert [part["seq"] for part in listed["parts"]] == [part["seq"] for part in parts if part["review"]]
        assert count == running.ask("status")["lines"]["one"]["in_review"]
        eventually(lambda: stats().get("review") == count, PATIENCE_S)
        assert "review" in stats()["alarms"]
        first, second = (part["seq"] for part in listed["parts"][:2])
        overlay = tmp_path / "archive" / waiting[0]["heatmap"]["archive"]
        eventually(overlay.exists, PATIENCE_S)
        kept = read(overlay.with_suffix(".picture.jpg"))
        found, pictures = ask_console(
            running.socket, "review_show", {"line": "one", "seq": first}, timeout_s=PATIENCE_S
        )
        assert found["verdict"]["review"] is True
        assert np.array_equal(decode(pictures[0]), kept)

        answer = running.ask("review_answer", line="one", seq=first, good=True, hold=True, note="a reflex")
        assert answer["waiting"] == count - 1
        [candidate] = running.ask("shots_candidates", line="one")["candidates"]
        assert (candidate["candidate"], candidate["name"]) == (answer["pictures"][0]["candidate"], f"verdict {first}")
        eventually((tmp_path / "archive" / waiting[1]["heatmap"]["archive"]).exists, PATIENCE_S)
        assert running.ask("review_answer", line="one", seq=second, good=False)["waiting"] == count - 2
        with pytest.raises(RefusedError, match=f"verdict {first} of line one does not wait for review"):
            running.ask("review_answer", line="one", seq=first, good=False)
        with pytest.raises(RefusedError, match="only a good part is held"):
            running.ask("review_answer", line="one", seq=listed["parts"][2]["seq"], good=False, hold=True)
        for part in listed["parts"][2:]:
            running.ask("review_answer", line="one", seq=part["seq"], good=True)
        eventually(lambda: stats()["review"] == 0 and "review" not in stats()["alarms"], PATIENCE_S)
        again = running.ask("calibrate", line="one", since=began, rate=0.5)
        assert again["left_out"] == [{"seq": second, "why": "feedback calls it defective"}]
        assert "the review of line one has ended" in again["notes"][0]
        said = running.ask("audit")["entries"]
        assert {entry["command"] for entry in said} >= {"review_set", "review_answer"}
        running.ask("resume", line="one")
    with service(mosquitto, tmp_path) as running:
        assert running.ask("status")["lines"]["one"]["in_review"] == 0

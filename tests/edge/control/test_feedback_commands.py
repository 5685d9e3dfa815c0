"""What a part really was can be said of each verdict; a threshold follows from it, and is not set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.image import encode_png
from core.simline import render
from edge.control.dispatcher import Dispatcher
from edge.settings import HistorySettings
from edge.storage.feedback import FeedbackLog
from edge.storage.outbox import Outbox
from tests.support.at_rest import asked, at_rest, score_of
from tests.support.verdicts import MODEL, failure, verdict


@contextmanager
def judged(folder: Path, *changes: dict[str, Any]) -> Iterator[Dispatcher]:
    """Line `one`, which has judged parts as it judges now, unless `changes` say else."""
    with at_rest(folder) as dispatcher:
        recipe = dispatcher.line("one").recipe
        box = Outbox(folder / "state", HistorySettings())
        box.start()
        for seq, change in enumerate(changes, 1):
            made = verdict("one", seq, **{"recipe": recipe.wire, "model": recipe.model, "bank": recipe.bank} | change)
            box.issue(failure("one", seq) if change.get("verdict") == "error" else made).result()
        box.stop()
        yield dispatcher


def refused(dispatcher: Dispatcher, command: str, **arguments: Any) -> str:
    reply = asked(dispatcher, command, line="one", **arguments)
    assert reply.refusal is not None
    return reply.refusal.message


def done(dispatcher: Dispatcher, command: str, **arguments: Any) -> dict[str, Any]:
    reply = asked(dispatcher, command, line="one", **arguments)
    assert reply.refusal is None, reply.refusal
    return reply.result or {}


def test_a_verdict_can_be_called_right(tmp_path: Path) -> None:
    with judged(tmp_path, {"verdict": "anomaly"}, {}, {"verdict": "error"}) as dispatcher:
        assert done(dispatcher, "feedback", seq=1, kind="right")["kind"] == "confirmed"
        assert done(dispatcher, "feedback", seq=2, kind="right", note="looked at it")["kind"] == "confirmed_normal"
        assert "is an error: nothing was judged" in refused(dispatcher, "feedback", seq=3, kind="right")
        found = FeedbackLog(tmp_path / "state").of("one")
        assert {seq: (entry.kind, entry.defective, entry.who) for seq, entry in found.items()} == {
            1: ("confirmed", True, "eva"),
            2: ("confirmed_normal", False, "eva"),
        }
        [entry, *_] = dispatcher.database.run(lambda tables: tables.audit(9))[1:]
        assert (entry["before"], entry["after"]) == ({"feedback": None}, {"feedback": "confirmed_normal"})


def test_a_false_alarm_without_a_picture_can_be_said_without_enrolling_it(tmp_path: Path) -> None:
    with judged(tmp_path, {"verdict": "anomaly"}) as dispatcher:
        assert "it can be said without (--no-enrol)" in refused(dispatcher, "feedback", seq=1, kind="false_alarm")
        assert FeedbackLog(tmp_path / "state").of("one") == {}
        found = done(dispatcher, "feedback", seq=1, kind="false_alarm", enrol=False)
        assert (found["kind"], found["picture"], found["pictures"]) == ("false_alarm", False, [])
        assert done(dispatcher, "feedback", seq=1, kind="right")["kind"] == "confirmed"  # who errs says it again
        assert FeedbackLog(tmp_path / "state").of("one")[1].kind == "confirmed"


def test_a_threshold_is_proposed_and_not_set(tmp_path: Path) -> None:
    scores = [0.6 * score_of(number) for number in range(1, 200)]
    parts = [{"score": score, "verdict": "anomaly" if score >= 0.5 else "normal"} for score in scores]
    defects = [{"score": score, "verdict": "anomaly"} for score in (0.55, 0.7, 0.8)]
    with judged(tmp_path, *parts, *defects) as dispatcher:
        for seq in (200, 201, 202):
            done(dispatcher, "feedback", seq=seq, kind="right")
        found = done(dispatcher, "threshold_propose", rate=0.02, escapes=0.25)
        assert (found["parts"], found["defective"], found["scored_again"], found["without_picture"]) == (199, 3, 0, 0)
        assert found["proposed"]["threshold"] == pytest.approx(sorted(scores)[196 - 1])  # ceil(200 * 0.98)-th
        assert found["calibration"]["rate"] == 0.02
        alarms = found["proposed"]["alarms"]
        assert (alarms["count"], alarms["of"]) == (3, 199)
        escapes = found["proposed"]["escapes"]
        assert (escapes["count"], escapes["of"]) == (1, 3)
        assert (found["most"], found["agrees"]) == (0.55, False)
        assert found["now"]["threshold"] == dispatcher.line("one").recipe.threshold == 0.5


def test_defects_that_were_judged_otherwise_are_scored_again(tmp_path: Path) -> None:
    other = {"model": MODEL, "verdict": "normal", "score": 0.9}
    with judged(tmp_path, *[{}] * 19, other, other) as dispatcher:
        image = render("bottle", 1, 5000, 1.0).image
        for seq, png in ((20, encode_png(image)), (21, None)):
            dispatcher.database.run(
                lambda tables, seq=seq, png=png: tables.feed_back(
                    "one", seq, "missed", who="eva", note="", shot=None, picture=png
                )
            )
        score = dispatcher.enrolment.score(image, dispatcher.line("one").recipe)[0]
        found = done(dispatcher, "threshold_propose")
        assert (found["parts"], found["defective"], found["scored_again"], found["without_picture"]) == (19, 1, 1, 1)
        escapes = found["now"]["escapes"]
        assert (escapes["count"], escapes["of"]) == (int(score < 0.5), 1)


def test_without_parts_judged_as_now_nothing_is_proposed(tmp_path: Path) -> None:
    with judged(tmp_path, {"model": MODEL}) as dispatcher:
        assert "judged no part with the recipe, model, pack and shots of now" in refused(
            dispatcher, "threshold_propose"
        )

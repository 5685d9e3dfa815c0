"""A calibration in view: its parts as they come, those that stand out, those that are left out, and calling it off."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from core.calibration import calibrate
from core.image import Rgb, encode_png
from core.simline import render
from edge.cli.app import app
from edge.control.calibrate_commands import acceptable
from edge.control.dispatcher import Dispatcher
from edge.storage.history import ScoredPart
from tests.support.at_rest import LineOnFilm, asked, at_rest, score_of
from tests.support.mosquitto import eventually

SINCE = "2026-01-31T06:00:00Z"
PICTURE = render("bottle", 1, 5000, 0.0).image
SCORES = [0.30 + score_of(number) / 10 for number in range(1, 40)]


def done(dispatcher: Dispatcher, command: str, **arguments: Any) -> dict[str, Any]:
    """The result of a command."""
    reply = asked(dispatcher, command, line="one", **arguments)
    assert reply.result is not None, reply.refusal
    return reply.result


def refused(dispatcher: Dispatcher, command: str, **arguments: Any) -> str:
    reply = asked(dispatcher, command, line="one", **arguments)
    assert reply.refusal is not None, reply.result
    return reply.refusal.message


def judged(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """The line's history is of parts that scored so; their numbers begin with 101."""
    parts = [ScoredPart(seq, score, score) for seq, score in enumerate(scores, 101)]
    monkeypatch.setattr(dispatcher.history, "scores", lambda *_asked, **_more: parts)


def test_parts_are_listed_and_one_that_stands_out_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_rest(tmp_path) as one:
        judged(one, monkeypatch, [*SCORES[:20], 0.95, *SCORES[20:]])
        found = done(one, "calibrate", since=SINCE, rate=0.05)
        assert [part["seq"] for part in found["parts"]] == list(range(101, 141))
        assert found["parts"][20] == {"seq": 121, "score": 0.95}
        assert found["outliers"]["parts"] == [{"seq": 121, "score": 0.95}]
        assert found["outliers"]["rule"] == "above the upper quartile by more than 3 times the quartile distance"
        assert max(SCORES) < found["outliers"]["above"] < 0.95
        assert found["stretch"]["since"] == "2026-01-31T06:00:00.000Z"
        assert found["calibration"]["threshold"] > max(SCORES)

        found = done(one, "calibrate", since=SINCE, rate=0.05, without=[121])
        assert found["calibration"]["threshold"] == calibrate(SCORES, 0.05).threshold
        assert found["left_out"] == [{"seq": 121, "why": "as asked"}]
        assert found["outliers"]["parts"] == []
        assert found["calibration"]["source"].endswith("declared good, without 1 of 40")
        before = one.line("one").recipe
        assert "verdict 7, 8 of line one is none of those" in refused(
            one, "calibrate", since=SINCE, without=[7, 121, 8]
        )
        assert "without leaves verdicts out of a stretch" in refused(one, "calibrate", without=[121])
        assert one.line("one").recipe is before


def test_parts_of_before_and_after_an_edit_make_no_calibration(tmp_path: Path) -> None:
    edited = []
    with at_rest(tmp_path) as one:

        def picture(number: int) -> Rgb:
            if number == 8:
                edited.append(done(one, "recipe_edit", settings={"roi": {"x": 0, "y": 0, "width": 100, "height": 90}}))
            return PICTURE

        LineOnFilm(one, picture)
        message = refused(one, "calibrate", parts=19)
        assert "what recipe default of line one judges by, changed meanwhile; ask again" in message
        assert len(edited) == 1
        assert one.database.run(lambda tables: tables.calibration("one")) is None


def test_what_feedback_calls_defective_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_rest(tmp_path) as one:
        judged(one, monkeypatch, SCORES)

        def say(seq: int, kind: str) -> None:
            known: dict[str, Any] = {"who": "eva", "note": "", "shot": None, "picture": None}
            one.database.run(lambda tables: tables.feed_back("one", seq, kind, **known))

        for seq, kind in ((101, "missed"), (102, "confirmed"), (103, "false_alarm"), (104, "missed")):
            say(seq, kind)
        say(104, "false_alarm")  # on second thoughts
        found = done(one, "calibrate", since=SINCE, rate=0.1)
        assert found["left_out"] == [{"seq": seq, "why": "feedback calls it defective"} for seq in (101, 102)]
        assert [part["seq"] for part in found["parts"]] == list(range(103, 140))


def test_no_higher_rate_is_set_than_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_rest(tmp_path) as one:
        judged(one, monkeypatch, SCORES[:9])
        assert "or accept 10 % with --accept 0.1" in refused(one, "calibrate", since=SINCE, rate=0.05)
        assert "or accept 10 % with --accept 0.1" in refused(one, "calibrate", since=SINCE, rate=0.05, accept=0.09)
        assert done(one, "calibrate", since=SINCE, rate=0.05, accept=0.1)["calibration"]["rate"] == pytest.approx(0.1)


@pytest.mark.parametrize(("rate", "words"), [(0.1, "0.1"), (1 / 3, "0.3334"), (0.15077, "0.1508"), (1.0, "1")])
def test_a_rate_that_is_named_is_never_below_what_is_promised(rate: float, words: str) -> None:
    assert acceptable(rate) == words
    assert float(words) >= rate


def test_a_calibration_says_how_far_it_is_and_is_called_off(tmp_path: Path) -> None:
    with at_rest(tmp_path) as one:
        enough = threading.Event()

        def show(number: int) -> Any:
            if number > 5:
                enough.wait(30)
            return PICTURE

        LineOnFilm(one, show)
        before, replies = one.line("one").recipe, list[str]()
        waits = threading.Thread(
            target=lambda: replies.append(refused(one, "calibrate", parts=100, rate=0.05, timeout_s=60))
        )
        waits.start()
        try:
            eventually(lambda: len(done(one, "calibration_state").get("parts", ())) == 5, 30)
            state = done(one, "calibration_state", after=3)
            assert (state["running"], state["wanted"], state["who"]) == (True, 100, "eva")
            assert state["parts"] == [{"seq": number, "score": score_of(number)} for number in (4, 5)]
            assert "a calibration of line one by eva is under way" in refused(one, "calibrate", rate=0.5)
            assert done(one, "calibration_cancel") == {"parts": 5, "wanted": 100}
        finally:
            enough.set()
            waits.join(30)
        assert replies[0].startswith("the calibration of line one was called off by eva after ")
        assert replies[0].endswith("parts; nothing was set")
        assert one.line("one").recipe is before
        assert done(one, "calibration_state") == {"running": False}
        assert "no calibration of line one is under way" in refused(one, "calibration_cancel")


def test_shots_that_stand_out_are_named_by_their_number(tmp_path: Path) -> None:
    with at_rest(tmp_path) as one:
        pictures = [(str(number), render("bottle", 1, 5000 + number, 0.0).image) for number in range(4)]
        one.enrolment.enrol(one.ready("one"), pictures, who="eva", note="")
        numbers = [shot["id"] for shot in done(one, "shots_list")["shots"]]
        found = done(one, "calibrate", rate=0.25)
        assert [part["shot"] for part in found["parts"]] == numbers
        scores = [score for score, _ in one.enrolment.leave_one_out(one.ready("one"))]
        assert [part["score"] for part in found["parts"]] == pytest.approx(scores)
        assert (found["outliers"], found["stretch"]) == (None, None)  # of four none stands out


def test_a_first_run_whose_threshold_is_refused_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_rest(tmp_path) as one:
        pictures = [encode_png(render("bottle", 1, 5000 + number, 0.0).image) for number in range(8)]
        names = {"names": [str(number) for number in range(8)]}
        with monkeypatch.context() as broken:
            broken.setattr(one.enrolment, "score", lambda *_: (1.0, 1.0))
            reply = asked(one, "learn", *pictures, line="one", rate=0.2, accept=0.3, **names)
        assert reply.refusal is not None
        assert "score 1, the most that any part can" in reply.refusal.message
        assert reply.refusal.message.endswith("the shots of this first run are put aside again")
        assert one.line("one").recipe.bank.shots == 0
        assert asked(one, "learn", *pictures, line="one", rate=0.2, accept=0.3, **names).result is not None


def test_the_command_line_says_what_it_takes_lists_its_parts_and_how_to_leave_one_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(
        f"[service]\nruntime_dir = '{tmp_path}'\nstate_dir = '{tmp_path}/state'\n"
        "[model]\nname = 'untrained'\ndevice = 'cpu'\ndtype = 'fp32'\n[method]\nscales = [3]\nstride = 3\n"
        "[lines.one]\npack = 'bottle'\n[lines.one.camera]\nsource = 'sim:bottle'\n"
    )
    parts = [ScoredPart(seq, score, score) for seq, score in enumerate([*SCORES[:19], 0.95], 101)]
    monkeypatch.setattr("edge.storage.history.History.scores", lambda *_asked, **_more: parts)
    run = partial(typed, config)
    said = run("calibrate", "--since", "2026-01-31T06:00:00+00:00", "--until", "2026-01-31T07:00:00+00:00")
    assert "5 % takes 19 good parts" in said
    assert "120" in said
    assert "1 part stands out, above the upper quartile by more than 3 times the quartile distance" in said
    assert "verdict 120 (0.9500)" in said
    again = "--since 2026-01-31T06:00:00.000Z --until 2026-01-31T07:00:00.000Z --without 120`"
    assert f"`alfa-edge calibrate --line one --rate 0.05 {again}" in said
    said = run("calibrate", "--since", "1h", "--without", "120")
    assert "verdict 120 is left out, as asked" in said
    assert "stands out" not in said
    assert "no calibration of line one is under way" in run("calibrate", "--cancel", code=2)


def typed(config: Path, *words: str, code: int = 0) -> str:
    """What a command says of line one."""
    result = CliRunner().invoke(app, [*words, "--config", str(config), "--line", "one"])
    assert result.exit_code == code, result.output
    return result.output


def test_the_scores_here_are_those_of_a_line_without_a_trend() -> None:
    """Else parts would count as fewer, and the tests above would be of something else."""
    assert calibrate(SCORES, 0.05).effective == len(SCORES)
    assert np.ptp(SCORES) < 0.11

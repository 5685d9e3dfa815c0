"""What a line promises by its shots: of as many as were scored, and used as they were then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.bank import evidence
from core.bank.shot_checks import FLAGS
from core.simline import render
from edge.control.dispatcher import CommandError, Dispatcher
from edge.control.next_parts import next_parts
from edge.control.offline import offline_dispatcher
from edge.control.protocol import Request
from edge.settings import Settings
from edge.storage.history import ScoredPart
from tests.support.drifting_lines import Floats, alike

SHOTS = [(str(number), render("bottle", 1, 5000 + number, 0.0).image) for number in range(3)]


@contextmanager
def at_rest(folder: Path, **line: Any) -> Iterator[Dispatcher]:
    """A line at rest, with what `folder` holds of it."""
    settings = Settings(
        service={"state_dir": folder / "state"},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32", "store": folder / "models"},
        method={"scales": [3], "stride": 3},
        lines={"one": {"pack": "bottle", "camera": {"source": "sim:bottle"}} | line},
    )
    with offline_dispatcher(settings) as one:
        yield one


def enrol(one: Dispatcher) -> None:
    one.enrolment.enrol(one.ready("one"), SHOTS, who="eva", note="", accepted=set(FLAGS))


def calibrate(one: Dispatcher, **arguments: Any) -> Any:
    asked = Request(id="1", command="calibrate", arguments={"line": "one", **arguments}, who="eva")
    return one.answer(asked, ())[0]


@pytest.mark.parametrize("shots", [{"augment": "flips"}, {"limit": 1}])
def test_a_calibration_does_not_hold_for_shots_that_are_used_otherwise(tmp_path: Path, shots: dict[str, Any]) -> None:
    with at_rest(tmp_path) as one:
        enrol(one)
        assert calibrate(one, rate=0.25).result is not None
        assert not one.line("one").recipe.provisional
    with at_rest(tmp_path, shots=shots) as one:
        recipe = one.line("one").recipe
        assert recipe.provisional
        assert recipe.wire.false_alarm_rate is None
        assert "use of shots; calibrate anew" in recipe.wire.threshold_source
    with at_rest(tmp_path) as one:
        assert not one.line("one").recipe.provisional


def test_a_rate_that_the_shots_that_are_scored_cannot_promise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "_MOST_LEFT_OUT", 2)
    with at_rest(tmp_path) as one:
        enrol(one)
        refusal = calibrate(one, rate=0.25).refusal
        assert refusal is not None
        assert "2 good parts promise 33.3 %, not the 25 % asked for: no more of the 3 shots are" in refusal.message
        assert "calibrate on its parts (--parts)" in refusal.message
        assert one.line("one").recipe.provisional
        assert calibrate(one, rate=0.25, accept=0.34).result["calibration"]["count"] == 2


def test_without_windows_parts_cannot_be_waited_for_before_there_are_shots(tmp_path: Path) -> None:
    settings = Settings(
        service={"state_dir": tmp_path / "state"},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32", "store": tmp_path / "models"},
        method={"windows": "none"},
        lines={"one": {"pack": "bottle", "camera": {"source": "sim:bottle?seed=1"}}},
    )
    with offline_dispatcher(settings) as dispatcher:
        with pytest.raises(CommandError, match=r"as method\.windows is none; show it pictures"):
            next_parts(dispatcher, dispatcher.ready("one"), 1, 600.0).__enter__()
        assert dispatcher.enrolment.needs_shots(dispatcher.ready("one"))
        pictures = [(str(one), render("bottle", 1, 5000 + one, 0.0).image) for one in range(2)]
        dispatcher.enrolment.enrol(dispatcher.ready("one"), pictures, who="eva", note="", accepted=set(FLAGS))
        assert not dispatcher.enrolment.needs_shots(dispatcher.ready("one"))


def scored(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, scores: Floats) -> None:
    """From now on the line's history is of parts that scored so."""
    parts = [ScoredPart(seq, float(score), float(score)) for seq, score in enumerate(scores, 1)]
    monkeypatch.setattr(dispatcher.history, "scores", lambda *_asked, **_more: parts)


def test_parts_that_resemble_their_neighbours_promise_what_they_are_worth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = "2026-01-31T06:00:00Z"
    with at_rest(tmp_path) as one:
        scored(one, monkeypatch, alike(np.random.default_rng(0), 1, 99, 0.9)[0])
        refusal = calibrate(one, since=since).refusal
        assert refusal is not None
        print(refusal.message)
        words = re.fullmatch(
            r"99 good parts resemble their neighbours, count as (.+), and promise (.+) %, not the 5 % asked for: "
            r"show it (\d+) more \(at least (\d+) in all\), or accept (.+) % with --accept 0\.\d+",
            refusal.message,
        )
        assert words
        assert int(words[3]) == int(words[4]) - 99
        assert one.line("one").recipe.drift is None
        found = calibrate(one, since=since, accept=0.2).result
        assert found["calibration"]["rate"] == pytest.approx(float(words[2]) / 100, rel=0.01)
        assert f", which count as {words[1]} independent ones" in found["calibration"]["source"]
        assert [note.split(":")[0] for note in found["notes"]] == ["drift is not watched"]
        drift = one.line("one").recipe.drift
        assert drift is not None
        assert drift.state.unwatched == found["notes"][0]

        scored(one, monkeypatch, alike(np.random.default_rng(0), 1, 499, 0.7)[0])
        found = calibrate(one, since=since).result
        assert (found["calibration"]["rate"], found["notes"]) == (0.05, [])


def test_good_parts_that_score_all_that_is_possible_are_promised_nothing(tmp_path: Path) -> None:
    """At 1, the largest threshold of a line, they would alarm: a fifth of them, for a promise of a tenth."""
    with at_rest(tmp_path) as one:
        before = one.line("one").recipe
        scores = [(1.0, 1.0) if place in (2, 7, 8, 16) else (0.3, 0.3) for place in range(20)]
        with pytest.raises(ValueError, match=r"20 % of the good parts score 1.*no threshold promises 10 %; enrol more"):
            one.enrolment.calibrate(one.ready("one"), scores, 0.1, "parts", "eva")
        assert one.line("one").recipe is before
        one.enrolment.calibrate(one.ready("one"), scores, 0.25, "parts", "eva")
        recipe = one.line("one").recipe
        assert sum(score >= recipe.threshold for score, _ in scores) / len(scores) <= 0.25
        assert recipe.wire.false_alarm_rate == 0.25

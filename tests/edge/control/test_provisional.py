"""The threshold of a line that is not calibrated: what it comes from, what it says, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from core.alfa import Alfa
from core.bank import memory
from core.bank.shot_checks import FLAGS
from core.calibration import provisional_threshold
from core.image import Rgb
from core.simline import render
from edge.control import provisional
from edge.control.dispatcher import Dispatcher
from edge.control.offline import offline_dispatcher
from edge.control.provisional import MOST_SHOTS, configured, from_shots
from edge.inference import Inference
from edge.inspection.recipe import LoadedRecipe
from edge.messages import Bank
from edge.settings import RecipeSettings, Settings
from tests.support.verdicts import RECIPE

CAMERA = {"source": "sim:bottle"}
FROM_TWO = "provisional: from 2 shots, each against the others"


def recipe(shots: int = 0) -> LoadedRecipe:
    """As a calibration has left it."""
    wire = RECIPE.model_copy(update={"threshold_source": "5 % false alarms", "false_alarm_rate": 0.05})
    return LoadedRecipe(*[cast(Any, None)] * 3, 0.9, 0.8, wire, bank=Bank(shots=shots, revision=shots))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, (0.5, 0.5, True)),
        ({"threshold": 0.3}, (0.3, 0.3, True)),  # nobody says why
        ({"threshold": 0.3, "pixel_threshold": 0.4}, (0.3, 0.4, True)),
        ({"threshold": 0.3, "threshold_source": "trial of 31 January"}, (0.3, 0.3, False)),
        ({"threshold_source": "uncalibrated"}, (0.5, 0.5, True)),
    ],
)
def test_a_configured_threshold_is_provisional_unless_it_says_where_it_comes_from(
    settings: dict[str, Any], wanted: tuple[float, float, bool]
) -> None:
    line = RecipeSettings(**settings)
    of_line = replace(recipe(), settings=line)
    found = configured(of_line)
    assert (found.threshold, found.pixel_threshold, found.provisional) == wanted
    assert found.wire.threshold_source == line.threshold_source
    assert found.wire.false_alarm_rate is None
    assert configured(of_line, "a note").wire.threshold_source == f"{line.threshold_source}; a note"


def test_shots_give_a_threshold_above_all_of_them() -> None:
    found = from_shots(recipe(3), [(0.2, 0.3), (0.4, 0.1), (0.3, 0.25)])
    assert (found.threshold, found.provisional) == (math.nextafter(0.4, 1), True)
    assert 0.3 < found.pixel_threshold < 0.3001
    assert found.wire.threshold_source == "provisional: from 3 shots, each against the others"
    assert found.wire.false_alarm_rate is None
    words = from_shots(recipe(30), [(0.2, 0.3), (0.4, 0.1)], "a note").wire.threshold_source
    assert words == "provisional: from 2 of 30 shots, each against the others; a note"
    full = from_shots(recipe(2), [(1.0, 1.0), (0.5, 0.5)])
    assert (full.threshold, full.pixel_threshold) == (1.0, 1.0)


@contextmanager
def at_rest(folder: Path, few_shot: str = "evidence", **line: Any) -> Iterator[Dispatcher]:
    """A line at rest, with what `folder` holds of it."""
    settings = Settings(
        service={"state_dir": folder / "state"},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32", "store": folder / "models"},
        method={"scales": [3], "stride": 3, "few_shot": few_shot},
        lines={"one": {"pack": "bottle", "camera": CAMERA} | line},
    )
    with offline_dispatcher(settings) as one:
        yield one


def enrol(dispatcher: Dispatcher, *numbers: int, accepted: Sequence[str] = FLAGS) -> list[Any]:
    pictures: list[tuple[str, Rgb]] = [(str(one), render("bottle", 1, 5000 + one, 0.0).image) for one in numbers]
    return dispatcher.enrolment.enrol(dispatcher.ready("one"), pictures, who="eva", note="", accepted=set(accepted))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each picture that is scored, or heard of by the text side alone."""
    counted: list[int] = []
    inspect, text_scores = Alfa.inspect, Alfa.text_scores

    def count(self: Alfa, frames: Any, *more: Any) -> Any:
        counted.extend(range(len(frames)))
        return inspect(self, frames, *more)

    def count_one(self: Alfa, frame: Any, text: Any) -> Any:
        counted.append(0)
        return text_scores(self, frame, text)

    monkeypatch.setattr(Alfa, "inspect", count)
    monkeypatch.setattr(Alfa, "text_scores", count_one)
    return counted


def test_from_two_shots_on_the_threshold_comes_from_them(tmp_path: Path) -> None:
    with at_rest(tmp_path) as one:
        assert (one.line("one").recipe.threshold, one.line("one").recipe.provisional) == (0.5, True)
        enrol(one, 0)
        alone = one.line("one").recipe
        assert (alone.threshold, alone.wire.threshold_source, alone.provisional) == (0.5, "uncalibrated", True)
        enrol(one, 1, 2)
        found = one.line("one").recipe
        scores = one.enrolment.leave_one_out(one.ready("one"))
        assert len(scores) == 3
        assert found.threshold == provisional_threshold([score for score, _ in scores])
        assert all(peak < found.pixel_threshold for _, peak in scores)
        assert found.wire.threshold_source == "provisional: from 3 shots, each against the others"
        assert found.drift is None
        one.enrolment.remove(1, "eva")
        assert one.line("one").recipe.wire.threshold_source == FROM_TWO
        one.enrolment.remove(2, "eva")
        back = one.line("one").recipe
        assert (back.threshold, back.pixel_threshold, back.wire.threshold_source) == (0.5, 0.5, "uncalibrated")


def heard_of(recipe: LoadedRecipe) -> list[list[float]]:
    """What the text side says of the shots."""
    assert recipe.index is not None
    assert recipe.index.evidence is not None
    assert recipe.index.evidence.shot_texts is not None
    said: list[list[float]] = recipe.index.evidence.shot_texts.tolist()
    return said


def test_a_start_scores_no_shot_that_was_scored_before(tmp_path: Path, passes: list[int]) -> None:
    with at_rest(tmp_path) as one:
        enrol(one, 0, 1)
        before = one.line("one").recipe
        assert len(passes) == 2
    passes.clear()
    with at_rest(tmp_path) as one:
        after = one.line("one").recipe
        assert (after.threshold, after.wire) == (before.threshold, before.wire)
        one.enrolment.refresh(one.ready("one"))
        assert passes == []
    with at_rest(tmp_path, pack="tile") as one:  # other prompts: the text side says something else
        assert heard_of(one.line("one").recipe) != heard_of(before)
        assert len(passes) == 2
    with at_rest(tmp_path, roi={"x": 0, "y": 0, "width": 16, "height": 16}) as one:
        assert len(passes) == 4


def test_many_shots_cost_no_more_passes_than_a_few(
    tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_SHOTS >= 2
    monkeypatch.setattr(provisional, "MOST_SHOTS", 2)
    with at_rest(tmp_path, few_shot="alfa") as one:
        enrol(one, 0, 1, 2, 3)
        assert len(passes) == 2
        words = one.line("one").recipe.wire.threshold_source
        assert words == "provisional: from 2 of 4 shots, each against the others"
        both = one.enrolment.leave_one_out(one.ready("one"))[2:]
        assert np.isclose(one.line("one").recipe.threshold, max(score for score, _ in both))


def test_shots_are_thinned_once_and_not_for_each_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thinning is what takes minutes of 99 shots and hours of 500."""
    thinned: list[int] = []
    select = memory.select_in_steps

    def count(points: Any, *more: Any, **named: Any) -> Any:
        thinned.append(len(points))
        return select(points, *more, **named)

    monkeypatch.setattr(memory, "select_in_steps", count)
    with at_rest(tmp_path, few_shot="alfa", shots={"limit": 40}) as one:
        enrol(one, 0, 1, 2, 3)
        thinned.clear()
        assert len(one.enrolment.leave_one_out(one.ready("one"))) == 4
        assert thinned == []
    with at_rest(tmp_path, few_shot="alfa", shots={"limit": 1}) as one:  # one feature, which is of one shot
        assert len(one.enrolment.leave_one_out(one.ready("one"))) == 4


def test_the_device_is_free_between_two_shots(
    tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of other lines are judged between two calls of the thread that owns the device."""
    most: list[int] = []
    ask = Inference.ask

    def counted(self: Inference, inspector: Alfa, work: Callable[[Alfa], Any], **named: Any) -> Any:
        def count(alfa: Alfa) -> Any:
            before = len(passes)
            try:
                return work(alfa)
            finally:
                most.append(len(passes) - before)

        return ask(self, inspector, count, **named)  # type: ignore[arg-type]

    with at_rest(tmp_path, few_shot="alfa") as one:
        enrol(one, 0, 1, 2, 3)
        monkeypatch.setattr(Inference, "ask", counted)
        one.enrolment.leave_one_out(one.ready("one"))
    assert (sum(most), max(most)) == (4, 1)


def test_a_line_whose_threshold_was_set_on_purpose_keeps_it(tmp_path: Path, passes: list[int]) -> None:
    with at_rest(tmp_path, few_shot="alfa", threshold=0.7, threshold_source="trial of 31 January") as one:
        enrol(one, 0, 1)
        kept = one.line("one").recipe
        assert (kept.threshold, kept.wire.threshold_source) == (0.7, "trial of 31 January")
        assert not kept.provisional
        assert passes == []
    with at_rest(tmp_path) as one:
        assert one.line("one").recipe.provisional
        one.enrolment.set_threshold(one.ready("one"), 0.6, "eva")
        assert (one.line("one").recipe.threshold, one.line("one").recipe.provisional) == (0.6, False)
        enrol(one, 2)
        assert (one.line("one").recipe.threshold, one.line("one").recipe.provisional) == (0.6, False)


def test_a_provisional_threshold_flags_no_good_part(tmp_path: Path) -> None:
    """Of n + 1 good parts each is as likely as another to score above the rest."""
    with at_rest(tmp_path, threshold=1.0) as one:
        enrol(one, 0, 1)
        assert one.line("one").recipe.threshold < 1
        scored = {flag.code for found in enrol(one, *range(10, 16), accepted=()) for flag in found.flags}
        assert "anomalous" not in scored


def test_shots_that_cannot_be_scored_leave_the_line_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_rest(tmp_path) as one:
        before = one.line("one").recipe

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("device lost")

        with monkeypatch.context() as broken:
            broken.setattr(Alfa, "inspect", fail)
            broken.setattr(Alfa, "text_scores", fail)
            with pytest.raises(RuntimeError, match="device lost"):
                enrol(one, 0, 1)
        assert one.line("one").recipe is before
        one.enrolment.refresh(one.ready("one"))  # nothing half done was kept
        assert one.line("one").recipe.wire.threshold_source == FROM_TWO

"""A line in tiles: its shots are kept by tile, made anew for other tiles, and compared place by place."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.alfa import Alfa
from core.bank.shot_checks import FLAGS
from core.bank.tiled_index import TiledIndex, left_out
from core.calibration import provisional_threshold
from core.image import Rgb, encode_png
from core.simline import render
from core.tiles import SEEN, Tiling
from edge.control.dispatcher import Dispatcher
from edge.control.offline import offline_dispatcher
from tests.support.at_rest import asked, settings_at_rest


@contextmanager
def at_rest(folder: Path, few_shot: str = "evidence", **line: Any) -> Iterator[Dispatcher]:
    settings = settings_at_rest(folder, **line)
    method = settings.method.model_copy(update={"few_shot": few_shot})
    with offline_dispatcher(settings.model_copy(update={"method": method})) as dispatcher:
        yield dispatcher


def part(number: int) -> Rgb:
    """160 wide and 96 high."""
    return np.ascontiguousarray(render("bottle", 1, 5000 + number, 0.0).image[60:156, :160])


def enrol(dispatcher: Dispatcher, *numbers: int) -> None:
    pictures = [(str(number), part(number)) for number in numbers]
    dispatcher.enrolment.enrol(dispatcher.ready("one"), pictures, who="eva", note="", accepted=set(FLAGS))


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tiling of each picture whose features are made."""
    made: list[str] = []
    remember = Alfa.remember

    def noted(self: Alfa, *arguments: Any, **named: Any) -> Any:
        made.append(named["tiling"].name)
        return remember(self, *arguments, **named)

    monkeypatch.setattr(Alfa, "remember", noted)
    return made


def test_shots_are_kept_and_compared_by_tile(tmp_path: Path, embedded: list[str]) -> None:
    with at_rest(tmp_path, tiles=(1, 2), overlap=0.25) as one:
        enrol(one, 0, 1, 2)
        recipe = one.line("one").recipe
        assert isinstance(recipe.index, TiledIndex)
        assert recipe.index.tiling == recipe.tiling((96, 160)) == Tiling(1, 2, 0.25)
        assert sum(recipe.weights.values()) == pytest.approx(1.0, abs=1e-3)
        scores = one.enrolment.leave_one_out(one.ready("one"))
        assert scores == left_out(recipe.index)
        assert recipe.threshold == provisional_threshold([score for score, _ in scores])
        score, peak = one.enrolment.score(part(9), recipe)
        assert 0 < score < 1
        assert 0 < peak < 1
    assert embedded == ["1x2@0.25"] * 3
    with at_rest(tmp_path, tiles=(1, 2), overlap=0.25) as one:
        again = one.line("one").recipe
        assert again.threshold == recipe.threshold
        assert one.enrolment.score(part(9), again)[0] == pytest.approx(score, abs=1e-6)
    assert len(embedded) == 3, "they are on disk"


@pytest.mark.parametrize("few_shot", ["evidence", "alfa"])
def test_for_other_tiles_features_are_made_anew_from_the_kept_pictures(
    tmp_path: Path, embedded: list[str], few_shot: str
) -> None:
    with at_rest(tmp_path, few_shot) as one:
        enrol(one, 0, 1)
        one.enrolment.calibrate(one.ready("one"), [(0.2, 0.2)] * 20, 0.05, "parts", "eva")
        assert not one.line("one").recipe.provisional
    embedded.clear()
    for tiles, overlap, name in (((2, 1), 0.2, "2x1@0.2"), ((2, 1), 0.1, "2x1@0.1"), ("auto", 0.2, "1x2@0.2")):
        with at_rest(tmp_path, few_shot, tiles=tiles, overlap=overlap) as one:
            recipe = one.line("one").recipe
            assert recipe.provisional, "a threshold for other tiles promises nothing"
            assert "the last calibration was with another" in recipe.wire.threshold_source
            assert recipe.tiling((96, 160)).name == name
            one.enrolment.score(part(1), recipe)
        assert set(embedded) == {name}
        embedded.clear()
    with at_rest(tmp_path, few_shot) as one:
        assert not one.line("one").recipe.provisional, "without tiles what was promised holds"


def test_parts_of_another_size_are_cut_as_the_shots(tmp_path: Path) -> None:
    with at_rest(tmp_path, tiles="auto") as one:
        assert one.line("one").recipe.tiling((96, 90)).count == 1, "no shots: by its own shape"
        enrol(one, 0)
        recipe = one.line("one").recipe
        square = np.ascontiguousarray(part(0)[:, :96])
        assert recipe.tiling((96, 96)) == Tiling(1, 2)
        assert one.enrolment.score(square, recipe)[0] > 0


def test_a_picture_too_small_for_its_tiles_is_no_shot(tmp_path: Path) -> None:
    with at_rest(tmp_path, tiles=(8, 8)) as one:
        with pytest.raises(ValueError, match="16 x 16 are the least: use fewer tiles"):
            enrol(one, 0)
        assert one.line("one").recipe.bank.shots == 0


def test_the_smallest_defect_that_is_seen_is_said(tmp_path: Path) -> None:
    """So many pixels of the finest input, to which the region is squeezed, or a tile of it."""

    def said(**line: Any) -> Any:
        with at_rest(tmp_path, **line) as one:
            status = asked(one, "status").result
            assert status is not None
            return status["lines"]["one"]["smallest_defect"]

    assert said() is None, "nobody knows the frame's size yet"
    assert said(roi={"x": 0, "y": 0, "width": 2400, "height": 240}) == math.ceil(SEEN * 2400 / 240)
    assert said(roi={"x": 0, "y": 0, "width": 2400, "height": 240}, tiles=(1, 5), overlap=0.0) == SEEN * 2
    assert said(roi={"x": 0, "y": 0, "width": 90, "height": 90}, tiles=(8, 8)) is None, "no part can be judged"
    with at_rest(tmp_path) as one:
        picture = encode_png(np.ascontiguousarray(render("bottle", 1, 0, 0.0, size=960).image[:480]))
        reply = asked(one, "enroll", picture, line="one", names=["a"], yes=FLAGS).result
        assert reply is not None
        whole = reply["smallest_defect"]
    assert SEEN * 480 / 320 < whole <= SEEN * 960 / 320 + 1, "the finer pass of the CLIP sees it"
    assert said() == whole
    assert said(tiles=(2, 4)) < whole

"""Commands that look at a line's next parts: as many as asked for, in no more memory than a few."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.image import Rgb
from core.simline import render
from edge.control.kept_pictures import KeptPictures
from tests.support.at_rest import LineOnFilm, asked, at_rest, score_of
from tests.support.memory import Growth

ALLOWED_MIB = 50


LARGE = np.zeros((1200, 1600, 3), np.uint8)


def test_a_calibration_on_many_parts_takes_no_more_memory_than_on_a_few(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        LineOnFilm(dispatcher, lambda _number: LARGE.copy())
        with Growth() as growth:
            reply = asked(dispatcher, "calibrate", line="one", parts=300)
        assert reply.refusal is None
    print(f"300 pictures of 5.5 MiB: grown by {growth.mib:.0f} MiB")
    assert growth.mib < ALLOWED_MIB


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("learn", {"parts": 14, "accept": 1.0}),
        ("suggest", {"parts": 14, "count": 2}),
        ("enroll", {"shots": 14}),
    ],
)
def test_pictures_that_are_needed_again_are_not_in_memory(
    tmp_path: Path, command: str, arguments: dict[str, Any]
) -> None:
    shown: list[weakref.ref[Rgb]] = []
    most = 0

    def picture(number: int) -> Rgb:
        nonlocal most
        image = render("bottle", 1, 5000 + number if command != "enroll" else 5000, 0.0).image
        if command == "enroll":
            image[0, 0] = number  # near duplicates are flagged, and cost no pass
        shown.append(weakref.ref(image))
        most = max(most, sum(one() is not None for one in shown))
        return image

    with at_rest(tmp_path) as dispatcher:
        LineOnFilm(dispatcher, picture)
        assert asked(dispatcher, command, line="one", **arguments).refusal is None
    assert len(shown) >= 14
    assert most <= 8, "those in the queue, and the one or two in work"


def test_scores_are_those_of_the_parts_in_their_order(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        LineOnFilm(dispatcher, partial(np.full, (8, 8, 3), dtype=np.uint8))
        reply = asked(dispatcher, "calibrate", line="one", parts=19)
        assert reply.result is not None
        kept = dispatcher.database.run(lambda tables: tables.calibration("one"))
        assert kept is not None
        assert kept.scores == tuple(score_of(number) for number in range(1, 20))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("learn", {"parts": 14, "accept": 1.0}),
        ("suggest", {"parts": 14, "count": 2}),
        ("enroll", {"shots": 14}),
        ("calibrate", {"parts": 19}),
    ],
)
def test_parts_of_before_and_after_an_edit_are_not_mixed(
    tmp_path: Path, command: str, arguments: dict[str, Any]
) -> None:
    """The region moves while the parts are collected: those of before show another place."""
    region = {"x": 0, "y": 0, "width": 100, "height": 90}

    def picture(number: int) -> Rgb:
        if number == 8:
            assert asked(one, "recipe_edit", line="one", settings={"roi": region}).refusal is None
        return render("bottle", 1, 5000 + number, 0.0).image

    with at_rest(tmp_path) as one:
        LineOnFilm(one, picture)
        refusal = asked(one, command, line="one", **arguments).refusal
        assert refusal is not None
        assert refusal.message == "what recipe default of line one judges by, changed meanwhile; ask again"
        assert asked(one, "shots_list", line="one").result == {"shots": [], "weights": {}}
        assert asked(one, "shots_candidates", line="one").result == {"candidates": [], "threshold": None}
        assert one.database.run(lambda tables: tables.calibration("one")) is None


def test_kept_pictures_come_back_as_they_were_by_any_place() -> None:
    kept = KeptPictures()
    images = [np.random.default_rng(number).integers(0, 256, (5, 7 + number, 3), np.uint8) for number in range(4)]
    for number, image in enumerate(images):
        kept.append(f"part {number}", image)
    assert [name for name, _ in kept] == ["part 0", "part 1", "part 2", "part 3"]
    for place in (2, 0, -1, 3):
        assert np.array_equal(kept[place][1], images[place])
    some = kept.images([3, 1])
    assert [np.array_equal(one, image) for one, image in zip(some, (images[3], images[1]), strict=True)] == [True, True]
    assert len(some[1:]) == 1
    assert np.array_equal(some[1:][0], images[1])
    with pytest.raises(IndexError):
        kept[4]

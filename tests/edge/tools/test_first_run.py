"""The guided start: which pictures are refused, which are enrolled, and how a folder is divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.evaluate.datasets import DatasetError
from core.image import Rgb, read
from core.simline import render
from core.simline.dataset import Amount, write_dataset
from edge.tools.first_run import ALIKE, EMPTY, FirstRunError, Guide, check_count, choose
from edge.tools.playlist import good_pictures, make_playlist

GOOD = [render("metal_plate", 3, index, 0.0).image for index in range(6)]


def flat(level: int, noise: float = 0.0) -> Rgb:
    picture = (
        np.random.default_rng(level).normal(level, noise, (240, 320, 3)) if noise else np.full((240, 320, 3), level)
    )
    return np.clip(picture, 0, 255).astype(np.uint8)


def dataset(folder: Path, amount: Amount) -> Path:
    for _ in write_dataset(folder, ["metal_plate"], amount):
        pass
    return folder / "metal_plate"


@pytest.mark.parametrize(
    "picture", [flat(0), flat(255), flat(128), flat(128, 8.0)], ids=["black", "white", "grey", "noise"]
)
def test_a_scene_without_structure_is_empty(picture: Rgb) -> None:
    assert Guide(3).show("nothing", picture) == EMPTY
    assert Guide(3, plain=True).show("a plain part", picture) == "show it good parts: 1 of 3"


def test_the_guide_counts_good_parts_and_leaves_empty_scenes_out() -> None:
    guide = Guide(3)
    assert guide.words() == "show it good parts: 0 of 3"
    assert guide.show("one", GOOD[0]) == "show it good parts: 1 of 3"
    assert guide.show("two", flat(128)) == EMPTY
    assert guide.show("three", GOOD[1]) == "show it good parts: 2 of 3"
    assert not guide.full
    assert guide.show("four", GOOD[2]) == "show it good parts: 3 of 3"
    assert guide.full
    assert [name for name, _ in guide.kept] == ["one", "three", "four"]
    assert guide.notes() == ("1 pictures of an empty scene are left out",)


def test_a_line_that_stands_still_is_asked_about_and_goes_on() -> None:
    guide = Guide(4)
    said = [guide.show("part", GOOD[0]) for _ in range(3)]
    assert said == [
        "show it good parts: 1 of 4",
        "show it good parts: 2 of 4",
        f"show it good parts: 3 of 4; {ALIKE}",
    ]
    assert any(ALIKE in note for note in guide.notes())
    assert guide.show("part", GOOD[1]) == "show it good parts: 4 of 4"
    assert guide.notes() == ()


def test_blurred_dark_and_repeated_pictures_are_no_shots() -> None:
    blurred = GOOD[0].copy()
    for _ in range(12):
        blurred = ((blurred + np.roll(blurred, 2, 0).astype(int) + np.roll(blurred, 2, 1)) / 3).astype(np.uint8)
    dark = (GOOD[1] * 0.2).astype(np.uint8)
    images = [*GOOD, blurred, dark, GOOD[2]]
    assert choose(images, [6, 7, 2, 8, 4, 0, 1]) == [2, 4, 0, 1]
    assert choose(images, [6, 7, 2, 8, 4, 0, 1], 2) == [2, 4]
    assert choose([GOOD[0]] * 4, [1, 0]) == [1], "all alike: one is enough"
    assert choose(images, [6]) == [6], "a line is never left without a shot"


def test_too_few_parts_are_refused_with_the_number_that_is_needed() -> None:
    check_count(23, 0.05, False, "good parts")
    check_count(12, 0.05, True, "good parts")
    with pytest.raises(
        FirstRunError, match=r"12 good parts promise 11.1 %, not 5 %: 23 are needed, .* show it 11 more"
    ):
        check_count(12, 0.05, False, "good parts")
    with pytest.raises(FirstRunError, match="4 good parts are too few"):
        check_count(4, 0.05, True, "good parts")


def test_a_data_set_teaches_with_its_training_pictures_and_is_judged_in_its_order(tmp_path: Path) -> None:
    folder = dataset(tmp_path, Amount(train=6, good=2, defective=1))
    found = make_playlist(folder, None, 3)
    assert [one.name for one in found.good] == ["000.png", "002.png", "004.png"]
    assert found.samples is not None
    assert [one.path for one in found.samples] == list(found.judged) == sorted(folder.glob("test/*/*.png"))
    assert {one.defect for one in found.samples if not one.anomalous} == {"good"}
    written = sorted(found.write(tmp_path / "played").iterdir())
    assert len(written) == len(found.judged)
    for link, path in zip(written, found.judged, strict=True):
        assert np.array_equal(read(link), read(path))
    with pytest.raises(DatasetError, match="6 good training pictures; 9 are needed: put 3 more there"):
        make_playlist(folder, None, 9)


def test_folders_of_good_and_bad_teach_with_good_ones_that_are_not_judged(tmp_path: Path) -> None:
    folder = dataset(tmp_path, Amount(train=1, good=5, defective=1))
    sorted_into = tmp_path / "sorted"
    (sorted_into).mkdir()
    (folder / "test" / "good").rename(sorted_into / "good")
    (folder / "test" / "dent").rename(sorted_into / "bad")
    found = make_playlist(sorted_into, None, 3)
    assert found.samples is not None
    assert [(one.path.parent.name, one.anomalous) for one in found.samples] == [
        ("bad", True),
        ("good", False),
        ("good", False),
    ]
    assert not set(found.good) & set(found.judged)


def test_a_plain_folder_teaches_with_its_first_pictures(tmp_path: Path) -> None:
    folder = dataset(tmp_path, Amount(train=6, good=1, defective=1)) / "train" / "good"
    found = make_playlist(folder, None, 4)
    assert [one.name for one in found.good] == ["000.png", "001.png", "002.png", "003.png"]
    assert [one.name for one in found.judged] == ["004.png", "005.png"]
    assert found.samples is None
    with pytest.raises(DatasetError, match="6 pictures; the first 6 are taken for good, and one more at least"):
        make_playlist(folder, None, 6)
    other = make_playlist(folder, folder, 6)
    assert len(other.good) == len(other.judged) == 6
    assert make_playlist(folder, None, 0).good == ()


def test_what_is_no_folder_of_pictures_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        good_pictures(tmp_path / "nowhere", 3)
    with pytest.raises(DatasetError, match="0 pictures; 3 are needed"):
        good_pictures(tmp_path, 3)
    with pytest.raises(DatasetError, match="no data set"):
        make_playlist(tmp_path, None, 3)
    for _ in write_dataset(tmp_path, ["metal_plate", "wood"], Amount(1, 1, 1)):
        pass
    with pytest.raises(DatasetError, match=r"2 classes \(metal_plate, wood\); name the folder of one of them"):
        make_playlist(tmp_path, None, 1)

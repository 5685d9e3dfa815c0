"""What FiLo learns from: examples of files and of the simulated world, mosaics, and what is held out."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.evaluate.datasets import DatasetError, find_classes
from core.filo.prompts import wording_of
from core.filo.training.pictures import (
    from_classes,
    from_simline,
    hold_out,
    mosaic,
    mosaics_of,
    require_both_kinds,
    shrunk,
    trained_pack,
)
from core.training.split import HELD_OUT_CLASSES, HELD_OUT_DEFECTS, HELD_OUT_WORDS, TRAINED_CLASSES


def data_set(root: Path, defects: int = 1, good: int = 1, masks: bool = True) -> Path:
    """A class `part` in MVTec AD's layout, with pictures of 24 x 40."""
    for folder, count in (("train/good", 1), ("test/good", good), ("test/crack", defects)):
        (root / "part" / folder).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(root / "part" / folder / f"{index}.png"), np.full((24, 40, 3), 90, np.uint8))
    if masks:
        (root / "part/ground_truth/crack").mkdir(parents=True)
        for index in range(defects):
            marked = np.zeros((24, 40), np.uint8)
            marked[5, 6:9] = 255
            cv2.imwrite(str(root / "part/ground_truth/crack" / f"{index}_mask.png"), marked)
    return root


def test_test_pictures_with_masks_and_good_ones_are_learnt_from(tmp_path: Path) -> None:
    examples, left_out = from_classes(find_classes(data_set(tmp_path)), tmp_path)
    assert left_out == []
    assert sorted(example.anomalous for example in examples) == [False, True]
    image, mask = next(example for example in examples if example.anomalous).load((48, 80))
    assert image.shape == (24, 40, 3)
    assert mask.shape == (48, 80)
    assert mask[10:12, 12:18].all()
    assert mask.sum() == 12


def test_a_picture_that_was_changed_has_another_key(tmp_path: Path) -> None:
    example = from_classes(find_classes(data_set(tmp_path)), tmp_path)[0][0]
    before = example.key
    path = next(path for path in tmp_path.rglob("*.png") if str(path) in before)
    path.write_bytes(path.read_bytes() + b"\0")
    assert example.key != before


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"masks": False}, "no test picture shows a defect with a mask"),
        ({"good": 0}, "no test picture shows a good part"),
    ],
)
def test_a_data_set_that_nothing_can_be_learnt_from_is_refused(tmp_path: Path, kind: dict, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        require_both_kinds(from_classes(find_classes(data_set(tmp_path, **kind)), tmp_path)[0])


def test_masks_the_other_way_round_are_read_as_they_are_in_an_evaluation(tmp_path: Path) -> None:
    root = data_set(tmp_path)
    (path,) = (root / "part/ground_truth/crack").iterdir()
    cv2.imwrite(str(path), 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    examples, notes = from_classes(find_classes(root), root)
    assert "read as inverted" in notes[0]
    assert next(example for example in examples if example.anomalous).load((24, 40))[1].sum() == 3


def test_what_cannot_be_read_or_has_no_mask_is_left_out_and_named(tmp_path: Path) -> None:
    root = data_set(tmp_path, defects=3)
    (root / "part/test/crack/0.png").write_bytes(b"no picture")
    (root / "part/ground_truth/crack/1_mask.png").unlink()
    examples, left_out = from_classes(find_classes(root), root)
    assert [example.anomalous for example in examples] == [True, False]
    assert "0.png" in left_out[0]
    assert left_out[1:] == ["part: left out: defective pictures without a mask, 1 of 4"]


def test_the_simulated_world_gives_pairs_and_shows_nothing_that_is_held_out() -> None:
    examples = from_simline(120)
    assert len({example.key for example in examples}) == 120
    assert {example.class_name for example in examples} == set(TRAINED_CLASSES)
    assert not {example.class_name for example in examples} & set(HELD_OUT_CLASSES)
    bad, good = examples[0].load((64, 64)), examples[1].load((64, 64))
    assert bad[1].any()
    assert not good[1].any()
    assert np.abs(bad[0].astype(int) - good[0])[~bad[1]].max() <= 8 + 16  # one part, but for the defect and its rim
    assert not {example.key for example in from_simline(120, 1)} & {example.key for example in examples}


@pytest.mark.parametrize("name", TRAINED_CLASSES)
def test_no_sentence_of_training_names_a_held_out_defect(name: str) -> None:
    pack = trained_pack(name)
    assert pack.defects
    said = wording_of(pack)
    assert not set(said.defects) & set(HELD_OUT_DEFECTS)
    assert not [text for text in said.abnormal if any(word in text.lower() for word in HELD_OUT_WORDS)]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_simulated_pictures_come_in_pairs(count: int) -> None:
    with pytest.raises(ValueError, match="pairs"):
        from_simline(count)


def test_every_fifth_class_is_held_out_or_those_that_are_asked_for() -> None:
    assert hold_out(["c", "a", "b", "a"], None) == ("c",)
    assert hold_out(["a"], None) == ()
    assert hold_out(list("abcdefghij"), None) == ("e", "j")
    assert hold_out(["a", "b"], []) == ()
    assert hold_out(["a", "b"], ["a"]) == ("a",)
    with pytest.raises(DatasetError, match="no such class; there are a, b"):
        hold_out(["a", "b"], ["x"])
    with pytest.raises(DatasetError, match="none is left to train on"):
        hold_out(["a", "b"], ["a", "b"])


def test_a_mosaic_has_each_picture_and_its_mask_in_its_quarter() -> None:
    parts = []
    for value in (10, 60, 110, 160):
        mask = np.zeros((8, 8), np.bool_)
        mask[0, 0] = value == 110  # one pixel, that must not vanish
        parts.append((np.full((9, 13, 3), value, np.uint8), mask))
    image, mask = mosaic(parts, (5, 7))
    assert image.shape == (5, 7, 3)
    assert [int(image[row, col, 0]) for row, col in ((0, 0), (0, 6), (4, 0), (4, 6))] == [10, 60, 110, 160]
    assert [(int(row), int(col)) for row, col in np.argwhere(mask)] == [(2, 0)]


def test_a_mask_keeps_its_thin_defects_as_it_shrinks() -> None:
    mask = np.zeros((240, 240), np.bool_)
    mask[:, 101] = True
    assert shrunk(mask, (15, 15)).any(axis=1).all()
    assert shrunk(mask, (240, 240)) is mask


def test_each_example_has_a_mosaic_of_its_class() -> None:
    examples = from_simline(200)
    mosaics = mosaics_of(examples, seed=0)
    assert [mosaic.class_name for mosaic in mosaics] == [example.class_name for example in examples]
    for example, whole in zip(examples, mosaics, strict=True):
        assert example in whole.parts
        assert len({part.key for part in whole.parts}) == 4
        assert {part.class_name for part in whole.parts} == {example.class_name}
    assert [whole.key for whole in mosaics] == [whole.key for whole in mosaics_of(examples, seed=0)]
    assert [whole.key for whole in mosaics] != [whole.key for whole in mosaics_of(examples, seed=1)]
    image, mask = mosaics[0].load((64, 64))
    assert image.shape == (64, 64, 3)
    assert bool(mask.any()) == mosaics[0].anomalous


def test_a_class_of_one_picture_makes_a_mosaic_of_it_alone() -> None:
    example = from_simline(2)[0]
    assert mosaics_of([example], seed=0)[0].parts == (example,) * 4

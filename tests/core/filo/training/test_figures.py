"""Figures of a head beside the other methods, and the card that shows them."""

import math
from pathlib import Path

import numpy as np
import pytest

from core.evaluate.datasets import find_classes
from core.explain import Likeness
from core.filo.filo import Filo, FiloInspection
from core.filo.training.card import render
from core.filo.training.figures import METHODS, Measured, Naming, on_classes, on_simline
from core.training.measure import Figures
from tests.support.parts import write_dataset

KINDS = ("crack", "crack", "dent")


def inspection(image: list[float], under_peak: int) -> FiloInspection:
    """A frame of 4 x 4 whose map has its peak at the bottom right."""
    patch_map = np.zeros((4, 4), np.float32)
    patch_map[3, 3] = 1
    patch = np.zeros((2, 2), np.int64)
    patch[1, 1] = under_peak
    likeness = Likeness(np.array(image, np.float32), patch)
    kept = np.ones(1, np.bool_)
    return FiloInspection(0.5, 0.5, 0.5, patch_map, (4, 4), kept, kept, likeness)


def test_a_name_is_right_where_its_kind_is_there() -> None:
    naming = Naming()
    naming.add(inspection([0.1, 0.5, 0.2], 2), KINDS, ("crack",))
    naming.add(inspection([0.1, 0.2, 0.5], 2), KINDS, ("dent",))
    naming.add(inspection([0.1, 0.5, 0.2], 0), KINDS, ("dent",))
    assert (naming.parts, naming.by_image, naming.by_patch) == (3, 2, 1)
    assert math.isclose(naming.chance, 2 / 3 + 1 / 3 + 1 / 3)


@pytest.mark.parametrize("defects", [(), ("crack", "dent"), ("stain",)])
def test_parts_without_one_kind_that_is_described_are_not_counted(defects: tuple[str, ...]) -> None:
    naming = Naming()
    naming.add(inspection([0.1, 0.5, 0.2], 2), KINDS, defects)
    assert naming == Naming()


def test_all_methods_are_measured_on_the_same_parts(filo: Filo) -> None:
    found = on_simline(filo, "bottle", ("crack",), lines=1, parts=2)
    assert found.pictures == 4
    assert tuple(found.figures) == METHODS
    assert all(0 <= value <= 1 for each in found.figures.values() for value in vars(each).values())
    assert found == on_simline(filo, "bottle", ("crack",), lines=1, parts=2)


def test_photographs_are_measured_by_all_methods(filo: Filo, tmp_path: Path) -> None:
    root = write_dataset(tmp_path, train=0, good=1, bad=2)
    (found,) = on_classes(filo, find_classes(root), root)
    assert (found.name, found.pictures) == ("tile", 3)
    assert set(found.figures) == set(METHODS)
    assert found.naming == Naming(), "the folder is called defect, and so is no kind of the pack"


def test_the_card_shows_means_by_group() -> None:
    def measured(name: str, value: float) -> Measured:
        return Measured(name, 8, dict.fromkeys(METHODS, Figures(value, value, value)), Naming(4, 2, 1, 0.5))

    card = render("A head", {"seed": "0"}, {"held-out classes": [measured("a", 0.5), measured("b", 0.75)], "none": []})
    assert "| seed | 0 |" in card
    assert "| held-out classes (2) | 16 | 0.625 / 0.625 / 0.625 |" in card
    assert "| held-out classes | 8 | 0.500 | 0.250 | 0.125 |" in card
    assert "| none" not in card
    assert "No class was held out" in render("A head", {}, {"held-out classes": []})

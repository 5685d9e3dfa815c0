import hashlib
import subprocess
import sys

import numpy as np
import pytest

from core.packs.pack import list_packs
from core.simline import CLASSES, DEFECTS, SIZE, UnknownName, defects_of, render


def test_the_world_is_wide_enough_and_every_class_has_a_pack() -> None:
    assert len(CLASSES) >= 20
    assert len(DEFECTS) >= 14
    assert set(CLASSES) <= set(list_packs())
    assert {one for name in CLASSES for one in defects_of(name)} == set(DEFECTS)


@pytest.mark.parametrize("name", CLASSES)
def test_good_parts_have_no_mask_and_defects_change_only_theirs(name: str) -> None:
    seen = 0
    for index in range(4):
        good, bad = render(name, 3, index, 0.0), render(name, 3, index, 1.0)
        assert good.image.shape == bad.image.shape == (SIZE, SIZE, 3)
        assert good.image.dtype == bad.image.dtype == bad.mask.dtype == np.uint8
        assert not good.mask.any()
        assert good.defects == ()
        assert bool(bad.defects) == bool(bad.mask.any())
        assert set(bad.defects) <= set(defects_of(name))
        change = np.abs(good.image.astype(int) - bad.image.astype(int)).max(axis=2)
        assert change[bad.mask == 0].max() <= 10  # what is below `VISIBLE`, and rounding
        assert (change[bad.mask == 255] > 0).mean() > 0.9  # the sensor clips a few
        seen += bool(bad.defects)
    assert seen >= 3


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_can_be_had_alone(defect: str) -> None:
    names = [name for name in CLASSES if defect in defects_of(name)]
    shown = [render(name, 2, index, 1.0, [defect]) for name in names[:4] for index in range(6)]
    assert {one.defects for one in shown} <= {(), (defect,)}
    assert sum(bool(one.defects) for one in shown) >= len(shown) / 2
    assert all(14 <= (one.mask > 0).sum() < SIZE * SIZE / 3 for one in shown if one.defects)  # a place, not all of it


def test_a_line_has_one_design_and_parts_of_their_own() -> None:
    first, second, other = render("label", 1, 0, 0.0), render("label", 1, 1, 0.0), render("label", 2, 0, 0.0)
    assert not np.array_equal(first.image, second.image)

    def colours(image: np.ndarray) -> np.ndarray:
        return np.stack([np.histogram(image[..., band], 16, (0, 256))[0] for band in range(3)]) / SIZE**2

    same, different = (np.abs(colours(first.image) - colours(one.image)).sum() for one in (second, other))
    assert same < different / 1.5


def test_the_rate_is_kept() -> None:
    assert 15 <= sum(bool(render("washer", 5, index, 0.3).defects) for index in range(100)) <= 45


def test_a_picture_has_the_size_asked_for() -> None:
    assert render("gear", 1, 0, 1.0, size=97).mask.shape == (97, 97)


def test_another_process_draws_the_same_pixels() -> None:
    code = (
        "import hashlib; from core.simline import render; "
        "print(hashlib.sha256(render('tile', 9, 4, 1.0).image.tobytes()).hexdigest())"
    )
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert theirs == hashlib.sha256(render("tile", 9, 4, 1.0).image.tobytes()).hexdigest()


def test_what_is_not_simulated_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'bottle'"):
        render("botle", 0, 0, 0.0)
    with pytest.raises(UnknownName, match="no defect 'weave_break'; it has bubble"):
        render("bottle", 0, 0, 1.0, ["weave_break"])
    for arguments, message in (((-1, 0, 0.0), "negative"), ((0, -1, 0.0), "negative"), ((0, 0, 1.5), "probability")):
        with pytest.raises(ValueError, match=message):
            render("bottle", *arguments)
    with pytest.raises(ValueError, match="64 pixels"):
        render("bottle", 0, 0, 0.0, size=32)

import cv2
import numpy as np
import pytest

from core.bank.augment import augment, turned, turns, variants
from core.image import Rgb
from core.simline import render

PICTURE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def test_the_eight_variants_are_all_different_and_the_first_is_the_picture() -> None:
    made = [augment(PICTURE, variant) for variant in range(8)]
    assert np.array_equal(made[0], PICTURE)
    assert len({(one.shape, one.tobytes()) for one in made}) == 8
    assert all(one.flags.c_contiguous and one.dtype == np.uint8 for one in made)
    assert [one.shape for one in made] == [(2, 3, 3), (3, 2, 3)] * 4


def test_turns_are_counter_clockwise_and_flips_are_flips() -> None:
    top_right = PICTURE[0, -1]
    assert np.array_equal(augment(PICTURE, 1)[0, 0], top_right)
    assert np.array_equal(augment(PICTURE, 4), PICTURE[:, ::-1])
    assert np.array_equal(augment(PICTURE, 6), PICTURE[::-1])


def test_kinds_name_variants_and_others_are_refused() -> None:
    assert variants("none") == (0,)
    assert variants("flips") == (0, 4, 6)
    assert variants("rotations") == (0, 1, 2, 3)
    assert variants("all") == tuple(range(8))
    assert sorted(variants("angles")) == [0, 1, 2, 3, *range(8, 16)]
    with pytest.raises(ValueError, match="'mirror' is not known; use one of none, flips"):
        variants("mirror")
    with pytest.raises(ValueError, match="variant 16"):
        augment(PICTURE, 16)


def part(height: int = 240, width: int = 240) -> Rgb:
    return np.asarray(cv2.resize(render("gear", 0, 0, 0.0).image, (width, height)), np.uint8)


def test_turns_of_kinds_are_in_degrees() -> None:
    assert turns("angles") == tuple(range(0, 360, 30))
    assert turns("rotations") == turns("all") == (0, 90, 180, 270)
    assert turns("none") == turns("flips") == (0,)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("side", [240, 241])
def test_turns_by_quarters_are_the_exact_ones(quarters: int, side: int) -> None:
    picture = part(side, side)
    found = turned(picture, 90.0 * quarters)
    assert np.abs(found.astype(int) - augment(picture, quarters)).max() <= 1


@pytest.mark.parametrize(
    ("variant", "degrees"), [*zip(range(8, 16), [30, 60, 120, 150, 210, 240, 300, 330], strict=True)]
)
@pytest.mark.parametrize("size", [(240, 240), (200, 300), (300, 200)])
def test_a_turn_and_back_is_the_centre_again(variant: int, degrees: int, size: tuple[int, int]) -> None:
    picture = part(*size)
    there = augment(picture, variant)
    assert there.shape == picture.shape
    assert np.array_equal(there, turned(picture, degrees))
    middle = tuple(slice(one // 2 - 50, one // 2 + 50) for one in size)
    back = turned(there, -degrees)[middle].astype(float) - picture[middle]
    assert np.abs(back).mean() < 2.0 < np.abs(there[middle].astype(float) - picture[middle]).mean()


def test_a_turn_is_about_the_centre_counter_clockwise_and_leaves_no_black_corners() -> None:
    picture = np.full((101, 141, 3), 200, np.uint8)
    picture[50, 110:113] = 0  # right of the centre
    found = augment(picture, 8)
    assert found.min() < 150
    rows, cols = np.nonzero(found[..., 0] < 180)
    assert abs(rows.mean() - (50 - 41 * np.sin(np.pi / 6))) < 1
    assert abs(cols.mean() - (70 + 41 * np.cos(np.pi / 6))) < 1
    assert all(found[row, col].min() == 200 for row in (0, -1) for col in (0, -1))


@pytest.mark.parametrize("shape", [(1, 5, 3), (5, 1, 3)])
def test_views_of_a_line_of_pixels_have_no_negative_step(shape: tuple[int, int, int]) -> None:
    picture = np.arange(15, dtype=np.uint8).reshape(shape)
    assert all(min(augment(picture, variant).strides) > 0 for variant in range(16))

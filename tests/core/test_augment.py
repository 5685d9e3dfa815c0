import numpy as np
import pytest

from core.augment import augment, variants

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
    with pytest.raises(ValueError, match="'mirror' is not known; use one of none, flips"):
        variants("mirror")
    with pytest.raises(ValueError, match="variant 8"):
        augment(PICTURE, 8)

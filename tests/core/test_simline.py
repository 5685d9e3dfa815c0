import hashlib
import subprocess
import sys

import numpy as np
import pytest

import core.simline
from core.simline import PARTS, render


@pytest.mark.parametrize("part", PARTS)
def test_good_parts_have_no_mask_and_defects_change_exactly_theirs(part: str) -> None:
    for index in range(6):
        good, empty = render(part, 3, index, 0.0)
        bad, mask = render(part, 3, index, 1.0)
        assert good.shape == bad.shape == (*mask.shape, 3)
        assert good.dtype == mask.dtype == np.uint8
        assert not empty.any()
        assert set(np.unique(mask)) == {0, 255}
        assert np.array_equal(good[mask == 0], bad[mask == 0])
        assert (good[mask == 255] != bad[mask == 255]).any(axis=-1).all()


@pytest.mark.parametrize("part", PARTS)
def test_parts_differ_and_the_rate_is_kept(part: str) -> None:
    assert not np.array_equal(render(part, 1, 0, 0.0)[0], render(part, 1, 1, 0.0)[0])
    assert not np.array_equal(render(part, 1, 0, 0.0)[0], render(part, 2, 0, 0.0)[0])
    defective = sum(render(part, 5, index, 0.3)[1].any() for index in range(100))
    assert 15 <= defective <= 45


def test_another_process_draws_the_same_pixels() -> None:
    code = (
        "import hashlib; from core.simline import render; "
        "print(hashlib.sha256(b''.join(a.tobytes() for a in render('tile', 9, 4, 1.0))).hexdigest())"
    )
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert theirs == hashlib.sha256(b"".join(one.tobytes() for one in render("tile", 9, 4, 1.0))).hexdigest()


def test_an_unknown_part_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="bottle") as caught:
        render("botle", 0, 0, 0.0)
    assert type(caught.value).__module__ == core.simline.__name__

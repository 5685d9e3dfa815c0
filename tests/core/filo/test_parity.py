"""FiLo held against the plain reading, with equal random weights; and each habit of the release taken away in turn."""

from __future__ import annotations

import numpy as np
import pytest

from core.filo.filo import Filo
from core.filo.positions import POSITIONS
from core.image import Rgb
from core.packs.pack import PromptPack
from tests.core.filo.conftest import frame, plain_of
from tests.core.filo.reference import HABITS, Array, Plain


def ids(filo: Filo, sentences: tuple[str, ...]) -> np.ndarray:
    return filo.backbone.text.tokenize([f"{'X ' * 12}{sentence}" for sentence in sentences]).numpy()


def read_plainly(plain: Plain, filo: Filo, pack: PromptPack, picture: Rgb) -> tuple[float, Array, int]:
    """Score, map and position."""
    wording = filo.texts(pack).wording
    pixels = filo.backbone.pixels([picture])[0].numpy().astype(np.float64)
    return plain.judge(pixels, ids(filo, wording.normal), ids(filo, wording.abnormal))


def hold_against_the_plain_reading(filo: Filo, pack: PromptPack, picture: Rgb) -> None:
    """Asserts equal maps, scores and positions."""
    plain = plain_of(filo, HABITS if filo.released else frozenset())
    score, wanted, position = read_plainly(plain, filo, pack, picture)
    found = filo.inspect([picture], [filo.texts(pack)])[0]
    assert found.position == POSITIONS[position]
    assert np.ptp(wanted) > 0.1  # a map that shows something
    np.testing.assert_allclose(found.patch_map, wanted, atol=1e-4)
    assert found.score == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("mode", ["clean", "late", "released"])
def test_maps_and_scores_are_those_of_the_plain_reading(
    mode: str, request: pytest.FixtureRequest, pack: PromptPack
) -> None:
    hold_against_the_plain_reading(request.getfixturevalue(mode), pack, frame())


@pytest.mark.parametrize("habit", sorted(HABITS))
def test_without_a_habit_of_the_release_the_map_is_another(habit: str, released: Filo, pack: PromptPack) -> None:
    """The parity above would be red if the habit were forgotten."""
    found = released.inspect([frame()], [released.texts(pack)])[0].patch_map
    _, forgotten, _ = read_plainly(plain_of(released, HABITS - {habit}), released, pack, frame())
    assert np.abs(forgotten - found).max() > 1e-3

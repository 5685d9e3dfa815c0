from __future__ import annotations

import cv2
import numpy as np
import pytest

from core import simline
from core.image import Rgb
from edge.camera.health import FrameHealth, Health, region_fault
from edge.settings import HealthSettings
from tests.support.pictures import numbered

PART = simline.render(simline.CLASSES[0], 1, 0, 0.0).image
RANDOM = np.random.default_rng(7)


def noisy(picture: Rgb = PART) -> Rgb:
    """The picture as a sensor sees it: never twice the same."""
    return np.clip(picture + RANDOM.integers(-3, 4, picture.shape), 0, 255).astype(np.uint8)


def code(health: Health) -> str | None:
    return None if health.fault is None else health.fault.code


def look(picture: Rgb, live: bool = True, **settings: object) -> str | None:
    """The fault of a single picture."""
    return code(FrameHealth(HealthSettings(**settings)).check(picture, 1.0, live))


def film(pictures: list[Rgb], step_s: float = 1.0, live: bool = True, **settings: object) -> list[str | None]:
    """The faults of pictures that come every `step_s` seconds."""
    health = FrameHealth(HealthSettings(**settings))
    return [code(health.check(picture, 100 + index * step_s, live)) for index, picture in enumerate(pictures)]


def test_a_picture_of_a_part_has_no_fault_and_its_figures() -> None:
    health = FrameHealth(HealthSettings()).check(noisy(), 1.0, live=True)
    assert health.fault is None
    assert health.brightness == pytest.approx(PART.mean(), abs=1)
    assert health.sharpness > 0


def test_a_live_picture_that_differs_in_nothing_for_long_stands_still() -> None:
    still = noisy()
    found = film([still.copy() for _ in range(6)], frozen_s=3)
    assert found == [None, None, None, "camera_frozen", "camera_frozen", "camera_frozen"]


def test_one_bit_of_difference_is_not_still() -> None:
    still = noisy()
    other = still.copy()
    other[-1, -1, 2] ^= 1
    assert film([still, still, still, other, other, other, other], frozen_s=3) == [None] * 6 + ["camera_frozen"]


def test_two_equal_pictures_are_not_yet_still_however_far_apart() -> None:
    still = noisy()
    assert film([still] * 3, step_s=60, frozen_s=10) == [None, None, "camera_frozen"]


def test_the_variants_that_an_encoder_makes_of_one_picture_stand_still() -> None:
    still = noisy()
    variants = [still, np.clip(still.astype(int) + 1, 0, 255).astype(np.uint8)]
    assert film(variants * 3, frozen_s=3) == [None] * 4 + ["camera_frozen"] * 2, "from the last new one on"


def test_a_few_pictures_in_a_loop_do_not_stand_still() -> None:
    assert set(film([numbered(index) for index in (1, 2, 3)] * 8, frozen_s=3)) == {None}


def test_pictures_of_another_size_are_new_ones() -> None:
    still = noisy()
    assert film([still] * 3 + [still[:, :-16].copy()] * 2, frozen_s=2)[2:] == ["camera_frozen", None, None]


def test_files_and_simulated_parts_may_stand_still_and_be_dark() -> None:
    for picture in (noisy(), np.zeros_like(PART), np.full_like(PART, 255)):
        assert set(film([picture] * 5, live=False, frozen_s=1)) == {None}


@pytest.mark.parametrize(("level", "fault"), [(0, "camera_black"), (3, "camera_black"), (5, None)])
def test_a_picture_without_light_is_black(level: int, fault: str | None) -> None:
    assert look(np.full((240, 320, 3), level, np.uint8)) == fault


@pytest.mark.parametrize(("level", "fault"), [(255, "camera_white"), (252, "camera_white"), (250, None)])
def test_a_picture_of_nothing_but_light_is_white(level: int, fault: str | None) -> None:
    assert look(np.full((240, 320, 3), level, np.uint8)) == fault


@pytest.mark.parametrize("colour", [0, 1, 2])
def test_light_of_one_colour_is_light(colour: int) -> None:
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[..., colour] = 200
    assert look(picture) is None


def test_a_blurred_picture_is_blurred_in_a_file_too() -> None:
    sharp = noisy()
    blurred = cv2.GaussianBlur(sharp, (0, 0), 4)
    figures = [FrameHealth(HealthSettings()).check(one, 1.0, live=True).sharpness for one in (sharp, blurred)]
    assert figures[0] > 5 * figures[1]
    between = sum(figures) / 2
    for live in (True, False):
        assert look(sharp, live, blur=between) is None
        assert look(blurred, live, blur=between) == "camera_blurred"
    assert look(blurred) is None, "it is looked for when a limit is set"


@pytest.mark.parametrize("share", [1.0 / 16, 0.25, 0.9])
def test_a_picture_whose_lower_part_is_one_row_repeated_is_torn(share: float) -> None:
    picture = noisy()
    rows = round(len(picture) * share)
    picture[-rows:] = picture[-rows - 1]
    assert look(picture) == "camera_torn"
    assert look(picture, torn=False) is None
    assert look(picture, live=False) is None


def test_a_grey_lower_part_is_torn() -> None:
    picture = noisy()
    picture[-len(picture) // 3 :] = 128
    assert look(picture) == "camera_torn"


def test_fewer_rows_than_a_sixteenth_are_not_torn() -> None:
    picture = noisy()
    rows = len(picture) // 16 - 1
    picture[-rows:] = picture[-rows - 1]
    assert look(picture) is None


@pytest.mark.parametrize("level", [0, 16, 235, 255])
def test_black_and_white_bars_below_a_picture_are_not_torn(level: int) -> None:
    picture = noisy()
    picture[-len(picture) // 4 :] = level
    assert look(picture) is None


def test_a_picture_of_one_row_throughout_is_not_torn() -> None:
    assert look(numbered(5)) is None
    assert look(np.full((240, 320, 3), 128, np.uint8)) is None
    nearly = numbered(5)
    nearly[20:30] ^= 1  # as an encoder leaves it
    assert look(nearly) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (2, 2), (15, 17), (33, 7)])
def test_tiny_pictures_are_looked_at_as_well(shape: tuple[int, int]) -> None:
    assert look(RANDOM.integers(60, 200, (*shape, 3)).astype(np.uint8)) is None


def test_a_frame_of_another_size_than_asked_for_says_both() -> None:
    height, width, _ = PART.shape
    assert look(PART, live=False, size=(width, height)) is None
    fault = FrameHealth(HealthSettings(size=(640, 480))).check(PART, 1.0, live=False).fault
    assert fault is not None
    assert fault.code == "camera_size"
    assert f"{width} x {height}" in fault.message
    assert "640 x 480" in fault.message


def test_zero_switches_a_check_off() -> None:
    off = {"frozen_s": 0, "dark": 0, "bright": 0, "blur": 0, "torn": False}
    for picture in (np.zeros((240, 320, 3), np.uint8), np.full((240, 320, 3), 255, np.uint8)):
        assert set(film([picture] * 5, step_s=100, **off)) == {None}


def test_what_explains_the_rest_is_named() -> None:
    black = np.zeros((240, 320, 3), np.uint8)
    assert film([black] * 5, frozen_s=1, blur=10)[-1] == "camera_black"


def test_a_message_stays_the_same_from_frame_to_frame() -> None:
    health = FrameHealth(HealthSettings(blur=1e9))
    first, second = (health.check(noisy(), at, live=True) for at in (1.0, 2.0))
    assert first.sharpness != second.sharpness
    assert first.fault is not None
    assert first.fault == second.fault


def test_a_region_that_shows_nothing_is_flat_whatever_its_source() -> None:
    limits = HealthSettings()
    assert region_fault(PART, limits, None) is None
    grey = np.full((240, 320, 3), 128, np.uint8)
    fault = region_fault(grey, limits, None)
    assert fault is not None
    assert fault.code == "camera_flat"
    assert fault == region_fault(np.full((100, 100, 3), (0, 135, 0), np.uint8), limits, None), "one message for all"
    assert region_fault(grey, HealthSettings(flat=False), None) is None

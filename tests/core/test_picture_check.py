"""Pictures that show nothing are refused, of any colour and through a coder; real plain parts are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core import simline
from core.image import Rgb
from core.picture_check import ShotFigures, flat, other_proportions, other_size, over_exposed
from core.structure import structure_of

RANDOM = np.random.default_rng(5)
PLAINEST = ("glass", "painted_panel", "ground_metal", "metal_plate", "cardboard", "brushed_metal")
EVEN, DRAWN, BLURRED = "shows nothing: it is even", "is a test picture", "has nothing sharp in it"


def noise(level: float, deviation: float, size: tuple[int, int] = (480, 640)) -> Rgb:
    return np.clip(np.rint(RANDOM.normal(level, deviation, (*size, 3))), 0, 255).astype(np.uint8)


def coded(picture: Rgb, quality: int = 80) -> Rgb:
    """The picture through a JPEG."""
    done = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return np.asarray(done, np.uint8)


def bars(width: int = 640, height: int = 480) -> Rgb:
    """SMPTE's: seven bars, the same the other way round in a strip, and three below."""
    picture = np.zeros((height, width, 3), np.uint8)
    colours = [(192, 192, 192), (192, 192, 0), (0, 192, 192), (0, 192, 0), (192, 0, 192), (192, 0, 0), (0, 0, 192)]
    for place, colour in enumerate(colours):
        picture[:, width * place // 7 : width * (place + 1) // 7] = colour
    strip, below = height * 2 // 3, height * 3 // 4
    picture[strip:below] = picture[0, ::-1]
    picture[below:, : width // 4], picture[below:, width // 4 : width // 2] = (0, 33, 76), 255
    picture[below:, width // 2 :] = 19
    return picture


def snowy(picture: Rgb) -> Rgb:
    """Noise in the lower right corner, as GStreamer's bars have it."""
    height, width, _ = picture.shape
    picture = picture.copy()
    corner = picture[height * 3 // 4 :, width * 3 // 4 :]
    corner[:] = RANDOM.integers(0, 2, (*corner.shape[:2], 1)) * 255
    return picture


def ramp(width: int = 640, height: int = 480) -> Rgb:
    row = (np.arange(width) * 255 // (width - 1)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))


def diagonal(width: int = 640, height: int = 480, begin: int = 0, down: int = 1) -> Rgb:
    """As sensors of industrial cameras draw it, and move it on from frame to frame."""
    grey = (np.arange(width) + down * np.arange(height)[:, None] + begin) % 256
    return np.ascontiguousarray(np.broadcast_to(grey.astype(np.uint8)[..., None], (height, width, 3)))


def turned(picture: Rgb) -> Rgb:
    return np.ascontiguousarray(picture.transpose(1, 0, 2))


def defocused(picture: Rgb, share: float, deviation: float = 0.0) -> Rgb:
    """Out of focus by a share of the side, and then the sensor's noise."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), share * max(picture.shape))
    return np.clip(np.rint(smooth + RANDOM.normal(0, deviation, smooth.shape)), 0, 255).astype(np.uint8)


def part(name: str, index: int = 0, seed: int = 1) -> Rgb:
    return simline.render(name, seed, index, 0.0).image


def lens_cap(level: float, deviation: float, hot: int = 0) -> Rgb:
    picture = noise(level, deviation)
    rows, columns = RANDOM.integers(0, 480, hot), RANDOM.integers(0, 640, hot)
    picture[rows, columns] = 255
    return picture


GREEN, GREY = np.full((240, 320, 3), (0, 135, 0), np.uint8), np.full((1080, 1920, 3), 128, np.uint8)
NOTHING = {
    "grey": (GREY, EVEN),
    "green": (GREEN, EVEN),
    "black": (np.zeros((240, 320, 3), np.uint8), EVEN),
    "white": (np.full((240, 320, 3), 255, np.uint8), EVEN),
    "magenta": (np.full((241, 317, 3), (200, 0, 200), np.uint8), EVEN),
    "grey with noise": (noise(128, 2), EVEN),
    "grey with much noise": (noise(60, 15), EVEN),
    "grey, small, with noise": (noise(128, 3, (96, 128)), EVEN),
    "grey with noise as JPEG": (coded(noise(128, 2)), EVEN),
    "lens cap": (lens_cap(3, 1), EVEN),
    "lens cap, high gain": (lens_cap(12, 6), EVEN),
    "lens cap as JPEG": (coded(lens_cap(10, 5)), EVEN),
    "lens cap, hot pixels": (lens_cap(6, 3, hot=40), EVEN),
    "lens cap through a mosaic": (cv2.GaussianBlur(lens_cap(10, 8), (0, 0), 0.7), EVEN),
    "lens cap, glow": (np.clip(lens_cap(6, 2) + ramp() // 50, 0, 255), EVEN),
    "bars": (bars(), DRAWN),
    "bars as JPEG": (coded(bars()), DRAWN),
    "bars with snow": (snowy(bars()), DRAWN),
    "bars of an odd size": (bars(1919, 1079), DRAWN),
    "bars that lie": (turned(bars()), DRAWN),
    "ramp": (ramp(), DRAWN),
    "ramp downwards": (turned(ramp()), DRAWN),
    "diagonal ramp": (diagonal(), DRAWN),
    "diagonal ramp that has moved": (diagonal(2448, 2048, 77), DRAWN),
    "diagonal ramp upwards": (diagonal(1919, 1079, down=-1), DRAWN),
    "bearing out of focus": (defocused(part("bearing"), 0.06), BLURRED),
    "pill out of focus, noise": (defocused(part("pill"), 0.06, 2.0), BLURRED),
    "cable far out of focus": (defocused(part("cable"), 0.1, 1.0), BLURRED),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_picture_that_shows_nothing_is_refused(kind: str) -> None:
    picture, reason = NOTHING[kind]
    fault = flat(structure_of(np.asarray(picture, np.uint8)))
    assert fault is not None
    assert fault.code == "flat"
    assert fault.message.startswith(reason)


@pytest.mark.parametrize("name", simline.CLASSES)
def test_a_good_part_is_not_refused(name: str) -> None:
    pictures = [part(name, index, seed=11 + index) for index in range(6 if name in PLAINEST else 1)]
    for picture in (*pictures, coded(pictures[0])):
        assert flat(structure_of(picture)) is None


@pytest.mark.parametrize(
    ("name", "seed"), [("painted_panel", 113), ("painted_panel", 1079), ("painted_panel", 1296), ("glass", 1089)]
)
def test_the_plainest_parts_that_were_found_pass(name: str, seed: int) -> None:
    """Shading of 0.9 to 1.2 grey levels under noise of 2, also at a level of 21; a pane with a broad reflection."""
    assert flat(structure_of(part(name, seed=seed))) is None


def test_a_small_part_on_a_saturated_mat_passes() -> None:
    for mat in (0, 255):
        picture = np.full((480, 640, 3), mat, np.uint8)
        picture[200:240, 300:340] = part("gear")[100:140, 100:140]
        assert flat(structure_of(picture)) is None


def test_a_pattern_as_fine_as_the_pixels_is_no_noise() -> None:
    assert flat(structure_of(RANDOM.integers(0, 256, (240, 240, 3)).astype(np.uint8))) is None


def test_line_art_of_two_levels_is_no_test_picture() -> None:
    picture = np.full((640, 640, 3), 255, np.uint8)
    for place in range(20):
        cv2.line(picture, (30 * place, 0), (30 * place, 300 + 7 * place), (0, 0, 0), 6)
        cv2.circle(picture, (30 * place, 300 + 7 * place), 9, (0, 0, 0), -1)
        cv2.line(picture, (30 * place, 340 + 7 * place), (30 * place + 40, 640), (0, 0, 0), 6)
    assert flat(structure_of(picture)) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (2, 2), (15, 17), (33, 7), (16, 4000)])
def test_a_picture_of_any_shape_is_looked_at(shape: tuple[int, int]) -> None:
    random = RANDOM.integers(0, 256, (*shape, 3)).astype(np.uint8)
    structure = structure_of(random)
    assert structure.size == shape
    assert 0 <= structure.dark <= 1
    assert 0 <= structure.bright <= 1


@pytest.mark.parametrize("name", ["wood", "pcb", "leather", "metal_plate", "screw"])
def test_with_shots_less_than_a_quarter_of_their_detail_is_out_of_focus(name: str) -> None:
    shots = ShotFigures.of([structure_of(part(name, index)) for index in range(4)])
    assert flat(structure_of(part(name, 9)), shots) is None
    assert flat(structure_of(defocused(part(name, 9), 0.08, 1.0)), shots) is not None


def test_shots_that_are_as_plain_excuse_what_they_show() -> None:
    even = ShotFigures.of([structure_of(GREY), structure_of(part("glass"))])
    assert flat(structure_of(noise(128, 2)), even) is None
    assert flat(structure_of(bars()), even) is not None


def test_dust_on_plain_shots_is_not_asked_of_the_next_part() -> None:
    clean = np.clip(ramp() // 4 + 90 + RANDOM.normal(0, 2, (480, 640, 3)), 0, 255).astype(np.uint8)
    dusty = clean.copy()
    for x, y in RANDOM.integers(20, 460, (12, 2)):
        cv2.circle(dusty, (int(x), int(y)), 3, (20, 20, 20), -1)
    shots = ShotFigures.of([structure_of(dusty)])
    assert flat(structure_of(clean), shots) is None


def test_saturation_is_held_against_that_of_the_shots() -> None:
    picture = part("bearing")
    shots = ShotFigures.of([structure_of(picture)])
    bright = picture.copy()
    bright[:120] = 255
    assert over_exposed(structure_of(picture), shots, 0.3) is None
    fault = over_exposed(structure_of(bright), shots, 0.3)
    assert fault is not None
    assert "by over 30% of its pixels" in fault.message
    assert over_exposed(structure_of(bright), ShotFigures.of([structure_of(bright)]), 0.3) is None
    assert over_exposed(structure_of(bright), None, 0.3) is None


def test_a_size_is_held_against_that_of_all_shots() -> None:
    picture = part("gear")
    two = ShotFigures.of([structure_of(picture)] * 2)
    fault = other_size(structure_of(picture[:200]), two)
    assert fault is not None
    assert "240 x 200 pixels, and all shots have 240 x 240" in fault.message
    half = structure_of(cv2.resize(picture, (120, 120)))
    assert other_size(half, two) is not None
    assert other_proportions(half, two) is None
    assert other_proportions(structure_of(picture[:200]), two) is not None
    assert other_proportions(structure_of(picture[:200]), ShotFigures.of([structure_of(picture)])) is None
    mixed = ShotFigures.of([structure_of(picture), half])
    assert other_size(structure_of(picture[:200]), mixed) is None
    assert other_size(half, None) is None
    assert ShotFigures.of([]) is None

"""Where an overlay's contour and caption are, and what its colours mean."""

from __future__ import annotations

from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from core.image import Map, Rgb
from core.overlay import Caption, outlined, overlay

THRESHOLD = 0.3
CAPTION = Caption(
    "anomaly", 0.7312, 0.512, provisional=True, line="press-1", time=datetime(2026, 11, 27, 16, tzinfo=timezone.utc)
)
TOP, LEFT, SIDE = 40, 60, 20  # of the square that stands out


def picture(size: tuple[int, int] = (120, 160), value: int = 120) -> Rgb:
    return np.full((*size, 3), value, np.uint8)


def square(size: tuple[int, int] = (120, 160), value: float = 0.4) -> Map:
    heatmap = np.full(size, 0.1, np.float32)
    heatmap[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = value
    return heatmap


def changed(drawn: Rgb, image: Rgb) -> NDArray[np.bool_]:
    return np.asarray((drawn[: image.shape[0], : image.shape[1]] != image).any(2))


def box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what is marked, the ends included."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]), int(cols[0]), int(cols[-1])


@pytest.mark.parametrize("value", [0, 120, 255])
def test_the_contour_runs_around_the_square_and_covers_none_of_it(value: int) -> None:
    image = picture(value=value)
    drawn = overlay(image, square(), THRESHOLD)
    white, black = (np.asarray((drawn == shade).all(2)) for shade in (255, 0))
    if value != 255:
        assert box(white) == (TOP - 1, TOP + SIDE, LEFT - 1, LEFT + SIDE)
        assert white.sum() == 4 * (SIDE + 1)
    if value != 0:
        assert box(black) == (TOP - 2, TOP + SIDE + 1, LEFT - 2, LEFT + SIDE + 1)
    inside = drawn[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    assert (inside == inside[0, 0]).all(), "only tinted"
    outside = changed(drawn, image)
    outside[TOP - 2 : TOP + SIDE + 2, LEFT - 2 : LEFT + SIDE + 2] = False
    assert not outside.any(), "normal areas stay as they are"


def test_a_defect_of_one_pixel_and_one_at_the_edge_stay_visible() -> None:
    image = np.random.default_rng(0).integers(60, 200, (120, 160, 3), np.uint8)
    heatmap = np.full((120, 160), 0.1, np.float32)
    heatmap[50, 70] = heatmap[0, 0] = heatmap[119, 159] = THRESHOLD
    drawn = overlay(image, heatmap, THRESHOLD).astype(int)
    for place in ((50, 70), (0, 0), (119, 159)):
        assert np.abs(drawn[place] - image[place]).max() < 60, "a tint lets the picture through"
    assert (drawn[49, 69:72] == 255).all()


def test_the_contour_is_where_a_region_begins() -> None:
    """At the threshold and not just below it, with the rounding of `find_regions`."""
    at = overlay(picture(), square(value=np.float32(THRESHOLD)), THRESHOLD)
    below = overlay(picture(), square(value=np.nextafter(np.float32(THRESHOLD), np.float32(0))), THRESHOLD)
    assert (at == 255).all(2).any()
    assert not (below == 255).all(2).any()
    red, _, blue = (int(value) for value in at[TOP + 5, LEFT + 5])
    assert red > blue
    red, _, blue = (int(value) for value in below[TOP + 5, LEFT + 5])
    assert red < blue


def test_a_value_looks_the_same_in_every_picture_of_a_threshold() -> None:
    calm = np.linspace(0.1, 0.25, 160, dtype=np.float32)[None].repeat(120, 0)
    wild = calm.copy()
    wild[:40] = 0.95
    drawn, other = (overlay(picture(), heatmap, THRESHOLD) for heatmap in (calm, wild))
    assert np.array_equal(drawn[60:], other[60:])
    assert not np.array_equal(drawn, overlay(picture(), calm, 0.2))


def test_the_larger_the_value_the_less_of_the_picture_shows() -> None:
    heatmap = np.linspace(0, 0.6, 160, dtype=np.float32)[None].repeat(120, 0)
    for image in (picture(value=0), picture(value=255), picture()):
        drawn = overlay(image, heatmap, THRESHOLD).astype(int)
        tint = np.abs(drawn - image).sum(2)[60]
        assert (np.diff(tint[:75]) >= 0).all()
        assert (np.diff(tint[80:]) >= 0).all()
        assert not tint[:40].any(), "nothing below half the threshold"
        assert tint[-1] > 100


@pytest.mark.parametrize("threshold", [0.0, 1e-40, 1.0, 1.0000001])
def test_extreme_thresholds_have_a_scale(threshold: float) -> None:
    heatmap = square(value=1.0)
    drawn = overlay(picture(), heatmap, threshold, CAPTION)
    standing_out = changed(drawn, picture())[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    assert standing_out.all()


@pytest.mark.parametrize(
    "size", [(1, 1), (16, 16), (64, 64), (64, 4000), (480, 480), (1260, 500), (2160, 3840)], ids=lambda size: f"{size}"
)
def test_the_caption_is_below_the_picture_whole_and_readable_at_any_size(size: tuple[int, int]) -> None:
    image, heatmap = picture(size), np.full(size, 0.1, np.float32)
    plain = overlay(image, heatmap, THRESHOLD)
    drawn = overlay(image, heatmap, THRESHOLD, CAPTION)
    height, width = size
    assert np.array_equal(drawn[:height, :width], plain)
    strip = drawn[height:]
    lit = np.asarray(strip.max(2) > 100)
    top, bottom, left, right = box(lit)
    assert min(top, left, strip.shape[0] - 1 - bottom, strip.shape[1] - 1 - right) >= 1, "nothing is cut"
    letters = cv2.connectedComponentsWithStats(lit.astype(np.uint8))[2][1:]
    tallest = letters[letters[:, cv2.CC_STAT_WIDTH] < 3 * letters[:, cv2.CC_STAT_HEIGHT], cv2.CC_STAT_HEIGHT].max()
    assert tallest >= max(8, max(size) / 110 if max(size) < 2 * min(size) else 0), "readable beside the picture"
    assert (drawn[:height, width:] <= 24).all(), "beside the picture is nothing"


def test_the_strip_holds_the_same_words_at_any_width() -> None:
    """The ink of the words is as much on one row as on several."""
    heatmaps = {size: np.full(size, 0.1, np.float32) for size in ((360, 640), (640, 360), (240, 960))}
    ink = [
        int((overlay(picture(size), heatmap, THRESHOLD, CAPTION)[size[0] :] > 200).sum())
        for size, heatmap in heatmaps.items()
    ]
    assert len(set(ink)) == 1


def test_the_caption_says_what_is_known() -> None:
    assert CAPTION.phrases == (
        "anomaly",
        "score 0.7312",
        "threshold 0.5120, provisional",
        "press-1",
        "2026-11-27 16:00:00+00:00",
    )
    assert Caption("normal", 0.1, 0.5).phrases == ("normal", "score 0.1000", "threshold 0.5000")
    assert Caption("error", reason="picture_dark", line="press-1").phrases == ("error: picture_dark", "press-1")


def test_a_picture_without_a_heatmap_has_a_caption_only() -> None:
    image, caption = picture((120, 640)), Caption("error", reason="picture_dark", line="press-1")
    drawn = overlay(image, None, 1.0, caption)
    assert np.array_equal(drawn[:120], image)
    with_scale = overlay(image, square((120, 640)), THRESHOLD, caption)
    assert drawn[120:, 320:].max() <= 24
    assert with_scale[120:, 320:].max() > 100
    assert overlay(image, None, 1.0) is not image


def test_a_mask_gets_a_dashed_outline_and_nothing_else() -> None:
    image = picture(value=200)
    mask = square() > THRESHOLD
    drawn = outlined(image, mask)
    line = changed(drawn, image)
    assert not (line & mask).any()
    assert box(line) == (TOP - 2, TOP + SIDE + 1, LEFT - 2, LEFT + SIDE + 1)
    around = drawn[TOP - 1, LEFT : LEFT + SIDE, 0]
    assert {0, 255} == set(around.tolist())
    assert np.array_equal(outlined(image, np.zeros((120, 160), np.bool_)), image)


def test_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"the heatmap has the shape \[120, 160\] and the picture \[100, 160, 3\]"):
        overlay(picture((100, 160)), square(), THRESHOLD)
    with pytest.raises(ValueError, match=r"the mask has the shape \[120, 160\] and the picture \[100, 160, 3\]"):
        outlined(picture((100, 160)), square() > THRESHOLD)
    with pytest.raises(ValueError, match=r"the picture is float64 \[120, 160, 3\]; give uint8 \[H, W, 3\]"):
        overlay(picture() / 255, square(), THRESHOLD)  # type: ignore[arg-type]
    for threshold in (float("nan"), float("inf"), -0.1):
        with pytest.raises(ValueError, match="is no number from 0 up"):
            overlay(picture(), square(), threshold)


def test_the_picture_and_the_heatmap_stay_as_they_are() -> None:
    image, heatmap = picture(), square()
    image.flags.writeable = heatmap.flags.writeable = False
    overlay(image, heatmap, THRESHOLD, CAPTION)[:] = 0
    outlined(image, heatmap > THRESHOLD)[:] = 0
    assert (image == 120).all()

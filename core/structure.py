"""What a picture shows at all, in a few figures: shading, texture, spots, noise, and whether a camera has drawn it.

All is measured in a picture that is halved until its longer side has 320 pixels or fewer. Sensor noise averages out
there, and no model sees finer detail. A colour that differs counts as much as brightness that does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.image import Rgb

_SIDE = 320  # pixels of the longer side
_CELLS = 16  # along each side, over which shading is averaged
_SPOTS = 1 / 4000  # of the pixels show a speck of dust, or a piece of an edge
_DARK_SPOTS = 1 / 200  # where it is dark, hot pixels are more than dust
_RARE = 1 / 50
DARK = 16.0
"""Mean of the brightest colour, 0..255, below which what there is may come from the sensor itself: video's black."""
_WHITE_NOISE = 0.07  # squared: `band` of white noise is 0.22 of `fine`, and somewhat more in a small picture
_CLIPPED_DARK, _CLIPPED_BRIGHT = 5, 250  # grey levels at and beyond which a pixel is clipped
_ROWS = 17  # of a picture, by which it is told whether a camera has drawn it
_JUMP = 16  # grey levels between neighbours, which bars have and ramps have not
_EXACT = 1  # grey levels by which rows of one drawing may differ: a decoder rounds
_MOST_ODD = 0.005  # of a row's pixels may differ by more
_MOST_SAME = 0.5  # of the rows are the same as the next one: bars change a few times, and have noise in a corner


@dataclass(frozen=True)
class Structure:
    """What a picture shows. Levels are grey levels of 0..255, of the colour that shows most.

    Attributes:
        size: Height and width, pixels.
        level: Mean of the brightest colour.
        contrast: Standard deviation of the shading, of means over 16 x 16 cells, beyond that of white noise.
        noise: Standard deviation of what is finer than any lens shows.
        texture: Standard deviation of fine detail beyond what white noise has of it. Detail that is rarer than a part's
            edges, as dust is, counts no more than what is common.
        spots: Contrast of the strongest fine detail, such as an edge or dust; of noise, 0.9 times `noise`.
        dark: Share of pixels with all colours clipped at the dark end.
        bright: Share of pixels with all colours clipped at the bright end.
        drawn: Whether it consists of even bars, or of a ramp without noise, straight or diagonal, as only a test
            picture does.
    """

    size: tuple[int, int]
    level: float
    contrast: float
    noise: float
    texture: float
    spots: float
    dark: float
    bright: float
    drawn: bool


def structure_of(image: Rgb) -> Structure:
    """What a picture uint8 [H, W, 3] shows. Takes about 2 ms at 1920 x 1080 on one core."""
    small = _halved(image)
    pixels = small.astype(np.float32)
    smooth = cv2.GaussianBlur(pixels, (0, 0), 1.0)
    fine, band = pixels - smooth, cv2.absdiff(smooth, cv2.GaussianBlur(smooth, (0, 0), 3**0.5))
    level = max(cv2.mean(pixels)[:3])
    noise = float(np.median(np.abs(fine[::3, ::3]))) / 0.6745  # some of the pixels tell it as well
    detail = cv2.max(cv2.max(band[..., 0], band[..., 1]), band[..., 2]).ravel()
    spot = -min(detail.size, max(5, round(detail.size * (_DARK_SPOTS if level < DARK else _SPOTS))))
    rare = -max(1, round(detail[::4].size * _RARE))
    common = np.partition(detail[::4], rare)[rare]
    fine_power, band_power = _power(fine), _power(np.minimum(band, common))
    cells = cv2.resize(pixels, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    shading = float(cv2.meanStdDev(cells)[1].max()) ** 2
    return Structure(
        size=(image.shape[0], image.shape[1]),
        level=level,
        contrast=max(0.0, shading - noise**2 * _CELLS**2 / detail.size) ** 0.5,
        noise=noise,
        texture=float(np.sqrt(np.maximum(0, band_power - _WHITE_NOISE * fine_power).max())),
        spots=float(np.partition(detail, spot)[spot]),
        dark=_share(small, 0, _CLIPPED_DARK),
        bright=_share(small, _CLIPPED_BRIGHT, 255),
        drawn=_is_drawn(image),
    )


def _halved(image: Rgb) -> Rgb:
    """The picture at a half, a quarter ... of its size; by steps of two, which are the fast ones."""
    while max(image.shape[:2]) > _SIDE and min(image.shape[:2]) >= 2:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * height, : 2 * width]
        image = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return image


def _power(detail: NDArray[Any]) -> NDArray[np.float64]:
    """Mean square of each colour."""
    mean, deviation = cv2.meanStdDev(detail)
    return np.asarray(mean[:, 0] ** 2 + deviation[:, 0] ** 2)


def _share(image: Rgb, low: int, high: int) -> float:
    inside = cv2.countNonZero(cv2.inRange(image, (low, low, low), (high, high, high)))
    return float(inside / (image.shape[0] * image.shape[1]))


def _is_drawn(image: Rgb) -> bool:
    return _repeats(image) or _repeats(image.transpose(1, 0, 2)) or _slides(image)


def _differ(rows: NDArray[Any]) -> NDArray[np.int16]:
    """By how much each row differs from the next one that is looked at."""
    return np.abs(np.diff(rows.astype(np.int16), axis=0))


def _same(differ: NDArray[np.int16]) -> NDArray[np.bool_]:
    return np.asarray((differ > _EXACT).mean(1) <= _MOST_ODD)


def _repeats(image: Rgb) -> bool:
    """Whether rows far apart are the same, as those of bars are but for a few changes, and those of a ramp."""
    places = np.linspace(0, len(image) - 1, _ROWS).astype(int)
    if _same(_differ(image[places, :, 1])).mean() < _MOST_SAME:
        return False  # nearly all photographs, by their green alone
    rows = image[places].astype(np.int16)
    differ = _differ(rows).max(2)
    same = _same(differ)
    lined = (np.abs(np.diff(rows, axis=1)).max(2) >= _JUMP).sum(1) >= 2
    bars = same & lined[1:] & lined[:-1]
    ramps = ~differ.any(1) & (np.ptp(rows, axis=1).max(1)[1:] >= 2 * _JUMP)
    return bool((bars | ramps).mean() >= _MOST_SAME)


def _slides(image: Rgb) -> bool:
    """Whether rows far apart are the same to the bit, but shifted by as much as they are apart: a diagonal ramp, such
    as the sensors of industrial cameras draw."""
    apart = len(image) // _ROWS // 2 * 2  # even: a ramp that is drawn through a colour mosaic has its pattern
    if apart < 2 or image.shape[1] < 2 * apart:
        return False
    rows = image[: _ROWS * apart : apart]
    upper, lower = rows[:-1], rows[1:]
    for fixed, moved in ((upper[:, apart:], lower[:, :-apart]), (upper[:, :-apart], lower[:, apart:])):
        if _is_same(fixed[0], moved[0]):  # of photographs no row is
            found = [_is_same(*pair) and _rises(pair[0]) for pair in zip(fixed, moved, strict=True)]
            return bool(np.mean(found) >= _MOST_SAME)
    return False


def _is_same(row: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return bool((row != other).mean() <= _MOST_ODD)


def _rises(row: NDArray[np.uint8]) -> bool:
    return bool(np.ptp(row, axis=0).max() >= 2 * _JUMP)

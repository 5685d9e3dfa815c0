"""A picture with its heatmap: a soft map, a contour at the threshold, and a caption in a strip below.

The soft map leaves normal areas as they are. Below the threshold it is blue, from the threshold on orange, and the more
opaque the larger the value. Its colours depend on the threshold alone: a value looks the same in all pictures that are
judged by one recipe. The contour lies around what reaches the threshold, white inside black, so that it shows on any
part and to any eye. Neither contour nor caption covers a pixel of what it tells of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core.image import Map, Rgb

_BELOW, _ABOVE = (0, 90, 181), (230, 97, 0)  # told apart with every kind of colour blindness
_MOST_OPAQUE = 0.5
_STRIP, _TEXT = (24, 24, 24), (235, 235, 235)
_LEAST_FONT = 12  # pixels
_GREY = 128  # behind the colours of the legend


@dataclass(frozen=True)
class Caption:
    """What the strip below a picture says.

    Attributes:
        verdict: `normal`, `anomaly` or `error`.
        score: In [0, 1]; None where the part has none.
        threshold: The part is an anomaly at and above it; None where that says nothing.
        provisional: Whether that is neither calibrated nor set by hand.
        reason: The code of an error.
        line: The name of the line.
        time: When the picture was taken, aware; shown with its offset from UTC.
    """

    verdict: str
    score: float | None = None
    threshold: float | None = None
    provisional: bool = False
    reason: str = ""
    line: str = ""
    time: datetime | None = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """The words, in phrases that stay on one row."""
        phrases = [f"{self.verdict}: {self.reason}" if self.reason else self.verdict]
        if self.score is not None:
            phrases.append(f"score {self.score:.4f}")
        if self.threshold is not None:
            phrases.append(f"threshold {self.threshold:.4f}{', provisional' if self.provisional else ''}")
        if self.line:
            phrases.append(self.line)
        if self.time is not None:
            phrases.append(self.time.isoformat(" ", "seconds"))
        return tuple(phrases)


def overlay(image: Rgb, heatmap: Map | None, threshold: float, caption: Caption | None = None) -> Rgb:
    """`image` with its heatmap drawn on it; a new array.

    Args:
        image: uint8 [H, W, 3], RGB.
        heatmap: float32 [H, W] in [0, 1]; None draws none.
        threshold: Of the heatmap's values, 0 or more: colours and contour follow it.
        caption: What the strip says; None for no strip.

    Returns:
        uint8 [H, W, 3], RGB. With a caption [H + h, W + w, 3], the picture in its top left corner: the strip has `h`
        rows, and `w` is 0 unless the picture is too narrow for the words.

    Raises:
        ValueError: picture and heatmap do not fit, or the threshold is no such number.
    """
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ValueError(f"threshold {threshold!r} is no number from 0 up, as values of a heatmap are")
    if heatmap is None:
        drawn = image.copy()
    else:
        _check_fit(image, heatmap.shape, "heatmap")
        reached = heatmap >= threshold
        drawn = _tinted(image, _positions(heatmap, reached, threshold))
        _draw_outline(drawn, reached, dashed=False)
    if caption is None:
        return drawn
    strip = _strip(drawn.shape, caption.phrases, None if heatmap is None else threshold)
    blank = np.full((drawn.shape[0], strip.shape[1] - drawn.shape[1], 3), _STRIP, np.uint8)
    return np.vstack([np.hstack([drawn, blank]), strip])


def outlined(image: Rgb, mask: NDArray[np.bool_]) -> Rgb:
    """`image` with a dashed line around what `mask` marks; a new array.

    Args:
        image: uint8 [H, W, 3], RGB.
        mask: bool [H, W].

    Raises:
        ValueError: picture and mask do not fit.
    """
    _check_fit(image, mask.shape, "mask")
    drawn = image.copy()
    _draw_outline(drawn, mask, dashed=True)
    return drawn


def _check_fit(image: Rgb, shape: tuple[int, ...], name: str) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"the picture is {image.dtype} {list(image.shape)}; give uint8 [H, W, 3]")
    if shape != image.shape[:2]:
        raise ValueError(f"the {name} has the shape {list(shape)} and the picture {list(image.shape)}; give one size")


def _positions(heatmap: Map, reached: NDArray[np.bool_], threshold: float) -> NDArray[np.uint8]:
    """Where on the scale each value lies: 0 at half the threshold, 128 at the threshold, 255 at one and a half of it.

    Rounding takes no value to the other side of the threshold.
    """
    scale = np.float32(256 / max(threshold, 1e-6))
    places: NDArray[np.uint8] = np.clip(heatmap * scale - np.float32(128), 0, 255).astype(np.uint8)
    np.maximum(places, 128, out=places, where=reached)
    np.minimum(places, 127, out=places, where=~reached)
    return places


def _tinted(image: Rgb, positions: NDArray[np.uint8]) -> Rgb:
    """`image` under the colours of `positions` on the scale."""
    colours = np.full((256, 1, 3), _BELOW, np.uint8)
    colours[128:] = _ABOVE
    opacity = (_MOST_OPAQUE * (np.arange(256) / 255) ** 1.5).astype(np.float32)
    cover = cv2.LUT(positions, opacity)
    tinted = cv2.blendLinear(image, cv2.applyColorMap(positions, colours), 1 - cover, cover)
    return np.asarray(tinted, np.uint8)


def _draw_outline(image: Rgb, mask: NDArray[np.bool_], *, dashed: bool) -> None:
    """Draws a line in `image` around the areas of `mask`, none of which it covers: white and black along it where it is
    dashed, else white with black outside.
    """
    if not mask.any():
        return
    width = max(1, round(_side(image.shape) / 600))
    left, top, cols, rows = cv2.boundingRect(mask.astype(np.uint8))
    near = (
        slice(max(0, top - 2 * width), top + rows + 2 * width),
        slice(max(0, left - 2 * width), left + cols + 2 * width),
    )
    areas, drawn = mask[near], image[near]
    inner, outer = _widened(areas, width), _widened(areas, 2 * width)
    if dashed:
        along = np.add.outer(np.arange(areas.shape[0]), np.arange(areas.shape[1]))
        inner = along // (6 * width) % 2 == 0
    drawn[outer & ~inner & ~areas] = 0
    drawn[outer & inner & ~areas] = 255


def _widened(areas: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.dilate(areas.astype(np.uint8), kernel) > 0)


def _side(shape: tuple[int, ...]) -> float:
    """Of a square as large as a picture of `shape`; what is drawn grows with it."""
    return math.sqrt(shape[0] * shape[1])


def _strip(shape: tuple[int, ...], phrases: Sequence[str], threshold: float | None) -> Rgb:
    """The strip below a picture of `shape`: the phrases, and with a threshold of the heatmap the legend of its colours.

    It is as wide as the picture, or as its widest phrase where that is wider.
    """
    size = max(_LEAST_FONT, round(_side(shape) / 40))
    font = ImageFont.load_default(size)
    pieces = [_written(phrase, font, size) for phrase in phrases]
    if threshold is not None:
        pieces.append(_legend(threshold, font, size))
    gap = size // 2
    width = max(shape[1], max(piece.shape[1] for piece in pieces) + 2 * gap)
    rows: list[list[Rgb]] = [[]]
    left = gap
    for piece in pieces:
        if rows[-1] and left + piece.shape[1] + gap > width:
            rows.append([])
            left = gap
        rows[-1].append(piece)
        left += piece.shape[1] + 2 * gap
    height = pieces[0].shape[0]
    strip = np.full((height * len(rows) + 2 * (gap // 2), width, 3), _STRIP, np.uint8)
    for row, some in enumerate(rows):
        top, left = gap // 2 + row * height, gap
        for piece in some:
            strip[top : top + height, left : left + piece.shape[1]] = piece
            left += piece.shape[1] + 2 * gap
    return strip


def _written(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, size: int) -> Rgb:
    """`text` on the strip's colour, one and a half times as high as its letters."""
    written = Image.new("RGB", (math.ceil(font.getlength(text)), size * 3 // 2), _STRIP)
    ImageDraw.Draw(written).text((0, size // 8), text, fill=_TEXT, font=font)
    return np.asarray(written, np.uint8)


def _legend(threshold: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, size: int) -> Rgb:
    """The scale: its ends, its colours on grey, and where the contour is."""
    ends = [_written(f"{place * threshold:.3f}", font, size) for place in (0.5, 1.5)]
    words = _written(f"contour {threshold:.4f}", font, size)
    length, gap = 6 * size, size // 2
    shades = np.broadcast_to((np.arange(length) * 256 // length).astype(np.uint8), (size, length))
    bar = np.full((words.shape[0], length, 3), _STRIP, np.uint8)
    bar[size // 4 : size // 4 + size] = _tinted(np.full((size, length, 3), _GREY, np.uint8), shades)
    thick = max(1, size // 12)
    bar[:, length // 2 - 2 * thick : length // 2 + 2 * thick] = 0
    bar[:, length // 2 - thick : length // 2 + thick] = 255
    space = np.full((words.shape[0], gap, 3), _STRIP, np.uint8)
    return np.hstack([words, space, space, ends[0], space, bar, space, ends[1]])

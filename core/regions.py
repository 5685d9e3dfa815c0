"""Where on the part: connected areas of a heatmap."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.image import Map

MOST_REGIONS = 32


@dataclass(frozen=True)
class Region:
    """An 8-connected area of heatmap values at or above a threshold; pixels of the inspected frame.

    Attributes:
        x, y: Top left corner of its bounding box.
        width, height: Of its bounding box.
        area: Its number of pixels.
        score: Its largest value.
        peak: Where that is, (x, y).
        position: `top left` to `bottom right`, of its peak in a 3 x 3 split of the frame.
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    score: float
    peak: tuple[int, int]
    position: str


def find_regions(heatmap: Map, threshold: float) -> tuple[Region, ...]:
    """The regions of `heatmap` [H, W] at or above `threshold`, highest score first, at most `MOST_REGIONS`."""
    mask = (heatmap >= threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    regions = []
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[label])
        box = np.where(labels[y : y + height, x : x + width] == label, heatmap[y : y + height, x : x + width], -1.0)
        row, col = np.unravel_index(int(box.argmax()), box.shape)
        peak = (x + int(col), y + int(row))
        score = float(box[row, col])
        regions.append(Region(x, y, width, height, area, score, peak, position(peak, heatmap.shape)))
    return tuple(sorted(regions, key=lambda region: (-region.score, region.y, region.x))[:MOST_REGIONS])


def grown(mask: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """`mask` [H, W] grown on every side by one patch of a grid of (rows, columns)."""
    rows, cols = (2 * -(-length // count) + 1 for length, count in zip(mask.shape, grid, strict=True))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((rows, cols), np.uint8)) > 0)


def position(point: tuple[int, int], shape: tuple[int, ...]) -> str:
    """Which ninth of a frame of `shape` (height, width) holds `point` (x, y), in words."""
    row = ("top", "middle", "bottom")[min(point[1] * 3 // shape[0], 2)]
    col = ("left", "centre", "right")[min(point[0] * 3 // shape[1], 2)]
    return "centre" if (row, col) == ("middle", "centre") else f"{row} {col}"

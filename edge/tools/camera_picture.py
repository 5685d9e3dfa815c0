"""A camera's picture with what is looked at in it: the inspected region, its tiles, and the smallest defect."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from core import files
from core.image import ImageError, Rgb, encode_png
from core.tiles import Tiling, smallest_defect
from edge.inspection.region import inspected
from edge.settings import Roi

_REGION, _TILE = (230, 97, 0), (0, 90, 181)  # as of the overlays: told apart with every kind of colour blindness
_OUTSIDE = 0.45  # of its brightness is left of what is not inspected


def check_name(path: Path) -> None:
    """Raises ImageError: it is no name for the picture."""
    if path.suffix.lower() != ".png":
        raise ImageError(f"{path}: the picture is written as PNG; name it so")


def write_picture(path: Path, frame: Rgb, roi: Roi | None, tiling: Tiling, sees: tuple[int, int]) -> int:
    """Writes `camera_picture` to `path`; pixels along each side of the smallest defect that is seen.

    Args:
        path: A PNG file.
        frame: As the camera gives it.
        roi: The inspected region; None: all of it.
        tiling: How the region is cut.
        sees: Height and width of the model's input, pixels.

    Raises:
        RegionError, TilingError: the region is not inside the frame, or too small for its tiles.
        OSError: it cannot be written.
    """
    height, width = inspected(frame, roi).shape[:2]
    smallest = smallest_defect(tiling.tile_size((height, width)), sees)
    files.write(path, encode_png(camera_picture(frame, roi, tiling, smallest)))
    return smallest


def camera_picture(frame: Rgb, roi: Roi | None, tiling: Tiling, smallest: int | None) -> Rgb:
    """A copy of `frame` with the region framed, what lies outside darkened, and its tiles drawn.

    In the middle of the region stand two squares of the size of the smallest defect that is seen, black beside white:
    what is smaller than they are is not to be expected to be found.

    Args:
        frame: As the camera gives it.
        roi: The inspected region, inside the frame; None: all of it.
        tiling: How the region is cut.
        smallest: Pixels along each side; None: not known.

    Raises:
        TilingError: the region is too small for its tiles.
    """
    height, width = frame.shape[:2]
    left, top = (0, 0) if roi is None else (roi.x, roi.y)
    size = (height, width) if roi is None else (roi.height, roi.width)
    picture = np.asarray(frame * _OUTSIDE, np.uint8)
    picture[top : top + size[0], left : left + size[1]] = frame[top : top + size[0], left : left + size[1]]
    thick = max(1, round(math.hypot(height, width) / 800))
    rows, cols = tiling.tile_size(size)
    if tiling.count > 1:
        for row, col in tiling.corners(size):
            _rectangle(picture, left + col, top + row, cols, rows, _TILE, thick)
    _rectangle(picture, left, top, size[1], size[0], _REGION, 2 * thick)
    if smallest is not None:
        x, y = left + size[1] // 2, top + size[0] // 2
        picture[y : y + smallest, max(0, x - smallest) : x] = 0
        picture[y : y + smallest, x : x + smallest] = 255
        margin = smallest + 2 * thick
        _rectangle(picture, x - margin, y - 2 * thick, 2 * margin, smallest + 4 * thick, _REGION, thick)
    return picture


def _rectangle(picture: Rgb, x: int, y: int, width: int, height: int, colour: tuple[int, int, int], thick: int) -> None:
    cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), colour, thick)

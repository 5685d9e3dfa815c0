"""Small pictures and masks of data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_picture(path: Path, size: tuple[int, int] = (8, 8)) -> Path:
    """Grey, of `size` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path)
    return path


def write_mask(path: Path, *pixels: tuple[int, int], value: int = 255, size: tuple[int, int] = (8, 8)) -> Path:
    """`value` at `pixels` (row, column), else 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros(size, np.uint8)
    for pixel in pixels:
        values[pixel] = value
    Image.fromarray(values).save(path)
    return path

"""Pictures that tell their number, through JPEG and H.264 as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from core.image import Rgb

_BITS = 16


def numbered(index: int, width: int = 320, height: int = 240) -> Rgb:
    """A picture of 16 stripes, black and white as the bits of `index`, the lowest at the left."""
    bits = np.array([(index >> bit & 1) * 255 for bit in range(_BITS)], np.uint8)
    row = np.repeat(bits, width // _BITS)[None, :, None]
    return np.ascontiguousarray(np.broadcast_to(row, (height, row.shape[1], 3)))


def number_of(picture: Rgb) -> int:
    """The index of a numbered picture of any size."""
    height, width, _ = picture.shape
    step = width / _BITS
    return sum(int(picture[height // 2, int((bit + 0.5) * step), 1] > 127) << bit for bit in range(_BITS))


def write_folder(folder: Path, count: int) -> Path:
    """`count` numbered pictures, `000.png` and so on, in a new `folder`."""
    folder.mkdir()
    for index in range(count):
        Image.fromarray(numbered(index)).save(folder / f"{index:03d}.png")
    return folder

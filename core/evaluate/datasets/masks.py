"""The masks of a sample, as one map."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.evaluate.datasets.sample import Sample
from core.image import MOST_BYTES, ImageError
from core.regular_file import read_regular

_ASPECT = 0.01
"""By how much a mask's aspect may differ from its picture's, as a share."""
_NUMBERS = frozenset({"1", "L", "I", "F", "I;16", "I;16B", "I;16L", "RGB"})
"""Pillow's modes whose numbers are what they seem: neither indices into a palette, nor opacity, nor ink."""
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises on files that are no picture or damaged ones."""


def read_mask(sample: Sample, size: tuple[int, int], picture: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Where the defect is: [H, W] of `size` (height, width), the union of the sample's masks.

    False throughout for a good part, and for a defect without a mask: `sample.masks` tells the two apart, and pixel
    metrics must leave the latter out.

    Whatever is not zero is defect; in a JPEG whatever is above half, since its noise is not zero. A mask is resized by
    the nearest neighbour, as in the papers. One that has a defect and would lose all of it marks instead each cell
    that one of its pixels lies in, so that no mask vanishes; a mask that is black in the file stays so.

    Args:
        picture: Height and width of the sample's picture; taken from its file if they are not given.

    Raises:
        ImageError: a mask, or the picture's size, cannot be read, or their aspects differ by more than 1 %.
    """
    found = np.zeros(size, np.bool_)
    if not sample.masks:
        return found
    height, width = picture or _size(sample.path)
    for path in sample.masks:
        mask = _read(path)
        stretch = mask.shape[1] * height / (mask.shape[0] * width)
        if max(stretch, 1 / stretch) > 1 + _ASPECT:
            sizes = f"{mask.shape[1]} x {mask.shape[0]} for a picture of {width} x {height}"
            raise ImageError(f"{path}: a mask of {sizes} ({sample.path})")
        found |= _resize(mask, size)
    return found


def _read(path: Path) -> NDArray[np.bool_]:
    try:
        with Image.open(BytesIO(read_regular(path, MOST_BYTES))) as file:
            mode = file.mode if file.mode in _NUMBERS else "L" if file.mode == "LA" else "RGB"
            lossy = file.format == "JPEG"
            values = np.asarray(file if mode == file.mode else file.convert(mode))
    except _UNREADABLE as error:
        raise ImageError(f"{path}: no mask that can be read: {error}") from error
    defect = values > 127 if lossy else values != 0
    return np.asarray(defect.any(axis=2) if defect.ndim == 3 else defect, np.bool_)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(BytesIO(read_regular(path, MOST_BYTES))) as file:
            return file.height, file.width
    except _UNREADABLE as error:
        raise ImageError(f"{path}: no picture that can be read: {error}") from error


def _resize(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """[h, w] -> [H, W]."""
    # The source pixel under each cell's centre, in whole numbers so that it is the same everywhere.
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, mask.shape, strict=True))
    small: NDArray[np.bool_] = mask[np.ix_(rows, columns)]
    if not small.any() and mask.any():
        ys, xs = np.nonzero(mask)
        small[ys * size[0] // mask.shape[0], xs * size[1] // mask.shape[1]] = True
    return small

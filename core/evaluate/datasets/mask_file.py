"""A file of a mask: which of its pixels somebody has marked, whatever program has saved it in whatever colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.image import MOST_BYTES, ImageError
from core.regular_file import read_regular

_NUMBERS = frozenset({"1", "L", "I", "F", "I;16", "I;16B", "I;16L", "RGB"})
"""Pillow's modes whose numbers are what they seem: neither indices into a palette, nor opacity, nor ink."""
_WITH_OPACITY = frozenset({"RGBA", "LA", "PA"})
_COLOUR_KEYED = frozenset({"1", "L", "P", "RGB"})
"""Modes whose files may name a transparent colour, or the opacity of each colour."""
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises on files that are no picture or damaged ones."""
_MOST_LABELS = 12
"""Values beside black that may be labels, one for each kind of defect; more are greys of a soft or lossy edge."""
_LEAST_CONTRAST = 64
"""Between dark and bright, of 255; what a lossy file varies by within one colour is less."""


@dataclass(frozen=True)
class MaskFile:
    """What a file marks.

    Attributes:
        marked: [H, W], `bool`.
        greys: Whether it has so many greys that they were parted in the middle.
        black: Whether it has a background by the usual rules; without one its commonest colour was taken for that.
    """

    marked: NDArray[np.bool_]
    greys: bool = False
    black: bool = True

    @property
    def share(self) -> float:
        """Of the picture that is marked."""
        return float(self.marked.mean())

    @property
    def surrounds(self) -> bool:
        """Whether the marked pixels are more than half of the picture and of its edge, though not all: an inverse."""
        edge = np.concatenate([self.marked[0], self.marked[-1], self.marked[:, 0], self.marked[:, -1]])
        return 0.5 < self.share < 1.0 and float(edge.mean()) > 0.5


def read_mask_file(path: Path) -> MaskFile:
    """What the file at `path` marks, by the first of these rules that fits.

    - Opacity, where it varies: what is drawn, in whatever colour; black and coloured beside each other are background
      and defect as without opacity.
    - A palette: all but its first colour. Where that would mark more than half, and black is another colour: all but
      black.
    - Numbers and colours: all that is not black. Of many greys, as in a JPEG or with a soft edge, all above the middle.
      Where nothing is black: all but the commonest colour.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        with Image.open(BytesIO(read_regular(path, MOST_BYTES))) as file:
            file.load()
            return _marked(file)
    except _UNREADABLE as error:
        raise ImageError(f"{path}: no mask that can be read: {error}") from error


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of the picture at `path`, from its header.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        with Image.open(BytesIO(read_regular(path, MOST_BYTES))) as file:
            return file.height, file.width
    except _UNREADABLE as error:
        raise ImageError(f"{path}: no picture that can be read: {error}") from error


def _marked(file: Image.Image) -> MaskFile:
    opacity = _opacity(file)
    if opacity is not None:
        drawn = opacity > opacity.max() / 2
        colour = _brightness(np.asarray(file.convert("RGB"))) > 0
        return MaskFile(drawn & colour if 0 < (colour & drawn).sum() < drawn.sum() else drawn)
    if file.mode == "P":
        found = _by_index(file)
        if found is not None:
            return MaskFile(found)
    mode = file.mode if file.mode in _NUMBERS else "L" if file.mode == "LA" else "RGB"
    return _by_value(np.asarray(file if mode == file.mode else file.convert(mode)), lossy=file.format == "JPEG")


def _opacity(file: Image.Image) -> NDArray[np.uint8] | None:
    """[H, W]; None where it is the same throughout, and so says nothing."""
    if file.mode not in _WITH_OPACITY and not (file.mode in _COLOUR_KEYED and "transparency" in file.info):
        return None
    opacity = np.asarray(file.convert("RGBA"))[..., 3]
    return None if opacity.min() == opacity.max() else opacity


def _by_index(file: Image.Image) -> NDArray[np.bool_] | None:
    """None where the palette holds greys or colours of a picture, and no labels."""
    index, colours = np.asarray(file), np.asarray(file.convert("RGB"))
    used = _levels(index)
    if len(used) > _MOST_LABELS + 1 or used[0] != 0:
        return None
    marked = np.asarray(index != 0, np.bool_)
    bright = _brightness(colours) > 0
    # Programs that save few bytes sort a palette as they like, but none has a reason to call black a defect.
    if marked.mean() > 0.5 and bright[~marked].all() and not bright.all():
        return bright
    return marked


def _by_value(values: NDArray[Any], lossy: bool) -> MaskFile:
    bright = _brightness(values)
    levels = _levels(bright)
    low, high = float(levels[0]), float(levels[-1])
    greys = lossy or (np.count_nonzero(levels) > _MOST_LABELS and (high > 127 or levels.dtype.kind == "f"))
    if greys:
        flat = lossy and high - low < _LEAST_CONTRAST  # the noise of one colour
        middle = 127 if flat else (low + high) / 2
        return MaskFile(np.asarray(np.greater(bright, middle), np.bool_), greys=not lossy)
    if low != 0 and _colours(values) > 1:
        return MaskFile(_not_commonest(values), black=False)
    return MaskFile(np.asarray(bright != 0, np.bool_))


def _brightness(values: NDArray[Any]) -> NDArray[Any]:
    """[H, W], of the brightest channel of [H, W] or [H, W, C]."""
    return reduce(np.maximum, np.moveaxis(values, 2, 0)) if values.ndim == 3 else values


def _levels(values: NDArray[Any]) -> NDArray[Any]:
    """The values that occur, ascending; for whole numbers without sorting millions of them."""
    if values.dtype in (np.bool_, np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(values.astype(np.uint16).ravel()))
    return np.unique(values)


def _packed(values: NDArray[Any]) -> NDArray[Any]:
    """[H, W]: one number for each colour."""
    if values.ndim == 2:
        return values
    wide = values.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def _colours(values: NDArray[Any]) -> int:
    packed = _packed(values)
    return 1 if (packed == packed.flat[0]).all() else 2


def _not_commonest(values: NDArray[Any]) -> NDArray[np.bool_]:
    packed = _packed(values)
    colours, counts = np.unique(packed, return_counts=True)
    return np.asarray(packed != colours[counts.argmax()], np.bool_)

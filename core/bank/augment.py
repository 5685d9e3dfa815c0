"""The ways to lay a picture down: quarter turns, the same of its mirror image, and turns by the angles in between."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np

from core.image import Map, Rgb

Picture = TypeVar("Picture", Rgb, Map)

_VARIANTS: dict[str, tuple[int, ...]] = {
    "none": (0,),
    "flips": (0, 4, 6),
    "rotations": (0, 1, 2, 3),
    "all": (0, 1, 2, 3, 4, 5, 6, 7),
    "angles": (0, 8, 9, 1, 10, 11, 2, 12, 13, 3, 14, 15),
}
_STEP = 30  # degrees between two views of `angles`
_ANGLES = {variant: _STEP * place for place, variant in enumerate(_VARIANTS["angles"])}


def variants(kinds: str) -> tuple[int, ...]:
    """The variants of `none`, `flips` (left-right and upside down), `rotations` (quarter turns), `all` (the eight of
    both) or `angles` (turns by every 30 degrees, in their order); 0 is first.

    Raises:
        ValueError: `kinds` is another word.
    """
    if kinds not in _VARIANTS:
        raise ValueError(f"augmentation {kinds!r} is not known; use one of {', '.join(_VARIANTS)}")
    return _VARIANTS[kinds]


def turns(kinds: str) -> tuple[int, ...]:
    """The degrees, counter-clockwise, by which the variants of `kinds` are turned without being mirrored.

    Raises:
        ValueError: `kinds` is another word.
    """
    return tuple(_ANGLES[variant] for variant in variants(kinds) if variant in _ANGLES)


def augment(image: Rgb, variant: int) -> Rgb:
    """Variant 0..15 of a picture uint8 [H, W, 3]: as taken, by 1 to 3 quarter turns counter-clockwise; 4..7 the same
    after mirroring left-right; 8..15 as `turned` by 30, 60, 120, 150, 210, 240, 300, 330 degrees.

    An odd number of quarter turns swaps height and width: of a picture that is not square, the model's square then
    shows the part squeezed along its other side. The other angles keep the size: there the part has its proportions,
    and what a turn takes beyond the shorter side is lost.

    Raises:
        ValueError: no such variant.
    """
    if variant not in range(16):
        raise ValueError(f"variant {variant} is none of 0..15")
    if variant >= 8:
        return turned(image, _ANGLES[variant])
    mirrored = image[:, ::-1] if variant >= 4 else image
    return np.rot90(mirrored, variant % 4).copy()  # `ascontiguousarray` keeps a negative step along a side of one pixel


def turned(image: Picture, degrees: float) -> Picture:
    """A picture, uint8 [H, W, 3] or float32 [H, W], turned counter-clockwise about its centre, of the same size.

    What comes in from outside is the picture mirrored at its border: it has the background's texture and noise, where
    black corners, or streaks of repeated border pixels, would be learnt as normal.
    """
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    made = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return made.astype(image.dtype, copy=False)

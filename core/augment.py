"""The eight ways to lay a picture down: quarter turns, and the same of its mirror image."""

from __future__ import annotations

import numpy as np

from core.image import Rgb

_VARIANTS: dict[str, tuple[int, ...]] = {
    "none": (0,),
    "flips": (0, 4, 6),
    "rotations": (0, 1, 2, 3),
    "all": (0, 1, 2, 3, 4, 5, 6, 7),
}


def variants(kinds: str) -> tuple[int, ...]:
    """The variants of `none`, `flips` (left-right and upside down), `rotations` (quarter turns) or `all`; 0 is first.

    Raises:
        ValueError: `kinds` is another word.
    """
    if kinds not in _VARIANTS:
        raise ValueError(f"augmentation {kinds!r} is not known; use one of {', '.join(_VARIANTS)}")
    return _VARIANTS[kinds]


def augment(image: Rgb, variant: int) -> Rgb:
    """Variant 0..7 of a picture uint8 [H, W, 3]: as taken, by 1 to 3 quarter turns counter-clockwise; 4..7 the same
    after mirroring left-right.

    An odd number of quarter turns swaps height and width: of a picture that is not square, the model's square then
    shows the part squeezed along its other side.

    Raises:
        ValueError: no such variant.
    """
    if variant not in range(8):
        raise ValueError(f"variant {variant} is none of 0..7")
    mirrored = image[:, ::-1] if variant >= 4 else image
    return np.ascontiguousarray(np.rot90(mirrored, variant % 4))

"""Why: the descriptors of the pack that are nearest to an anomalous image and to its regions (ALFA, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_REASONS = 5


@dataclass(frozen=True)
class Reason:
    """A descriptor and its cosine similarity to the image, in [-1, 1]."""

    text: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Likeness:
    """How the pack's descriptors compare to one frame.

    Attributes:
        image: float32 [D], cosine similarity of each to the whole image.
        patch: int64 [rows, cols], for each patch the descriptor nearest to the embedding of that window which, of all
            windows over the patch, is the most anomalous.
    """

    image: NDArray[np.float32]
    patch: NDArray[np.int64]


def reasons(likeness: Likeness, phrases: Sequence[str], most: int = MOST_REASONS) -> tuple[Reason, ...]:
    """The descriptors `phrases` [D] nearest to the image, nearest first."""
    order = np.argsort(-likeness.image, kind="stable")[:most]
    return tuple(Reason(phrases[index], float(np.clip(likeness.image[index], -1, 1))) for index in order)


def describe(likeness: Likeness, phrases: Sequence[str], point: tuple[int, int], size: tuple[int, int]) -> str:
    """The descriptor of the patch under `point` (x, y), pixels of a frame of `size` (height, width)."""
    rows, cols = likeness.patch.shape
    row = min(point[1] * rows // size[0], rows - 1)
    col = min(point[0] * cols // size[1], cols - 1)
    return phrases[int(likeness.patch[row, col])]

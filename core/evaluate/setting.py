"""One run of an evaluation, as it goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.evaluate.few_shot import Judge
from core.evaluate.metrics import PixelMetrics
from core.model_error import NotFiniteError

Score = tuple[float, NDArray[np.float32]]
"""S and the map [rows, cols]."""


@dataclass(eq=False)
class Setting:
    """One run of one class, and what it collects."""

    variant: int
    shots: tuple[int, ...]
    """Indices into the class's shots."""
    seed: int
    scores: list[float] = field(default_factory=list)
    normals: list[float] = field(default_factory=list)
    hits: list[bool | None] = field(default_factory=list)
    pixels: PixelMetrics = field(default_factory=PixelMetrics)
    judges: tuple[Judge, ...] = ()
    """What scores each place of a tile, where it is not Eq. 12."""


def finite(path: Path, scored: Sequence[Score]) -> Sequence[Score]:
    """`scored`; NotFiniteError where a picture's score or map is no number, which no metric may count as normal."""
    if all(math.isfinite(score) and np.isfinite(patch_map).all() for score, patch_map in scored):
        return scored
    raise NotFiniteError(f"{path}: its score is not a finite number; compute in fp32, or fetch the weights again")

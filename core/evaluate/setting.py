"""One run of an evaluation, as it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.evaluate.few_shot import Judge
from core.evaluate.metrics import PixelMetrics


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

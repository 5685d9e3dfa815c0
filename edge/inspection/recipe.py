"""What a line judges by, ready for use, and what it has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.image import Rgb
from edge.messages import Bank, Recipe

if TYPE_CHECKING:
    from core.adaptation import TextFeatures
    from core.alfa import Inspection
    from core.drift import DriftTest
    from core.memory import Index

NO_SHOTS = Bank(shots=0, revision=0)


@dataclass(frozen=True, eq=False)
class LoadedRecipe:
    """What the line judges by.

    Attributes:
        provisional: Whether the threshold is neither calibrated with shots, pack and model as now, nor set by hand.
        from_shots: Whether the threshold comes from the shots alone.
        drift: Whether the line still does what its calibration promised; fed by the line. None without calibration.
    """

    text: TextFeatures
    threshold: float
    pixel_threshold: float
    wire: Recipe
    index: Index | None = None
    bank: Bank = NO_SHOTS
    provisional: bool = False
    from_shots: bool = False
    drift: DriftTest | None = None

    @property
    def weights(self) -> dict[str, float]:
        """The share of the say of each source that parts are compared with the shots in; nothing without shots."""
        evidence = None if self.index is None else self.index.evidence
        return {} if evidence is None else {source: round(share, 4) for source, share in evidence.weights.items()}


@dataclass(frozen=True, eq=False)
class Seen:
    """An inspected picture, what was found, what it was judged by, and its verdict's number."""

    image: Rgb
    inspection: Inspection
    recipe: LoadedRecipe
    seq: int

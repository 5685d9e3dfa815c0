"""What a detector judges by: the method, the normal pictures, and the thresholds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from core.alfa import Alfa
from core.bank.memory import Index, Memory
from core.calibration import Calibration, pixel_threshold, provisional_threshold

THRESHOLD = 0.5
"""Where neither shots nor a person say another; it knows nothing of the parts."""

Source = Literal["default", "shots", "hand", "calibrated"]
"""Where thresholds come from; see `Detector.threshold_source`."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A normal picture: what the method remembers of it, and its own zero-shot scores, S_G and the largest S~_L."""

    digest: str
    memory: Memory
    texts: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Basis:
    """What pictures are judged by, replaced as a whole: no picture is judged by halves of two.

    Attributes:
        alfa: The method, with its tower once there are shots.
        shape: Height and width of the first shot, which feature maps are made for.
        source: Where the thresholds come from; see `Detector.threshold_source`.
    """

    alfa: Alfa
    shape: tuple[int, int] | None = None
    shots: tuple[Shot, ...] = ()
    index: Index | None = None
    threshold: float = THRESHOLD
    region_threshold: float = THRESHOLD
    source: Source = "default"
    calibration: Calibration | None = None

    @property
    def provisional(self) -> bool:
        """Whether the thresholds are neither calibrated nor set by hand."""
        return self.source in ("default", "shots")


def with_threshold_of_shots(basis: Basis) -> Basis:
    """The basis with a threshold just above what its shots score, each against the others; else the default."""
    evidence = None if basis.index is None else basis.index.evidence
    if evidence is None or len(basis.shots) < 2:
        return replace(basis, threshold=THRESHOLD, region_threshold=THRESHOLD, source="default")
    scores, maps = evidence.shots()
    peaks = maps.amax((1, 2)).tolist()
    return replace(
        basis,
        threshold=provisional_threshold(scores.tolist()),
        region_threshold=min(1.0, pixel_threshold(peaks, 1 / (len(peaks) + 1))),  # just above the largest
        source="shots",
    )
